"""Who may host a router, and why not.

Each answer is a reason that a person can read; the empty string means yes. Knows nothing of
pairs, loads or bindings but the number of routers that the caller counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from haqn.model import Agent, AgentType, RouterRequest


class Demand(NamedTuple):
    """What routers have in common that may be placed on the same agents."""

    physical_network: str | None
    gateway_network_id: str | None
    availability_zone_hints: tuple[str, ...]
    excluded_agents: tuple[str, ...] = ()


def demand_of(router: RouterRequest) -> Demand:
    """What the router demands of its agents."""
    return Demand(
        router.physical_network, router.gateway_network_id, router.availability_zone_hints, router.excluded_agents
    )


def why_unwilling(agent: Agent) -> str:
    """Why the agent takes no new router at all; also why routers leave it."""
    if agent.agent_type is not AgentType.L3:
        return "no L3 agent"
    if not agent.alive:
        return "dead"
    if not agent.admin_state_up:
        return "administratively down"
    if agent.draining:
        return "draining"
    return ""


def why_unfit(agent: Agent, demand: Demand) -> str:
    """Why the agent cannot carry out what such a router needs, dead or alive."""
    if demand.physical_network is not None and demand.physical_network not in agent.physical_networks:
        return f"not on physical network {demand.physical_network}"
    if demand.availability_zone_hints and agent.zone not in demand.availability_zone_hints:
        return f"not in zone {' or '.join(demand.availability_zone_hints)}"
    if (
        agent.allowed_networks
        and demand.gateway_network_id is not None
        and demand.gateway_network_id not in agent.allowed_networks
    ):
        return "gateway network not allowed there"
    if agent.id in demand.excluded_agents:
        return "taken off it by hand"
    return ""


def why_refused(agent: Agent, router_id: str) -> str:
    """Why the agent's own list of routers keeps this one off."""
    return "router not allowed there" if agent.allowed_routers and router_id not in agent.allowed_routers else ""


def why_full(agent: Agent, routers: int) -> str:
    """Why the agent, which has that many routers (active and standby), takes no more; those that it has stay."""
    if agent.full:
        return f"full ({agent.full})"
    if agent.max_routers is not None and routers >= agent.max_routers:
        return f"full ({agent.max_routers} routers)"
    return ""


def stable_order(agents: Iterable[Agent]) -> dict[str, int]:
    """agent id -> its place in an order that looks random and never changes: breaks ties between equal loads."""
    ids = sorted((hashlib.blake2b(agent.id.encode(), digest_size=8).digest(), agent.id) for agent in agents)
    return {agent_id: place for place, (_, agent_id) in enumerate(ids)}


def summarize(reasons: Iterable[str]) -> str:
    """`2 dead, 1 draining`: how many agents were refused, for which reason."""
    counts = Counter(reason for reason in reasons if reason)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "there is no other"
