"""The redundancy of routers as the leader has found it, and what the API shows and counts of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.clock import utcnow
from haqn.db.session import Connection
from haqn.db.store import Row, select_in

_redundancies, _routers = tables.redundancies, tables.routers
#: what is shown of a router that the leader has not looked at yet
NOT_LOOKED_AT = "none"


class Redundancy(NamedTuple):
    """`state`: full, degraded (the standby is there, and could not take over now) or none."""

    state: str
    #: why it is not full; empty when it is
    reason: str
    #: the agent whose death would take the router down; None: another one stands by, or nobody is left
    last_agent_id: str | None


def read(connection: Connection) -> dict[str, Redundancy]:
    """Of all routers that were looked at."""
    table = _redundancies
    rows = connection.execute(sa.select(table.c.router_id, table.c.state, table.c.reason, table.c.last_agent_id))
    return {router_id: Redundancy(state, reason, last) for router_id, state, reason, last in rows.all()}


def write(connection: Connection, changed: Mapping[str, Redundancy], before: Mapping[str, Redundancy]) -> None:
    """Write what has changed; `since` begins anew with another state. Routers that are gone are left out."""
    if not changed:
        return
    now = utcnow()
    existing = {row["id"] for row in select_in(connection, sa.select(_routers.c.id), _routers.c.id, changed)}
    here = {
        row["router_id"]
        for row in select_in(
            connection, sa.select(_redundancies.c.router_id), _redundancies.c.router_id, sorted(existing)
        )
    }
    inserts, new_states, new_reasons = [], [], []
    for router_id in sorted(existing):
        state, reason, last = changed[router_id]
        values = {"bound_router": router_id, "new_state": state, "new_reason": reason, "new_last": last}
        if router_id not in here:
            inserts.append(
                {"router_id": router_id, "state": state, "since": now, "reason": reason, "last_agent_id": last}
            )
        elif router_id in before and before[router_id].state == state:
            new_reasons.append(values)
        else:
            new_states.append(values)
    if inserts:
        connection.execute(_redundancies.insert(), inserts)
    update = (
        _redundancies.update()
        .where(_redundancies.c.router_id == sa.bindparam("bound_router"))
        .values(
            state=sa.bindparam("new_state"), reason=sa.bindparam("new_reason"), last_agent_id=sa.bindparam("new_last")
        )
    )
    if new_reasons:
        connection.execute(update, new_reasons)
    if new_states:
        connection.execute(update.values(since=now), new_states)


def load(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `redundancy`, `redundancy_since` and `redundancy_reason` to rows of routers."""
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row.update(not_looked_at(row))
    for found in select_in(connection, sa.select(_redundancies), _redundancies.c.router_id, by_id):
        by_id[found["router_id"]].update(
            redundancy=found["state"], redundancy_since=found["since"], redundancy_reason=found["reason"]
        )


def not_looked_at(row: Row) -> Row:
    """What is said of a router of which the leader has said nothing."""
    return {
        "redundancy": NOT_LOOKED_AT,
        "redundancy_since": row["created_at"],
        "redundancy_reason": "no leader has looked at it yet",
    }


def among(values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Routers whose redundancy is one of these: a filter of lists."""
    known = sa.select(_redundancies.c.router_id)
    condition = _routers.c.id.in_(known.where(_redundancies.c.state.in_(values)))
    return sa.or_(condition, _routers.c.id.not_in(known)) if NOT_LOOKED_AT in values else condition


def last_members(connection: Connection, agent_ids: Collection[str]) -> dict[str, int]:
    """agent -> how many routers would go down with it."""
    table = _redundancies
    rows = connection.execute(
        sa.select(table.c.last_agent_id, sa.func.count())
        .where(table.c.last_agent_id.in_(agent_ids))
        .group_by(table.c.last_agent_id)
    )
    return {row[0]: row[1] for row in rows}


def changes(now: Mapping[str, Redundancy], before: Mapping[str, Redundancy]) -> dict[str, Redundancy]:
    """What is new or other."""
    return {router_id: found for router_id, found in now.items() if before.get(router_id) != found}
