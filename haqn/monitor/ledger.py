"""From what agents report to events: who forwarded before, who does now, and why. Knows no I/O.

Only orders of this leader's own looks are compared, never clocks of hosts. A host that died still seems to be MASTER
until its lease ends: so a takeover is an event once the other one has given way, or is dead; its beginning is when the
new MASTER was first seen.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from haqn.coordination.observed import Report, Reported
from haqn.db.ledger import Cause, End, Event, EventKind, OpenEvent
from haqn.db.snapshot import Facts
from haqn.model import Pair, VrrpState
from haqn.monitor.actives import Condition, Kind, conditions
from haqn.scheduler.operations import OperationKind

#: seconds without a MASTER after which nobody is taken to forward; reports of a handover are not simultaneous
NO_ACTIVE_AFTER = 1.0
#: advertisement intervals that VRRP takes to notice that nothing comes (RFC 5798: three and the skew)
_MASTER_DOWN = 3.2

#: what an event that goes on is about: its kind, and a pair or an agent
Key = tuple[EventKind, int | str]


@dataclass(frozen=True, slots=True)
class _Open:
    number: int
    #: monotonic seconds; None: it began in another term
    since: float | None
    started_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class _Rising:
    """A second MASTER of a pair, as it was first seen."""

    agent_id: str
    #: by the leader, before that
    designated: bool
    #: those that rode on the pair
    routers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look has found, to be written and then to be accepted."""

    begun: list[Event] = field(default_factory=list)
    #: of each in `begun` that goes on: its key, and since when (monotonic seconds)
    going_on: list[tuple[Key, float] | None] = field(default_factory=list)
    ended: list[End] = field(default_factory=list)
    ended_keys: list[Key] = field(default_factory=list)
    masters: dict[int, str] = field(default_factory=dict)
    #: what is so now, new or not
    present: set[Key] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.begun or self.ended or self.masters)


class Ledger:
    """One term's memory of who forwards. For one thread."""

    def __init__(self, masters: Mapping[int, str], going_on: Iterable[OpenEvent], *, advert_interval_ms: int) -> None:
        self._masters = dict(masters)
        self._open: dict[Key, _Open] = {}
        for event in going_on:
            subject = event.pair_id if event.pair_id is not None else str(event.from_agent_id)
            self._open[event.kind, subject] = _Open(event.number, None, event.started_at)
        self._takeover_ms = round(_MASTER_DOWN * advert_interval_ms)
        #: pair -> who was seen as a second MASTER
        self._rising: dict[int, _Rising] = {}
        #: pair -> since when nobody is MASTER (monotonic seconds)
        self._vacant: dict[int, float] = {}

    def due(self) -> float | None:
        """When (monotonic seconds) it has to look again though nothing changes."""
        waiting = [since for pair_id, since in self._vacant.items() if (EventKind.NO_ACTIVE, pair_id) not in self._open]
        return min(waiting) + NO_ACTIVE_AFTER if waiting else None

    def look(self, facts: Facts, reported: Reported, now: float, utc: datetime.datetime) -> Look:
        """What has begun and ended. `now` in monotonic seconds, `utc` the same moment."""
        found = Look()
        riders: dict[int, list[str]] = defaultdict(list)
        alone: dict[str, list[str]] = defaultdict(list)
        for router_id, binding in facts.placed.bindings.items():
            if binding.pair_id is not None:
                riders[binding.pair_id].append(router_id)
            elif binding.agent_id not in reported.beats:
                alone[str(binding.agent_id)].append(router_id)
        wrong = conditions(facts, reported)
        for pair in facts.placed.pairs.values():
            context = _Context(facts, reported, pair, tuple(riders[pair.id]), now, utc)
            self._look_at(context, found, wrong.get((Kind.NO_ACTIVE, pair.id)), wrong.get((Kind.TWO_ACTIVES, pair.id)))
        for agent_id, routers in alone.items():
            key: Key = (EventKind.NO_ACTIVE, agent_id)
            found.present.add(key)
            if key not in self._open:
                event = Event(
                    kind=EventKind.NO_ACTIVE,
                    cause=Cause.LEASE_LOST,
                    started_at=utc,
                    from_agent_id=agent_id,
                    routers=tuple(routers),
                )
                found.begun.append(event)
                found.going_on.append((key, now))
        for key in self._open.keys() - found.present:
            self._end(key, found, now, utc)
        for gone in (self._masters.keys() | self._vacant.keys() | self._rising.keys()) - facts.placed.pairs.keys():
            for memory in (self._masters, self._vacant, self._rising):
                memory.pop(gone, None)
        return found

    def accept(self, look: Look, numbers: list[int]) -> None:
        """The look was written; `numbers` of its `begun`."""
        self._masters |= look.masters
        for pair_id in look.masters:
            self._rising.pop(pair_id, None)
        for key in look.ended_keys:
            del self._open[key]
        for begun, event, number in zip(look.going_on, look.begun, numbers, strict=True):
            if begun is not None:
                key, since = begun
                self._open[key] = _Open(number, since, event.started_at)

    # -- one pair ------------------------------------------------------------------------

    def _look_at(self, context: _Context, found: Look, vacant: Condition | None, both: Condition | None) -> None:
        pair, masters = context.pair, context.masters
        known = self._masters.get(pair.id)
        if vacant is None or context.may_be_led:
            self._vacant.pop(pair.id, None)
        elif known is not None:
            self._look_at_vacant(context, found, known, vacant)
        if both is not None:
            began = context.now if both.since is None else both.since
            self._keep((EventKind.TWO_ACTIVES, pair.id), Cause.VRRP, context, found, began=began)
        rising = [member for member in masters if member != known]
        if rising and pair.id not in self._rising:
            self._rising[pair.id] = _Rising(rising[0], pair.active_agent_id == rising[0], context.routers)
        elif not rising:
            self._rising.pop(pair.id, None)
        if known is None and len(masters) == 1:
            found.masters[pair.id] = masters[0]
        elif known is not None and rising and known not in masters:
            self._note_transition(context, found, known, rising[0])

    def _look_at_vacant(self, context: _Context, found: Look, known: str, vacant: Condition) -> None:
        since = self._vacant.setdefault(context.pair.id, context.now if vacant.since is None else vacant.since)
        key: Key = (EventKind.NO_ACTIVE, context.pair.id)
        if context.now - since >= NO_ACTIVE_AFTER or key in self._open:
            cause = Cause.VRRP if known in context.reported.beats else Cause.LEASE_LOST
            self._keep(key, cause, context, found, began=since)

    def _keep(self, key: Key, cause: Cause, context: _Context, found: Look, *, began: float) -> None:
        """The event goes on, or begins."""
        found.present.add(key)
        if key in self._open or not context.routers:
            return
        ago = datetime.timedelta(seconds=context.now - began)
        found.begun.append(
            Event(
                kind=key[0],
                cause=cause,
                started_at=context.utc - ago,
                pair_id=context.pair.id,
                from_agent_id=context.pair.active_agent_id,
                pair_epoch=context.pair.epoch,
                routers=context.routers,
            )
        )
        found.going_on.append((key, began))

    def _note_transition(self, context: _Context, found: Look, old: str, new: str) -> None:
        found.masters[context.pair.id] = new
        rising = self._rising[context.pair.id]
        # who gives way may say so after the routers were bound to another pair, when that is what it was drained for
        context = replace(context, routers=tuple(dict.fromkeys((*rising.routers, *context.routers))))
        if not context.routers:
            return
        designated = rising.designated and rising.agent_id == new
        cause = context.why_moved(old, new, designated=designated)
        was_vacant = (EventKind.NO_ACTIVE, context.pair.id) in self._open
        report = context.report(new)
        began = report.since if report is not None else context.now
        lost = not designated and cause is not Cause.TWO_ACTIVES and not was_vacant
        started_at = context.utc - datetime.timedelta(seconds=context.now - began)
        found.begun.append(
            Event(
                kind=EventKind.TRANSITION,
                cause=cause,
                started_at=started_at,
                ended_at=context.utc,
                duration_ms=round((context.now - began) * 1000),
                outage_ms=self._takeover_ms if lost else 0,
                pair_id=context.pair.id,
                from_agent_id=old,
                to_agent_id=new,
                pair_epoch=context.pair.epoch,
                routers=context.routers,
            )
        )
        found.going_on.append(None)

    def _end(self, key: Key, found: Look, now: float, utc: datetime.datetime) -> None:
        event = self._open[key]
        seconds = (utc - event.started_at).total_seconds() if event.since is None else now - event.since
        duration_ms = max(0, round(seconds * 1000))
        outage_ms = duration_ms if key[0] is EventKind.NO_ACTIVE else 0
        found.ended.append(End(number=event.number, ended_at=utc, duration_ms=duration_ms, outage_ms=outage_ms))
        found.ended_keys.append(key)


