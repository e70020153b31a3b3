"""What the API may do to agents, and an operator's wishes of which agent hosts a router (pins).

Agents are registered by the monitor, and routers are bound to them by the monitor alone (`bindings`). Whether an agent
is alive is not in SQL: callers say what they know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import sqlalchemy as sa

from haqn.db import eligibility, operations, outbox, routers, tables
from haqn.db.bindings import switch_over
from haqn.db.clock import utcnow
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Query, Row, Store
from haqn.exceptions import (
    AgentInUse,
    AgentNotFound,
    InvalidL3Agent,
    RouterHostedByL3Agent,
    RouterNotHostedByL3Agent,
    RouterReschedulingFailed,
    RouterSchedulingFailed,
)
from haqn.model import AgentType

_agents, _pairs, _bindings = tables.agents, tables.pairs, tables.bindings
_pins, _exclusions = tables.pins, tables.exclusions

#: `ha_chassis_priority` of the designated ACTIVE and of the BACKUP; only their order means anything.
PRIORITIES = (2, 1)


def _alive(values: Sequence[tuple[bool, Collection[str]]]) -> sa.ColumnElement[bool]:
    """Agents that are among those (true), or are not (false): who lives is not in SQL, but comes with the question."""
    return sa.or_(
        sa.false(), *(_agents.c.id.in_(living) if wanted else _agents.c.id.not_in(living) for wanted, living in values)
    )


STORE = Store(
    kind="agent",
    table=_agents,
    not_found=AgentNotFound,
    conditions={"alive": _alive},
    # where Neutron's agents of the type listen for messages
    computed={"topic": sa.case((_agents.c.agent_type == str(AgentType.L3), "l3_agent"), else_="N/A")},
)


def update(connection: Connection, _settings: Settings, agent_id: str, changes: Row) -> Row:
    """Change what an operator may say of an agent. Raises AgentNotFound.

    `admin_state_up` false is a drain: its routers leave it little by little, which can be followed as an operation.
    """
    before = STORE.bare(connection, agent_id, lock=True)
    STORE.update(connection, agent_id, changes)
    up = changes.get("admin_state_up", before["admin_state_up"])
    if before["agent_type"] == AgentType.L3 and up != before["admin_state_up"]:
        if not up:
            operations.leave(connection, agent_id)
        elif not before["draining"]:
            operations.cancel_drains(connection, agent_id)
    return STORE.get(connection, agent_id)


def delete(connection: Connection, _settings: Settings, agent_id: str) -> None:
    """Forget a dead agent, and the pairs that it leaves without a router.

    Raises AgentNotFound, AgentInUse while a router is bound to it: the monitor moves it off first.
    """
    STORE.bare(connection, agent_id, lock=True)
    own = _member(agent_id)
    bound = connection.scalar(
        sa.select(_bindings.c.router_id)
        .select_from(_bindings.outerjoin(_pairs, _pairs.c.id == _bindings.c.pair_id))
        .where(sa.or_(_bindings.c.agent_id == agent_id, own))
        .limit(1)
    )
    if bound is not None:
        raise AgentInUse(agent_id=agent_id, reason=f"router {bound} is bound to it")
    connection.execute(_pairs.delete().where(own))
    STORE.delete(connection, agent_id)


def routers_on(connection: Connection, agent_id: str) -> list[Row]:
    """The routers that are bound to the agent, or pinned to it and not yet bound. Raises AgentNotFound."""
    STORE.bare(connection, agent_id)
    bound = (
        sa.select(_bindings.c.router_id)
        .select_from(_bindings.outerjoin(_pairs, _pairs.c.id == _bindings.c.pair_id))
        .where(sa.or_(_bindings.c.agent_id == agent_id, _member(agent_id)))
    )
    pinned = sa.select(_pins.c.router_id).where(_pins.c.agent_id == agent_id)
    ids = connection.scalars(sa.union(bound, pinned)).all()
    return routers.STORE.list(connection, Query(filters={"id": ids})) if ids else []


def agents_of(connection: Connection, router_id: str) -> list[tuple[Row, int | None]]:
    """The agents that host the router, the designated ACTIVE first, each with the pair it hosts it by.

    Raises RouterNotFound.
    """
    routers.STORE.bare(connection, router_id)
    binding = connection.execute(
        sa.select(_bindings.c.agent_id, _bindings.c.pair_id, _pairs.c.active_agent_id, _pairs.c.backup_agent_id)
        .select_from(_bindings.outerjoin(_pairs, _pairs.c.id == _bindings.c.pair_id))
        .where(_bindings.c.router_id == router_id)
    ).first()
    if binding is None:
        return []
    members = [binding.agent_id] if binding.pair_id is None else [binding.active_agent_id, binding.backup_agent_id]
    rows = {row["id"]: row for row in STORE.list(connection, Query(filters={"id": members}))}
    return [(rows[agent_id], binding.pair_id) for agent_id in members]


def pin(connection: Connection, agent_id: str, router_id: str) -> None:
    """Record that an operator wants the agent to host the router; nothing when it was recorded before.

    Raises InvalidL3Agent, RouterNotFound, RouterHostedByL3Agent (as many agents as it can have are pinned already),
    RouterSchedulingFailed (the agent cannot carry the router out, or has no room).
    """
    agent = connection.execute(sa.select(_agents).where(_agents.c.id == agent_id)).mappings().first()
    if agent is None or agent["agent_type"] != AgentType.L3 or not agent["admin_state_up"]:
        raise InvalidL3Agent(agent_id=agent_id)
    router = routers.STORE.bare(connection, router_id, lock=True)
    pinned = _pinned(connection, router_id)
    if agent_id in pinned:
        return
    if len(pinned) >= (2 if router["ha"] else 1):
        raise RouterHostedByL3Agent(router_id=router_id, agent_id=", ".join(sorted(pinned)))
    if not any(hosting["id"] == agent_id for hosting, _ in agents_of(connection, router_id)):
        why = eligibility.why_not(connection, dict(agent), router)
        if why:
            raise RouterSchedulingFailed(router_id=router_id, agent_id=agent_id, reason=why)
    _forget_exclusion(connection, agent_id, router_id)
    connection.execute(_pins.insert().values(router_id=router_id, agent_id=agent_id, created_at=utcnow()))
    outbox.record(connection, "router", router_id)


def set_priority(connection: Connection, agent_id: str, router_id: str, priority: int) -> int | None:
    """Let the agent be the designated ACTIVE of the router's pair if `priority` is above the other member's, and its
    BACKUP if it is below; the agent's priority afterwards. All routers of the pair move along.

    None: the router has no standby, so that there is nothing to choose. Raises AgentNotFound, RouterNotFound,
    RouterNotHostedByL3Agent.
    """
    STORE.bare(connection, agent_id)
    hosting = agents_of(connection, router_id)
    place = next((place for place, (agent, _) in enumerate(hosting) if agent["id"] == agent_id), None)
    if place is None:
        raise RouterNotHostedByL3Agent(router_id=router_id, agent_id=agent_id)
    pair_id = hosting[place][1]
    if pair_id is None:
        return None
    own, other = (PRIORITIES[place], PRIORITIES[1 - place])
    if (priority - other) * (own - other) >= 0:
        return own
    switch_over(connection, pair_id)
    outbox.record(connection, "pair", str(pair_id))
    taker = agent_id if other == PRIORITIES[0] else hosting[1 - place][0]["id"]
    operations.switch_over(connection, pair_id, taker)
    return other


def remove(connection: Connection, agent_id: str, router_id: str, alive: Callable[[str], bool | None]) -> None:
    """Take the router off the agent: the wish for it is withdrawn, and the monitor lets the router leave, handing over
    first. `alive` says what is known of an agent.

    Raises AgentNotFound, RouterNotFound, RouterNotHostedByL3Agent, RouterReschedulingFailed (no other can have it).
    """
    STORE.bare(connection, agent_id)
    router = routers.STORE.bare(connection, router_id, lock=True)
    was_pinned = agent_id in _pinned(connection, router_id)
    members = {agent["id"] for agent, _ in agents_of(connection, router_id)}
    if not was_pinned and agent_id not in members:
        raise RouterNotHostedByL3Agent(router_id=router_id, agent_id=agent_id)
    others = sa.select(_agents).where(_agents.c.agent_type == AgentType.L3, _agents.c.id.not_in({*members, agent_id}))
    can_leave = agent_id in members and any(
        alive(row["id"]) is not False and not eligibility.why_not(connection, dict(row), router)
        for row in connection.execute(others).mappings().all()
    )
    if not was_pinned and not can_leave:
        raise RouterReschedulingFailed(router_id=router_id, reason="no eligible l3 agent found")
    connection.execute(_pins.delete().where(_pins.c.router_id == router_id, _pins.c.agent_id == agent_id))
    if can_leave:
        _forget_exclusion(connection, agent_id, router_id)
        connection.execute(_exclusions.insert().values(router_id=router_id, agent_id=agent_id, created_at=utcnow()))
    outbox.record(connection, "router", router_id)


def _forget_exclusion(connection: Connection, agent_id: str, router_id: str) -> None:
    connection.execute(
        _exclusions.delete().where(_exclusions.c.router_id == router_id, _exclusions.c.agent_id == agent_id)
    )


def _pinned(connection: Connection, router_id: str) -> set[str]:
    return set(connection.scalars(sa.select(_pins.c.agent_id).where(_pins.c.router_id == router_id)))


def _member(agent_id: str) -> sa.ColumnElement[bool]:
    return sa.or_(_pairs.c.active_agent_id == agent_id, _pairs.c.backup_agent_id == agent_id)
