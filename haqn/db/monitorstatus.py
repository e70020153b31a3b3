"""What the leader says of itself, and an operator's release of its brakes: one row each."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from haqn.db import outbox, tables
from haqn.db.clock import utcnow
from haqn.db.session import Connection

_status, _release = tables.monitor_status, tables.brake_release
_ONLY_ROW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorStatus:
    """`since`: when `frozen` last changed."""

    epoch: int
    frozen: bool
    reason: str
    since: datetime.datetime
    #: dead: agents whose death is not acted upon; held and would_do: sentences, the first of them; counts of all
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeRelease:
    """The deaths of these agents are to be believed until then."""

    agents: frozenset[str]
    released_at: datetime.datetime
    expires_at: datetime.datetime


def read_status(connection: Connection) -> MonitorStatus | None:
    """What a leader said last."""
    row = connection.execute(sa.select(_status)).first()
    if row is None:
        return None
    return MonitorStatus(epoch=row.epoch, frozen=row.frozen, reason=row.reason, since=row.since, document=row.document)


def write_status(connection: Connection, *, epoch: int, frozen: bool, reason: str, document: Mapping[str, Any]) -> None:
    """To be called by the leader (`LeaderWriter.write`) when something has changed."""
    before = read_status(connection)
    same = before is not None and before.frozen == frozen
    since = before.since if before is not None and same else utcnow()
    values = {"epoch": epoch, "frozen": frozen, "reason": reason, "since": since, "document": document}
    if before is None:
        connection.execute(_status.insert().values(id=_ONLY_ROW, **values))
    else:
        connection.execute(_status.update().values(values))


def read_release(connection: Connection) -> BrakeRelease | None:
    """The release that is in force, or has expired."""
    row = connection.execute(sa.select(_release)).first()
    if row is None:
        return None
    return BrakeRelease(agents=frozenset(row.agents), released_at=row.released_at, expires_at=row.expires_at)


def release(connection: Connection, agents: Collection[str], seconds: float) -> BrakeRelease:
    """Believe these deaths from now on for `seconds`. To say it again lets the time begin anew."""
    now = utcnow()
    values = {
        "agents": sorted(agents),
        "released_at": now,
        "expires_at": now + datetime.timedelta(seconds=seconds),
    }
    connection.execute(_release.delete())
    connection.execute(_release.insert().values(id=_ONLY_ROW, **values))
    outbox.record(connection, "monitor", "release")
    return BrakeRelease(agents=frozenset(agents), released_at=now, expires_at=now + datetime.timedelta(seconds=seconds))


def release_held(connection: Connection, agents: Collection[str] | None, seconds: float) -> BrakeRelease:
    """The same for the deaths that the leader holds back now, unless `agents` says which."""
    status = read_status(connection)
    held = status.document.get("dead", ()) if status is not None and status.frozen else ()
    return release(connection, held if agents is None else agents, seconds)


def withdraw_release(connection: Connection) -> None:
    """The brakes are on again."""
    if connection.execute(_release.delete()).rowcount:
        outbox.record(connection, "monitor", "release")
