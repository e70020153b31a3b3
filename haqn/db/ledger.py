"""The failover ledger: each time that traffic moved from one agent to another, or could not; and what follows of
availability.

Written by the leader from what agents report, read by the API. The outage of an event is an estimate from VRRP's
timers, or the time for which no agent said that it forwards; nothing here watches packets.
"""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.clock import utcnow
from haqn.db.session import Connection
from haqn.db.store import Row, Store, select_in
from haqn.exceptions import EventNotFound

_events, _event_routers, _masters = tables.events, tables.event_routers, tables.pair_masters


class EventKind(enum.StrEnum):
    #: another agent forwards from now on
    TRANSITION = "transition"
    #: both members of a pair forward
    TWO_ACTIVES = "two_actives"
    #: nobody forwards
    NO_ACTIVE = "no_active"


class Cause(enum.StrEnum):
    #: the agent that forwarded has lost its lease
    LEASE_LOST = "lease_lost"
    #: VRRP alone, with both agents alive
    VRRP = "vrrp"
    #: the host that forwarded has lost an uplink
    UPLINK = "uplink"
    DRAIN = "drain"
    SWITCHOVER = "switchover"
    REBALANCE = "rebalance"
    #: one of two that forwarded has yielded
    TWO_ACTIVES = "two_actives"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`started_at` and `ended_at` by the leader's clock; `ended_at` None: it goes on."""

    kind: EventKind
    cause: Cause
    started_at: datetime.datetime
    pair_id: int | None = None
    from_agent_id: str | None = None
    to_agent_id: str | None = None
    pair_epoch: int | None = None
    ended_at: datetime.datetime | None = None
    duration_ms: int | None = None
    outage_ms: int | None = None
    #: ids of those that were concerned
    routers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of an event that was written before."""

    number: int
    ended_at: datetime.datetime
    duration_ms: int
    outage_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEvent:
    """An event that goes on, by whichever leader it was written."""

    number: int
    kind: EventKind
    pair_id: int | None
    from_agent_id: str | None
    started_at: datetime.datetime


def read_open(connection: Connection) -> list[OpenEvent]:
    """The events that go on."""
    rows = connection.execute(
        sa.select(_events.c.number, _events.c.kind, _events.c.pair_id, _events.c.from_agent_id, _events.c.started_at)
        .where(_events.c.ended_at.is_(None))
        .order_by(_events.c.number)
    )
    return [
        OpenEvent(
            number=row.number,
            kind=EventKind(row.kind),
            pair_id=row.pair_id,
            from_agent_id=row.from_agent_id,
            started_at=row.started_at,
        )
        for row in rows.all()
    ]


def read_masters(connection: Connection) -> dict[int, str]:
    """pair -> the agent that forwarded when a leader last looked."""
    return {row.pair_id: row.agent_id for row in connection.execute(sa.select(_masters)).all()}


def record(
    connection: Connection,
    *,
    begun: Sequence[Event],
    ended: Sequence[End],
    masters: Mapping[int, str],
    leader_epoch: int,
    keep: int,
) -> list[int]:
    """Write events (the numbers of those that begin), ends, and who forwards on which pair now.

    Of the events that are over, the newest `keep` stay. To be called by the leader (`LeaderWriter.write`).
    """
    numbers = [_insert(connection, event, leader_epoch) for event in begun]
    for end in ended:
        connection.execute(
            _events.update()
            .where(_events.c.number == end.number)
            .values(ended_at=end.ended_at, duration_ms=end.duration_ms, outage_ms=end.outage_ms)
        )
    _note_masters(connection, masters)
    if numbers:
        old = sa.and_(_events.c.number <= max(numbers) - keep, _events.c.ended_at.is_not(None))
        connection.execute(_events.delete().where(old))
    return numbers


def _insert(connection: Connection, event: Event, leader_epoch: int) -> int:
    result = connection.execute(
        _events.insert().values(
            id=str(uuid.uuid4()),
            kind=str(event.kind),
            cause=str(event.cause),
            pair_id=event.pair_id,
            from_agent_id=event.from_agent_id,
            to_agent_id=event.to_agent_id,
            pair_epoch=event.pair_epoch,
            leader_epoch=leader_epoch,
            started_at=event.started_at,
            ended_at=event.ended_at,
            duration_ms=event.duration_ms,
            outage_ms=event.outage_ms,
            routers=len(event.routers),
        )
    )
    number: int = result.inserted_primary_key[0] if result.inserted_primary_key else 0
    routers = tables.routers
    owners = [
        {"event_number": number, "router_id": row["id"], "project_id": row["project_id"]}
        for row in select_in(
            connection, sa.select(routers.c.id, routers.c.project_id), routers.c.id, sorted(event.routers)
        )
    ]
    if owners:
        connection.execute(_event_routers.insert(), owners)
    return number


def _note_masters(connection: Connection, masters: Mapping[int, str]) -> None:
    if not masters:
        return
    pairs = tables.pairs
    existing = set(connection.scalars(sa.select(pairs.c.id).where(pairs.c.id.in_(masters))))
    connection.execute(_masters.delete().where(_masters.c.pair_id.in_(existing)))
    rows = [{"pair_id": pair_id, "agent_id": agent_id} for pair_id, agent_id in masters.items() if pair_id in existing]
    if rows:
        connection.execute(_masters.insert(), rows)


# -- what the API reads --------------------------------------------------------------------


def _about_routers(values: Sequence[str]) -> sa.ColumnElement[bool]:
    chosen = sa.select(_event_routers.c.event_number).where(_event_routers.c.router_id.in_(values))
    return _events.c.number.in_(chosen)


def _about_projects(values: Sequence[str]) -> sa.ColumnElement[bool]:
    chosen = sa.select(_event_routers.c.event_number).where(_event_routers.c.project_id.in_(values))
    return _events.c.number.in_(chosen)


def _about_agents(values: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.or_(_events.c.from_agent_id.in_(values), _events.c.to_agent_id.in_(values))


def _since(values: Sequence[datetime.datetime]) -> sa.ColumnElement[bool]:
    """Events that had not ended before then."""
    return sa.or_(_events.c.ended_at.is_(None), _events.c.ended_at >= max(values))


def _until(values: Sequence[datetime.datetime]) -> sa.ColumnElement[bool]:
    return _events.c.started_at < min(values)


STORE = Store(
    kind="event",
    table=_events,
    not_found=EventNotFound,
    conditions={
        "router_id": _about_routers,
        "about_project": _about_projects,
        "agent_id": _about_agents,
        "since": _since,
        "until": _until,
    },
)


def routers_of(connection: Connection, event_id: str) -> list[Row]:
    """The routers that an event was about, and their projects. Raises EventNotFound."""
    event = STORE.bare(connection, event_id)
    rows = connection.execute(
        sa.select(_event_routers.c.router_id, _event_routers.c.project_id)
        .where(_event_routers.c.event_number == event["number"])
        .order_by(_event_routers.c.router_id)
    )
    return [dict(row) for row in rows.mappings()]


def availability(
    connection: Connection,
    since: datetime.datetime,
    until: datetime.datetime,
    *,
    routers: Collection[str] | None = None,
    projects: Collection[str] | None = None,
) -> list[Row]:
    """Of each of the routers (of the projects' routers; None: of all) that there are now, ordered by id: seconds that
    it existed in the period, milliseconds of outages, number of events, and the quotient `availability` (0 to 1).
    """
    table = tables.routers
    statement = sa.select(table.c.id, table.c.project_id, table.c.created_at).order_by(table.c.id)
    statement = statement.where(table.c.created_at <= until)
    if routers is not None:
        statement = statement.where(table.c.id.in_(routers))
    if projects is not None:
        statement = statement.where(table.c.project_id.in_(projects))
    found = [dict(row) for row in connection.execute(statement).mappings()]
    outages = _outages(connection, since, until)
    rows: list[Row] = []
    for router in found:
        seconds = (until - max(since, router["created_at"])).total_seconds()
        events, outage_ms = outages.get(router["id"], (0, 0))
        outage_ms = min(outage_ms, int(seconds * 1000))
        rows.append(
            {
                "router_id": router["id"],
                "project_id": router["project_id"],
                "seconds": seconds,
                "events": events,
                "outage_ms": outage_ms,
                "availability": 1.0 if seconds <= 0 else 1 - outage_ms / (seconds * 1000),
            }
        )
    return rows


def _outages(
    connection: Connection, since: datetime.datetime, until: datetime.datetime
) -> Mapping[str, tuple[int, int]]:
    """router -> (events, milliseconds of outage) of the period; what goes on counts until now."""
    now = utcnow()
    rows = connection.execute(
        sa.select(
            _event_routers.c.router_id,
            _events.c.kind,
            _events.c.started_at,
            _events.c.ended_at,
            _events.c.outage_ms,
        )
        .join(_events, _events.c.number == _event_routers.c.event_number)
        .where(_since([since]), _until([until]))
    )
    found: dict[str, tuple[int, int]] = {}
    for row in rows.all():
        count, total = found.get(row.router_id, (0, 0))
        outage_ms = row.outage_ms or 0
        if row.kind == EventKind.NO_ACTIVE:
            # times are in whole seconds, the duration is exact: it counts unless the period cuts it
            ended_at = row.ended_at or now
            if row.ended_at is None or row.started_at < since or ended_at > until:
                inside = min(ended_at, until) - max(row.started_at, since)
                outage_ms = max(0, int(inside.total_seconds() * 1000))
        found[row.router_id] = (count + 1, total + outage_ms)
    return found


def of_projects(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The same of each project: its routers' sums."""
    found: dict[str, Row] = {}
    for row in rows:
        sums = found.setdefault(
            row["project_id"],
            {"project_id": row["project_id"], "routers": 0, "seconds": 0.0, "events": 0, "outage_ms": 0},
        )
        sums["routers"] += 1
        for name in ("seconds", "events", "outage_ms"):
            sums[name] += row[name]
    for sums in found.values():
        seconds = sums["seconds"]
        sums["availability"] = 1.0 if seconds <= 0 else 1 - sums["outage_ms"] / (seconds * 1000)
    return [found[project_id] for project_id in sorted(found)]