@dataclass(frozen=True, slots=True)
class _Context:
    """A pair at one look."""

    facts: Facts
    reported: Reported
    pair: Pair
    routers: tuple[str, ...]
    now: float
    utc: datetime.datetime

    @property
    def masters(self) -> list[str]:
        """The members that say that they are MASTER."""
        return [
            member
            for member in self.pair.members
            if (report := self.report(member)) is not None and report.report.state is VrrpState.MASTER
        ]

    @property
    def may_be_led(self) -> bool:
        """One agent has no lease, and the other one's host does not take over: it hears somebody."""
        alive = [member for member in self.pair.members if member in self.reported.beats]
        report = self.report(alive[0]) if len(alive) == 1 else None
        return report is not None and report.report.state is VrrpState.BACKUP

    def report(self, member: str) -> Report | None:
        agent = self.facts.placed.agents.get(member)
        return self.reported.pairs.get((agent.host, self.pair.id)) if agent is not None else None

    def why_moved(self, old: str, new: str, *, designated: bool) -> Cause:
        """Why `new` forwards instead of `old`. `designated`: the leader had said so before it was MASTER."""
        agent, report = self.facts.placed.agents.get(old), self.report(old)
        if old not in self.reported.beats:
            return Cause.LEASE_LOST
        if designated:
            if agent is not None and (agent.draining or not agent.admin_state_up):
                return Cause.DRAIN
            return Cause.REBALANCE if self._is_rebalanced(new) else Cause.SWITCHOVER
        if report is None:
            return Cause.VRRP
        if report.report.yielding:
            return Cause.TWO_ACTIVES
        taker = self.report(new)
        better = taker is None or len(taker.report.dead_uplinks) < len(report.report.dead_uplinks)
        return Cause.UPLINK if report.report.dead_uplinks and better else Cause.VRRP

    def _is_rebalanced(self, new: str) -> bool:
        mine = set(self.routers)
        return any(
            operation.kind is OperationKind.REBALANCE
            and any(s.agent_id == new and not s.standby and not mine.isdisjoint(s.routers) for s in operation.steps)
            for operation in self.facts.placed.operations
        )
