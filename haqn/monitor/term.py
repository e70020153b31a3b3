"""One term of leadership: what is repeated while this monitor leads.

observe -> plan -> apply -> project -> status, each only when something it depends on has changed,
so that a quiet cluster costs one small read of SQL each poll interval and no write at all.
Everything is level-based: a cycle that fails is simply repeated. Knows no thread and no signal.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import inf

from haqn.clock import Clock
from haqn.coordination.observed import Observed, Reported
from haqn.db import operations
from haqn.db.bindings import LeaderWriter
from haqn.db.clock import utcnow
from haqn.db.session import Database
from haqn.db.snapshot import (
    Facts,
    OutboxEnd,
    Placed,
    RouterFact,
    Wanted,
    outbox_end,
    read_agents,
    read_placed,
    read_wanted,
)
from haqn.exceptions import PlanOutdated
from haqn.model import RouterRequest
from haqn.monitor import readiness
from haqn.monitor.actives import Words, words
from haqn.monitor.assemble import (
    awaits_active,
    began_or_changed,
    make_view,
    newly_active,
    settled_pairs,
    with_status,
)
from haqn.monitor.chronicle import Chronicle
from haqn.monitor.health import Health, Source
from haqn.monitor.metrics import MonitorMetrics
from haqn.monitor.projection import Projector
from haqn.monitor.publisher import Publisher
from haqn.scheduler.operations import Progress
from haqn.scheduler.planner import plan
from haqn.scheduler.view import BindToAgent, BindToPair, CreatePair, Plan, Policy, View

LOG = logging.getLogger(__name__)

#: seconds after which SQL is read again even though nothing said that it changed
_READ_AGAIN = 300.0
#: outbox lines that stay: a line can become visible after younger ones for as long as its transaction lasts
_OUTBOX_WINDOW = 1000
#: tries of a plan whose facts were overtaken, in one cycle
_PLAN_TRIES = 3
#: seconds after which a new pair's BACKUP is told of it even though the ACTIVE has not become MASTER
_AWAIT_ACTIVE = 5.0
#: seconds; a plan that is due within them is made before routers' redundancy is looked at
_SOON = 0.5
#: things of one kind that are named in a cycle's sentence
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the options say. `poll_interval` in seconds."""

    policy: Policy
    poll_interval: float = 1.0
    keep_plans: int = 1000
    enable_new_agents: bool = True
    keep_events: int = 10_000
    advert_interval_ms: int = 100


