"""What the leader writes down for people: the failover ledger, routers' redundancy, and what it holds back.

Written to SQL under the leader's fence, only when it has changed; nothing is decided by it. A write that fails is made
again with the next cycle.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from haqn.clock import Clock
from haqn.coordination.observed import Reported
from haqn.db import ledger as rows
from haqn.db import monitorstatus
from haqn.db import redundancy as redundancy_rows
from haqn.db.bindings import LeaderWriter
from haqn.db.clock import utcnow
from haqn.db.redundancy import Redundancy
from haqn.db.session import Connection, Database
from haqn.db.snapshot import Facts
from haqn.model import AgentType
from haqn.monitor.ledger import Ledger
from haqn.monitor.readiness import GenerationOf, find_unready
from haqn.monitor.redundancy import redundancies
from haqn.scheduler.operations import Release
from haqn.scheduler.planner import plan
from haqn.scheduler.view import LONG_AGO, Plan, Policy, View, plan_to_builtins

#: seconds between two looks at redundancy: a change that agents carry out sooner is no lack of it
_LOOK_AT_REDUNDANCY = 1.0
#: sentences of one kind that are shown; there may be thousands
_SHOWN = 100


class Chronicle:
    """Of one term, for one thread. Every method raises StaleLeader once the term is over."""

    def __init__(
        self, database: Database, writer: LeaderWriter, clock: Clock, *, advert_interval_ms: int, keep_events: int
    ) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock
        self._advert_interval_ms = advert_interval_ms
        self._keep_events = keep_events
        self._ledger: Ledger | None = None
        self._redundancies: dict[str, Redundancy] | None = None
        self._look_at_redundancy_at = clock.monotonic()
        self._events_seen: object = None
        self._redundancy_seen: object = None
        self._redundancy_is_old = True
        self._status: tuple[bool, str, dict[str, Any]] | None = None

    def due(self) -> float | None:
        """When (monotonic seconds) there is something to look at though nothing changes."""
        moments = [self._ledger.due() if self._ledger is not None else None]
        moments.append(self._look_at_redundancy_at if self._redundancy_is_old else None)
        return min((moment for moment in moments if moment is not None), default=None)

    def note_events(self, facts: Facts, reported: Reported, basis: object) -> list[str]:
        """Write down who forwards now; what was new, for the log. To be called before the leader plans, because its
        plan may take routers off the pairs that they rode on. `basis` is another one when anything has changed."""
        now = self._clock.monotonic()
        due = self._ledger.due() if self._ledger is not None else now
        if basis == self._events_seen and (due is None or now < due):
            return []
        done = self._look_at_ledger(facts, reported, now)
        self._events_seen = basis
        return done

    def note_redundancy(
        self, facts: Facts, reported: Reported, generation_of: GenerationOf, basis: object
    ) -> list[str]:
        """Write down how redundant routers are, once a second at the most; what was new, for the log."""
        now = self._clock.monotonic()
        self._redundancy_is_old = basis != self._redundancy_seen
        if not self._redundancy_is_old or now < self._look_at_redundancy_at:
            return []
        done = self._look_at_redundancies(facts, reported, generation_of)
        self._redundancy_seen = basis
        self._redundancy_is_old = False
        self._look_at_redundancy_at = now + _LOOK_AT_REDUNDANCY
        return done

    def note_plan(self, made: Plan, view: View, policy: Policy) -> None:
        """Write down what is held back and what would be done without the brakes, if that is new."""
        frozen = bool(made.brake)
        document: dict[str, Any] = {"dead": [], "held": [], "held_count": 0, "would_do": [], "would_do_counts": {}}
        if frozen:
            dead = sorted(agent.id for agent in view.agents if not agent.alive and agent.agent_type is AgentType.L3)
            released = replace(view, release=Release(agents=frozenset(dead), remaining=LONG_AGO))
            actions = plan_to_builtins(plan(released, policy))["actions"]
            document = {
                "dead": dead,
                "held": [f"{hold.subject}: {hold.reason}" for hold in made.holds[:_SHOWN]],
                "held_count": len(made.holds),
                "would_do": actions[:_SHOWN],
                "would_do_counts": dict(Counter(action["action"] for action in actions)),
            }
        status = (frozen, made.brake, document)
        if status == self._status:
            return

        def work(connection: Connection) -> None:
            before = monitorstatus.read_status(connection)
            if before is None or (before.frozen, before.reason, dict(before.document)) != status:
                monitorstatus.write_status(
                    connection, epoch=self._writer.epoch, frozen=frozen, reason=made.brake, document=document
                )

        self._writer.write(work)
        self._status = status

    def _look_at_ledger(self, facts: Facts, reported: Reported, now: float) -> list[str]:
        if self._ledger is None:
            with self._database.read() as connection:
                self._ledger = Ledger(
                    rows.read_masters(connection),
                    rows.read_open(connection),
                    advert_interval_ms=self._advert_interval_ms,
                )
        found = self._ledger.look(facts, reported, now, utcnow())
        if not found:
            return []
        numbers = self._writer.write(
            lambda connection: rows.record(
                connection,
                begun=found.begun,
                ended=found.ended,
                masters=found.masters,
                leader_epoch=self._writer.epoch,
                keep=self._keep_events,
            )
        )
        self._ledger.accept(found, numbers)
        return [
            f"event {number}: {event.kind}, {event.cause}, pair {event.pair_id}, {len(event.routers)} routers"
            for number, event in zip(numbers, found.begun, strict=True)
        ]

    def _look_at_redundancies(self, facts: Facts, reported: Reported, generation_of: GenerationOf) -> list[str]:
        if self._redundancies is None:
            with self._database.read() as connection:
                self._redundancies = redundancy_rows.read(connection)
        found = redundancies(facts, reported, find_unready(facts, reported, generation_of))
        changed = redundancy_rows.changes(found, self._redundancies)
        before = self._redundancies
        if changed:
            self._writer.write(lambda connection: redundancy_rows.write(connection, changed, before))
        self._redundancies = found
        counts = Counter(one.state for one in changed.values())
        return [f"redundancy: {', '.join(f'{counts[state]} {state}' for state in sorted(counts))}"] if changed else []
