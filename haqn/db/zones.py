"""Availability zones: those that agents say they are in, and which of them networks and routers are in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import cast

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.owners import ROUTER_OWNERS
from haqn.db.session import Connection
from haqn.db.store import Row, Store, select_in
from haqn.exceptions import AvailabilityZoneNotFound
from haqn.model import AgentType

_agents, _bindings, _pairs, _ports = tables.agents, tables.bindings, tables.pairs, tables.ports
#: What agents of a type carry.
_RESOURCES = {AgentType.L3: "router", AgentType.LINUX_BRIDGE: "network"}


def store(living: Collection[str] | None) -> Store:
    """The zones that agents are in, as rows of id, name, resource and state, to be listed.

    A zone is available while an agent in it may be given work. `living` are the ids of the agents that are alive, which
    SQL does not know; None: nobody knows, and none counts as dead.
    """
    resource = sa.case({str(kind): name for kind, name in _RESOURCES.items()}, value=_agents.c.agent_type)
    alive = sa.true() if living is None else _agents.c.id.in_(living)
    usable = sa.func.max(sa.case((sa.and_(_agents.c.admin_state_up.is_(True), alive), 1), else_=0))
    found = (
        sa.select(
            (resource + ":" + _agents.c.availability_zone).label("id"),
            _agents.c.availability_zone.label("name"),
            resource.label("resource"),
            sa.case((usable == 1, "available"), else_="unavailable").label("state"),
        )
        .where(_agents.c.availability_zone != "", _agents.c.agent_type.in_([str(kind) for kind in _RESOURCES]))
        .group_by(_agents.c.availability_zone, _agents.c.agent_type)
        .subquery("zones")
    )
    # a store that is only listed needs no more than columns
    return Store(kind="availability_zone", table=cast("sa.Table", found), not_found=AvailabilityZoneNotFound)


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
            raise AvailabilityZoneNotFound(availability_zone_id=zone)


def load_of_routers(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `availability_zones`: those of the agents that the router is bound to."""
    statement = _of_routers().distinct()
    _put(rows, select_in(connection, statement, _bindings.c.router_id, [row["id"] for row in rows]))


def load_of_networks(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `availability_zones`: those of the hosts that carry a port of the network."""
    ids = [row["id"] for row in rows]
    found: list[sa.RowMapping] = []
    for statement in _of_networks():
        found += select_in(connection, statement.distinct(), _ports.c.network_id, ids)
    _put(rows, found)


def routers_in(values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Routers that are in one of the zones."""
    return tables.routers.c.id.in_(_objects_in(_of_routers(), values))


def networks_in(values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Networks that are in one of the zones."""
    return sa.or_(*(tables.networks.c.id.in_(_objects_in(found, values)) for found in _of_networks()))


def _objects_in(statement: sa.Select[tuple[str, str]], values: Sequence[str]) -> sa.Select[tuple[str]]:
    return statement.with_only_columns(statement.selected_columns.object_id).where(
        _agents.c.availability_zone.in_(values)
    )


def _of_routers() -> sa.Select[tuple[str, str]]:
    """Routers, and a zone that each is in."""
    return sa.select(_bindings.c.router_id.label("object_id"), _agents.c.availability_zone).select_from(
        _bindings.outerjoin(_pairs, _pairs.c.id == _bindings.c.pair_id).join(_agents, _hosts())
    )


def _of_networks() -> tuple[sa.Select[tuple[str, str]], sa.Select[tuple[str, str]]]:
    """Networks, and a zone that each is in: by ports that are plugged, and by those of routers."""
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
    return plugged, routed


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
