"""Counts for metrics, from what the leader keeps in SQL; one small statement each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """The events of the failover ledger of one kind and cause that are over, durations in milliseconds."""

    kind: str
    cause: str
    count: int
    duration_ms: int
    outage_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    #: full, degraded or none -> routers
    redundancy: Mapping[str, int]
    happened: tuple[Happened, ...]
    #: kind -> events that go on
    going_on: Mapping[str, int]
    #: lines of the outbox, and those of them that the leader has not read
    outbox: int
    outbox_unread: int


def read(database: Database, *, outbox_read: int = 0) -> Numbers:
    """Read them in one transaction; `outbox_read`: the leader has read the outbox up to this line. Raises
    DatabaseUnavailable."""
    events, redundancies, outbox = tables.events, tables.redundancies, tables.outbox
    count = sa.func.count()
    with database.read() as connection:
        states = connection.execute(sa.select(redundancies.c.state, count).group_by(redundancies.c.state)).all()
        over = connection.execute(
            sa.select(
                events.c.kind,
                events.c.cause,
                count,
                sa.func.coalesce(sa.func.sum(events.c.duration_ms), 0),
                sa.func.coalesce(sa.func.sum(events.c.outage_ms), 0),
            )
            .where(events.c.ended_at.is_not(None))
            .group_by(events.c.kind, events.c.cause)
        ).all()
        open_ones = connection.execute(
            sa.select(events.c.kind, count).where(events.c.ended_at.is_(None)).group_by(events.c.kind)
        ).all()
        lines = connection.scalar(sa.select(count).select_from(outbox)) or 0
        unread = connection.scalar(sa.select(count).select_from(outbox).where(outbox.c.id > outbox_read)) or 0
    return Numbers(
        redundancy={row[0]: row[1] for row in states},
        happened=tuple(
            Happened(kind=kind, cause=cause, count=number, duration_ms=int(duration), outage_ms=int(outage))
            for kind, cause, number, duration, outage in sorted(over)
        ),
        going_on={row[0]: row[1] for row in open_ones},
        outbox=lines,
        outbox_unread=unread,
    )
