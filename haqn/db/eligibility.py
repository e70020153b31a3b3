"""Whether an agent may host a router, as far as SQL knows: what an operator who chooses by hand must be told.

The reasons are the planner's own (`haqn.scheduler.placement`). Whether the agent is alive is not in SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.db.store import Row
from haqn.model import Agent, AgentType, RouterRequest
from haqn.scheduler import placement

_bindings, _pairs = tables.bindings, tables.pairs


def why_not(connection: Connection, agent_row: Row, router_row: Row) -> str:
    """Why the agent cannot have the router; empty when it can, if it lives."""
    agent, router = _agent(agent_row), _request(connection, router_row)
    return (
        placement.why_unwilling(agent)
        or placement.why_unfit(agent, placement.demand_of(router))
        or placement.why_refused(agent, router.id)
        or placement.why_full(agent, count_routers(connection, agent.id))
    )


def _agent(row: Row) -> Agent:
    beat: Mapping[str, Any] = row["heartbeat"]
    return Agent(
        id=row["id"],
        agent_type=AgentType(row["agent_type"]),
        host=row["host"],
        alive=True,
        admin_state_up=row["admin_state_up"],
        draining=row["draining"],
        zone=beat.get("zone", ""),
        physical_networks=frozenset(beat.get("physical_networks", ())),
        max_routers=beat.get("max_routers"),
        full=beat.get("full", ""),
        allowed_routers=frozenset(beat.get("allowed_routers", ())),
        allowed_networks=frozenset(beat.get("allowed_networks", ())),
    )


def _request(connection: Connection, router: Row) -> RouterRequest:
    ports, networks = tables.ports, tables.networks
    gateway = connection.execute(
        sa.select(networks.c.id, networks.c.physical_network)
        .join(ports, ports.c.network_id == networks.c.id)
        .where(ports.c.id == router["gateway_port_id"])
    ).first()
    return RouterRequest(
        id=router["id"],
        ha=router["ha"],
        physical_network=None if gateway is None else gateway.physical_network,
        gateway_network_id=None if gateway is None else gateway.id,
        availability_zone_hints=tuple(router["availability_zone_hints"]),
    )


def count_routers(connection: Connection, agent_id: str) -> int:
    """Number of routers that are bound to the agent, as active, standby or alone."""
    return (
        connection.scalar(
            sa.select(sa.func.count())
            .select_from(_bindings.outerjoin(_pairs, _pairs.c.id == _bindings.c.pair_id))
            .where(
                sa.or_(
                    _bindings.c.agent_id == agent_id,
                    _pairs.c.active_agent_id == agent_id,
                    _pairs.c.backup_agent_id == agent_id,
                )
            )
        )
        or 0
    )
