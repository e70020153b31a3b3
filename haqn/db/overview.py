"""Who hosts which routers, of many at once: what the API shows of pairs and agents as a whole."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.db.store import Row, select_in
from haqn.model import AgentType

_agents, _pairs, _bindings = tables.agents, tables.pairs, tables.bindings


class Hosting(NamedTuple):
    """What a router is bound to."""

    pair_id: int | None
    epoch: int | None
    #: ids of agents, the designated ACTIVE first
    members: tuple[str, ...]


class Load(NamedTuple):
    """How many routers are bound to an agent."""

    #: in pairs, as the designated ACTIVE and as the BACKUP
    active: int = 0
    standby: int = 0
    #: to it alone
    alone: int = 0


def hosting(connection: Connection, router_ids: Collection[str]) -> dict[str, Hosting]:
    """Of those routers that are bound."""
    statement = sa.select(
        _bindings.c.router_id,
        _bindings.c.pair_id,
        _bindings.c.agent_id,
        _pairs.c.active_agent_id,
        _pairs.c.backup_agent_id,
        _pairs.c.epoch,
    ).select_from(_bindings.outerjoin(_pairs, _pairs.c.id == _bindings.c.pair_id))
    found = {}
    for row in select_in(connection, statement, _bindings.c.router_id, router_ids):
        members = (row["agent_id"],) if row["pair_id"] is None else (row["active_agent_id"], row["backup_agent_id"])
        found[row["router_id"]] = Hosting(row["pair_id"], row["epoch"], members)
    return found


def l3_agents(connection: Connection, only: str | None = None) -> list[Row]:
    """All of them, by host; or the one with this id, if there is one."""
    statement = sa.select(_agents).where(_agents.c.agent_type == AgentType.L3).order_by(_agents.c.host)
    if only is not None:
        statement = statement.where(_agents.c.id == only)
    return [dict(row) for row in connection.execute(statement).mappings()]


def hosts(connection: Connection) -> dict[str, str]:
    """agent id -> host, of all agents."""
    return {row.id: row.host for row in connection.execute(sa.select(_agents.c.id, _agents.c.host)).all()}


def loads(connection: Connection) -> dict[str, Load]:
    """Of each agent that has any router."""
    found: dict[str, Load] = {}
    for name, agent, joined in (
        ("active", _pairs.c.active_agent_id, _bindings.join(_pairs, _pairs.c.id == _bindings.c.pair_id)),
        ("standby", _pairs.c.backup_agent_id, _bindings.join(_pairs, _pairs.c.id == _bindings.c.pair_id)),
        ("alone", _bindings.c.agent_id, _bindings),
    ):
        statement = sa.select(agent, sa.func.count()).select_from(joined).where(agent.is_not(None)).group_by(agent)
        for agent_id, count in connection.execute(statement).all():
            found[agent_id] = found.get(agent_id, Load())._replace(**{name: count})
    return found


def pairs_with_routers(connection: Connection) -> dict[str, list[int]]:
    """agent -> the pairs of its on which routers ride."""
    ridden = sa.select(_bindings.c.pair_id).where(_bindings.c.pair_id.is_not(None))
    rows = connection.execute(
        sa.select(_pairs.c.id, _pairs.c.active_agent_id, _pairs.c.backup_agent_id)
        .where(_pairs.c.id.in_(ridden))
        .order_by(_pairs.c.id)
    )
    found: dict[str, list[int]] = {}
    for pair_id, *members in rows.all():
        for member in members:
            found.setdefault(member, []).append(pair_id)
    return found
