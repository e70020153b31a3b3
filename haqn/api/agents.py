"""Agents, and which router is on which of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import falcon

from haqn.api.attributes import Attribute, Attributes
from haqn.api.endpoints import Item, answer, context_of, read_object, show_all
from haqn.api.kinds import Boolean, Integer, Invalid, Json, Nullable, Only, Text, Timestamp, Uuid, is_uuid
from haqn.api.livestate import LiveState
from haqn.api.resource import Resource
from haqn.api.routers import ROUTER
from haqn.api.services import Services
from haqn.db import agents, routers
from haqn.db.session import Connection
from haqn.db.store import Row
from haqn.exceptions import AgentInUse, HTTPBadRequest, RouterReschedulingFailed, RouterSchedulingFailed
from haqn.model import VrrpState

#: Agents' times have a space where other resources' have a T.
_TIME = Timestamp(" ", "")
#: Parts of the heartbeat that the agent shows as attributes of its own.
_NOT_CONFIGURATION = frozenset({"agent_id", "agent_type", "host", "started_at", "version", "zone"})
_LIVENESS = {True: "alive", False: "dead", None: "unknown"}
_HA_STATES = {VrrpState.MASTER: "active", VrrpState.BACKUP: "standby", VrrpState.FAULT: "standby", None: "unknown"}


def _decorate(services: Services, rows: Sequence[Row]) -> None:
    for row in rows:
        alive = services.live_state.alive(row["id"])
        row["alive"] = alive is True
        row["liveness"] = _LIVENESS[alive]
        row["configurations"] = {
            name: value for name, value in row["heartbeat"].items() if name not in _NOT_CONFIGURATION
        }


def _translate(services: Services, filters: dict[str, Sequence[Any]]) -> dict[str, Any]:
    """Add who lives, which SQL does not know, to the filter on `alive`."""
    if "alive" not in filters:
        return filters
    living = services.live_state.living() or frozenset()
    return {**filters, "alive": [(wanted, living) for wanted in filters["alive"]]}


AGENT = Resource(
    collection="agents",
    store=agents.STORE,
    for_admins=True,
    update=agents.update,
    delete=agents.delete,
    decorate=_decorate,
    translate=_translate,
    attributes=Attributes(
        "agent",
        (
            Attribute(name="id", kind=Uuid()),
            Attribute(name="agent_type", kind=Text(64)),
            Attribute(name="binary", kind=Text(64)),
            Attribute(name="topic", kind=Text()),
            Attribute(name="host", kind=Text()),
            Attribute(name="admin_state_up", kind=Boolean(), put=True),
            Attribute(name="alive", kind=Boolean()),
            Attribute(name="liveness", kind=Text()),
            Attribute(name="availability_zone", kind=Text()),
            Attribute(name="description", kind=Text(), put=True),
            Attribute(name="configurations", kind=Json(), needs="heartbeat"),
            Attribute(name="created_at", kind=_TIME),
            Attribute(name="started_at", kind=_TIME),
            Attribute(name="heartbeat_timestamp", kind=_TIME),
            Attribute(name="resources_synced", kind=Only(None)),
            # of messages, of which there are none
            Attribute(name="resource_versions", kind=Only({})),
        ),
    ),
)


class AgentItem(Item):
    """`/v2.0/agents/{object_id}`."""

    def before_delete(self, object_id: str) -> None:
        if self._services.live_state.alive(object_id):
            raise AgentInUse(agent_id=object_id, reason="it is alive")


class RoutersOfAgent:
    """`/v2.0/agents/{object_id}/l3-routers`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        _check_agent_id(object_id)
        with self._services.database.read() as connection:
            rows = agents.routers_on(connection, object_id)
        answer(response, {"routers": show_all(ROUTER, self._services, rows, context_of(request))})

    def on_post(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        _check_agent_id(object_id)
        body = read_object(request)
        router_id, priority = _router_id(body), _priority(body)
        if self._services.live_state.alive(object_id) is False:
            with self._services.database.read() as connection:
                agents.STORE.bare(connection, object_id)
            raise RouterSchedulingFailed(router_id=router_id, agent_id=object_id, reason="it is dead")

        def work(connection: Connection) -> None:
            agents.pin(connection, object_id, router_id)
            if priority is not None:
                agents.set_priority(connection, object_id, router_id, priority)

        self._services.write(work)
        answer(response, None, HTTPStatus.CREATED)


class RouterOfAgent:
    """`/v2.0/agents/{object_id}/l3-routers/{router_id}`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_put(self, request: falcon.Request, response: falcon.Response, object_id: str, router_id: str) -> None:
        """`{"ha_chassis_priority": n}`: the agent forwards if that is more than the other member has."""
        _check_agent_id(object_id)
        if not is_uuid(router_id):
            raise routers.STORE.missing(router_id)
        priority = _priority(read_object(request))
        if priority is None:
            raise HTTPBadRequest(reason="ha_chassis_priority must be given")

        def work(connection: Connection) -> int | None:
            now = agents.set_priority(connection, object_id, router_id, priority)
            if now == agents.PRIORITIES[0]:
                self._check_it_can_take_over(connection, object_id, router_id)
            return now

        answer(response, {"ha_chassis_priority": self._services.write(work)})

    def _check_it_can_take_over(self, connection: Connection, agent_id: str, router_id: str) -> None:
        live_state = self._services.live_state
        hosting = {agent["id"]: (agent["host"], pair_id) for agent, pair_id in agents.agents_of(connection, router_id)}
        host, pair_id = hosting[agent_id]
        if live_state.alive(agent_id) is False:
            raise RouterReschedulingFailed(router_id=router_id, reason=f"{host} is dead")
        if pair_id is not None and live_state.pair_state(host, pair_id) is VrrpState.FAULT:
            raise RouterReschedulingFailed(router_id=router_id, reason=f"{host} reports FAULT on pair {pair_id}")

    def on_delete(self, _request: falcon.Request, response: falcon.Response, object_id: str, router_id: str) -> None:
        _check_agent_id(object_id)
        if not is_uuid(router_id):
            raise routers.STORE.missing(router_id)
        alive = self._services.live_state.alive
        self._services.write(lambda connection: agents.remove(connection, object_id, router_id, alive))
        response.status = HTTPStatus.NO_CONTENT


class AgentsOfRouter:
    """`/v2.0/routers/{object_id}/l3-agents`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        if not is_uuid(object_id):
            raise routers.STORE.missing(object_id)
        with self._services.database.read() as connection:
            hosting = agents.agents_of(connection, object_id)
        shown = show_all(AGENT, self._services, [row for row, _ in hosting], context_of(request))
        states = [_ha_state(self._services.live_state, row["host"], pair_id) for row, pair_id in hosting]
        answer(
            response,
            {
                "agents": [
                    # without a standby there is only one, and nothing to be above or below of
                    {**agent, "ha_state": state, "ha_chassis_priority": None if state is None else priority}
                    for agent, state, priority in zip(shown, states, agents.PRIORITIES, strict=False)
                ]
            },
        )


def _ha_state(live_state: LiveState, host: str, pair_id: int | None) -> str | None:
    """Neutron's word for what the agent is for the router; None for a router without a standby."""
    return None if pair_id is None else _HA_STATES[live_state.pair_state(host, pair_id)]


def _check_agent_id(object_id: str) -> None:
    if not is_uuid(object_id):
        raise agents.STORE.missing(object_id)


def _router_id(body: Mapping[str, Any]) -> str:
    try:
        return Uuid().parse(body.get("router_id"))
    except Invalid as error:
        raise HTTPBadRequest(reason=f"Invalid input for router_id. Reason: {error}") from None


def _priority(body: Mapping[str, Any]) -> int | None:
    """`ha_chassis_priority` of the body; None: not given."""
    try:
        priority: int | None = Nullable(Integer(0, 65535)).parse(body.get("ha_chassis_priority"))
    except Invalid as error:
        raise HTTPBadRequest(reason=f"Invalid input for ha_chassis_priority. Reason: {error}") from None
    return priority
