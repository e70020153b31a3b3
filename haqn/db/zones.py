"""Availability zones: those that agents say they are in, and which of them networks and routers are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.owners import ROUTER_OWNERS
from haqn.db.session import Connection
from haqn.db.store import Row, select_in
from haqn.exceptions import AvailabilityZoneNotFound
from haqn.model import AgentType

_agents, _bindings, _pairs, _ports = tables.agents, tables.bindings, tables.pairs, tables.ports


def agents_in_zones(connection: Connection) -> list[Row]:
    """id, agent_type, availability_zone and admin_state_up of the agents that are in a zone."""
    statement = sa.select(
        _agents.c.id, _agents.c.agent_type, _agents.c.availability_zone, _agents.c.admin_state_up
    ).where(_agents.c.availability_zone != "")
    return [dict(row) for row in connection.execute(statement).mappings()]


def check(connection: Connection, agent_type: AgentType, zones: Sequence[str]) -> None:
    """There must be an agent of the type in each of the zones. Raises AvailabilityZoneNotFound."""
    if not zones:
        return
    known = set(
        connection.scalars(
            sa.select(_agents.c.availability_zone).where(
                _agents.c.agent_type == agent_type, _agents.c.availability_zone.in_(zones)
            )
        )
    )
    for zone in zones:
        if zone not in known:
            raise AvailabilityZoneNotFound(availability_zone=zone)


def load_of_routers(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `availability_zones`: those of the agents that the router is bound to."""
    statement = (
        sa.select(_bindings.c.router_id.label("object_id"), _agents.c.availability_zone)
        .select_from(_bindings.outerjoin(_pairs, _pairs.c.id == _bindings.c.pair_id).join(_agents, _hosts()))
        .distinct()
    )
    _put(rows, select_in(connection, statement, _bindings.c.router_id, [row["id"] for row in rows]))


def load_of_networks(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `availability_zones`: those of the hosts that carry a port of the network."""
    plugged = sa.select(_ports.c.network_id.label("object_id"), _agents.c.availability_zone).join(
        _agents,
        sa.and_(_agents.c.host == _ports.c.binding_host_id, _agents.c.agent_type == str(AgentType.LINUX_BRIDGE)),
    )
    routed = (
        sa.select(_ports.c.network_id.label("object_id"), _agents.c.availability_zone)
        .select_from(
            _ports.join(_bindings, _bindings.c.router_id == _ports.c.device_id)
            .outerjoin(_pairs, _pairs.c.id == _bindings.c.pair_id)
            .join(_agents, _hosts())
        )
        .where(_ports.c.device_owner.in_(ROUTER_OWNERS))
    )
    ids = [row["id"] for row in rows]
    found: list[sa.RowMapping] = []
    for statement in (plugged, routed):
        found += select_in(connection, statement.distinct(), _ports.c.network_id, ids)
    _put(rows, found)


def _hosts() -> sa.ColumnElement[bool]:
    """The agent is one of those that the binding is to."""
    return sa.or_(
        _agents.c.id == _bindings.c.agent_id,
        _agents.c.id == _pairs.c.active_agent_id,
        _agents.c.id == _pairs.c.backup_agent_id,
    )


def _put(rows: Sequence[Row], found: Iterable[sa.RowMapping]) -> None:
    zones: dict[str, set[str]] = {row["id"]: set() for row in rows}
    for child in found:
        if child["availability_zone"]:
            zones[child["object_id"]].add(child["availability_zone"])
    for row in rows:
        row["availability_zones"] = sorted(zones[row["id"]])