class Term:
    """For one thread. Every method raises StaleLeader or NotLeader once the term is over."""

    def __init__(
        self,
        *,
        database: Database,
        writer: LeaderWriter,
        publisher: Publisher,
        observed: Observed,
        health: Health,
        settings: Settings,
        clock: Clock,
        metrics: MonitorMetrics | None = None,
    ) -> None:
        self._metrics = metrics
        self._database = database
        self._writer = writer
        self._publisher = publisher
        self._observed = observed
        self._health = health
        self._settings = settings
        self._clock = clock
        self._began_at = clock.monotonic()
        self._projector = Projector(settings.advert_interval_ms)
        #: None: to be read (again)
        self._wanted: Wanted | None = None
        self._placed: Placed | None = None
        self._read_at = clock.monotonic()
        #: grows with each change of the facts
        self._facts_version = 0
        #: as it was when the facts were read; None: they are to be read again, for it is counted otherwise from now on
        self._outbox: OutboxEnd | None = None
        self._outbox_floor = 0
        self._outbox_read = 0
        self._leases: dict[str, int] = {}
        self._registered: object = None
        self._planned: object = None
        self._replan_at: float | None = None
        #: the same, when it was the plan that asked for it
        self._recheck_at = inf
        #: what was looked at for the last projection, and what followed
        self._looked_at: object = None
        self._projected: object = None
        self._promoted: object = None
        self._holds: frozenset[str] = frozenset()
        #: pair -> when this term made it (monotonic seconds), until its BACKUP may know it
        self._new_pairs: dict[int, float] = {}
        #: when the same reports may make for other words to pairs
        self._say_again_at: float | None = None
        self._words = Words()
        #: what was made of routers' facts for plans
        self._requests: dict[str, tuple[RouterFact, RouterRequest]] = {}
        #: routers that were bound anew, of which etcd does not know yet
        self._unprojected: set[str] = set()
        #: grows each time that documents were compared with etcd's
        self._publications = 0
        #: what SQL says of the operations, as far as this term wrote it
        self._told: dict[str, Progress] = {}
        self._chronicle = Chronicle(
            database,
            writer,
            clock,
            advert_interval_ms=settings.advert_interval_ms,
            keep_events=settings.keep_events,
        )
        self._done: list[str] = []

    def wait_for(self) -> float:
        """Seconds after which a cycle is due even if nobody asks for one."""
        due = [made_at + _AWAIT_ACTIVE for made_at in self._new_pairs.values()]
        moments = (self._replan_at, self._say_again_at, self._chronicle.due())
        due += [moment for moment in moments if moment is not None]
        now = self._clock.monotonic()
        return min([self._settings.poll_interval, *(max(0.0, moment - now) for moment in due)])

    def cycle(self) -> None:
        """Look once, and do what has to be done."""
        began = self._clock.monotonic()
        self._done = []
        self._read_outbox()
        reported = self._observed.look()
        facts = self._register_agents(self._facts(), reported)
        self._done += self._chronicle.note_events(facts, reported, (self._facts_version, reported.version))
        facts = self._plan(facts, reported)
        self._health.works(Source.SQL)
        self._project(facts, reported)
        self._promote(facts, reported)
        if self.plans_in > _SOON:  # what is only told waits for it
            basis = (self._facts_version, reported.version, self._publications)
            self._done += self._chronicle.note_redundancy(facts, reported, self._publisher.generation_of, basis)
        if self._metrics is not None:
            took = self._clock.monotonic() - began
            self._metrics.saw(facts, reported, held=len(self._holds), seconds=took, outbox_read=self._outbox_read)
        if self._done:
            LOG.info(
                "epoch %d: %s (%.3f s)", self._writer.epoch, "; ".join(self._done), self._clock.monotonic() - began
            )

    @property
    def plans_in(self) -> float:
        """Seconds until the last plan may be another one, because a death or a role was to wait for a moment."""
        return max(0.0, self._recheck_at - self._clock.monotonic())

    def _note(self, what: str, items: list[str]) -> None:
        """For the cycle's sentence: `what: this; that`; a few, for there may be thousands."""
        if items:
            more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
            self._done.append(f"{what}: {', '.join(items[:_NAMED])}{more}")

    # -- facts ---------------------------------------------------------------------------

    def _read_outbox(self) -> None:
        end = outbox_end(self._database, self._outbox_floor)
        now = self._clock.monotonic()
        if end != self._outbox or now - self._read_at > _READ_AGAIN:
            self._wanted = self._placed = None
            self._read_at = now
        self._outbox = end
        self._outbox_read = end.last
        if end.lines > 2 * _OUTBOX_WINDOW:
            self._outbox_floor = end.last - _OUTBOX_WINDOW
            self._writer.prune_outbox(self._outbox_floor)
            self._outbox = None

    def _facts(self) -> Facts:
        if self._wanted is None:
            self._requests.clear()
        if self._wanted is None or self._placed is None:
            self._facts_version += 1
        if self._wanted is None:
            self._wanted = read_wanted(self._database)
        if self._placed is None:
            self._placed = read_placed(self._database)
        return Facts(self._wanted, self._placed)

    def _register_agents(self, facts: Facts, reported: Reported) -> Facts:
        basis = (self._facts_version, reported.version)
        if basis == self._registered:
            return facts
        began = began_or_changed(facts, reported, self._leases)
        ended = [agent_id for agent_id in self._leases if agent_id not in reported.beats]
        if began or ended:
            self._writer.note_agents(began, ended, enable_new=self._settings.enable_new_agents)
            # agents come and go without anybody having placed anything meanwhile: there is an outbox line for that
            agents = read_agents(self._database)
            self._placed = replace(facts.placed, agents=agents)
            self._facts_version += 1
            facts = Facts(facts.wanted, self._placed)
            self._note("alive", [f"{beat.agent_type} on {beat.host}" for beat in began])
            self._note("dead", [f"{agents[a].agent_type} on {agents[a].host}" for a in ended if a in agents])
        self._leases = {agent_id: beat.lease for agent_id, beat in reported.beats.items()}
        self._registered = (self._facts_version, reported.version)
        return facts

    # -- plan ----------------------------------------------------------------------------

    def _plan(self, facts: Facts, reported: Reported) -> Facts:
        for _ in range(_PLAN_TRIES):
            now = self._clock.monotonic()
            ready_matters = readiness.is_needed(facts, reported)
            published = self._publications if ready_matters else 0
            basis = (self._facts_version, reported.version, dict(self._publisher.vacated), published)
            if basis == self._planned and (self._replan_at is None or now < self._replan_at):
                return facts
            view = make_view(
                facts,
                reported,
                now=now,
                vacated=self._publisher.vacated,
                since={
                    "since_leadership": now - self._began_at,
                    "since_etcd": self._health.since(Source.ETCD),
                    "since_sql": self._health.since(Source.SQL),
                },
                requests=self._requests,
            )
            view = replace(view, release=readiness.release_now(facts.placed, utcnow()))
            if ready_matters:
                view = self._with_readiness(view, facts, reported)
            policy = self._settings.policy
            with self._metrics.planning() if self._metrics is not None else nullcontext():
                made = plan(view, policy)
            self._chronicle.note_plan(made, view, policy)
            self._replan_at = None if made.recheck_in is None else now + made.recheck_in
            self._tell_holds(made)
            progressed = self._note_progress(made, facts)
            self._recheck_at = inf
            if not made.actions and not progressed:
                self._recheck_at = inf if self._replan_at is None else self._replan_at
                self._planned = basis
                return facts
            if made.actions and not self._carry_out(made, view, policy):
                facts = self._facts()
                continue
            # another look at what follows, once the documents of this are written
            self._replan_at = now
            self._placed = None
            return self._facts()
        return facts

    def _carry_out(self, made: Plan, view: View, policy: Policy) -> bool:
        """Write the plan; False, and the facts are to be read again, if they were overtaken."""
        try:
            number = self._writer.apply(made, view, policy, keep_plans=self._settings.keep_plans)
        except PlanOutdated as error:
            self._done.append(f"planned anew, because {error}")
            self._placed = None
            return False
        self._done.append(f"plan {number}: {_sum_up(made)}")
        now = self._clock.monotonic()
        self._unprojected |= {one.router_id for one in made.actions if isinstance(one, BindToPair | BindToAgent)}
        self._new_pairs |= {one.pair_id: now for one in made.actions if isinstance(one, CreatePair)}
        return True

    def _with_readiness(self, view: View, facts: Facts, reported: Reported) -> View:
        generation_of = self._publisher.generation_of
        return replace(
            view,
            unready=readiness.find_unready(facts, reported, generation_of, self._unprojected),
            absent=readiness.find_absent(facts, reported, generation_of, self._publisher.manifest_generation),
        )

    def _note_progress(self, made: Plan, facts: Facts) -> bool:
        """Write how far operations are, if that is new: says whether it was."""
        before = {operation.id: operation for operation in facts.placed.operations}
        told = {one.operation_id: one for one in made.progress if one.operation_id in before}
        news = [one for one in told.values() if self._told.get(one.operation_id) != one]
        if not news:
            return False
        self._writer.write(lambda connection: operations.note_progress(connection, news))
        self._told = told
        kinds = [f"{before[one.operation_id].kind} {one.done}/{one.total} {one.outcome or ''}".rstrip() for one in news]
        self._note("operations", kinds)
        return True

    def _tell_holds(self, made: Plan) -> None:
        """Say what is held when that changes; a few, for there may be thousands."""
        holds = frozenset(f"{hold.subject}: {hold.reason}" for hold in made.holds)
        self._note("held", sorted(holds - self._holds))
        self._holds = holds

    # -- project -------------------------------------------------------------------------

    def _project(self, facts: Facts, reported: Reported) -> None:
        looked_at = (self._facts_version, reported.version)
        again = self._say_again_at is not None and self._clock.monotonic() >= self._say_again_at
        if looked_at == self._looked_at and not (again or self._new_pairs or self._publisher.in_doubt):
            return
        self._project_now(facts, reported)
        self._looked_at = looked_at

    def _project_now(self, facts: Facts, reported: Reported) -> None:
        settled = settled_pairs(facts, reported)
        awaiting = self._awaiting(facts, reported)
        by_pair = self._choose_words(facts, reported).by_pair
        withheld = readiness.withheld(facts, reported)
        basis = (self._facts_version, settled, awaiting, by_pair, withheld)
        if basis == self._projected and not self._publisher.in_doubt:
            return
        projection = self._projector.project(facts, settled, awaiting, by_pair, withheld)
        count = self._publisher.publish(projection)
        self._projected = basis
        self._publications += 1
        self._unprojected.clear()
        if count:
            self._done.append(f"documents written in {count} transactions")

    def _choose_words(self, facts: Facts, reported: Reported) -> Words:
        now = self._clock.monotonic()
        sources = (now - self._began_at, self._health.since(Source.ETCD), self._health.since(Source.SQL))
        believed_in = self._settings.policy.lease_ttl - min(sources)
        chosen = words(facts, reported, now=now, deaths_believed=believed_in <= 0)
        again = [delay for delay in (chosen.recheck_in, believed_in) if delay is not None and delay > 0]
        self._say_again_at = now + min(again) if again else None
        before = {pair_id for pair_id, word in self._words.by_pair.items() if word.yields}
        after = {pair_id for pair_id, word in chosen.by_pair.items() if word.yields}
        self._note("told to yield", [f"pair {pair_id}" for pair_id in sorted(after - before)])
        self._note("need not yield", [f"pair {pair_id}" for pair_id in sorted(before - after)])
        self._words = chosen
        return chosen

    def _awaiting(self, facts: Facts, reported: Reported) -> frozenset[int]:
        """Pairs that their BACKUP must not know yet. Once it may, it may for good; and only the leader that made a
        pair asks this, for another one cannot know what the BACKUP has been told.
        """
        now = self._clock.monotonic()
        self._new_pairs = {
            pair_id: made_at
            for pair_id, made_at in self._new_pairs.items()
            if now - made_at < _AWAIT_ACTIVE
            and (pair := facts.placed.pairs.get(pair_id)) is not None
            and awaits_active(facts, reported, pair)
        }
        return frozenset(self._new_pairs)

    def _promote(self, facts: Facts, reported: Reported) -> None:
        basis = (self._facts_version, reported.version)
        if basis == self._promoted:
            return
        active = newly_active(facts, reported, self._publisher.generation_of)
        self._promoted = basis
        if any(active):
            self._writer.set_active(*active)
            counts = zip(map(len, active), ("routers", "ports", "floating IPs"), strict=True)
            self._done.append(f"{', '.join(f'{count} {what}' for count, what in counts if count)} are ACTIVE")
            self._wanted = with_status(facts.wanted, active)


def _sum_up(made: Plan) -> str:
    counts = Counter(type(action).__name__ for action in made.actions)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
