"""The scheduler of DHCP agents, of which there are none: no network is on one, and no agent takes one."""

from __future__ import annotations

import falcon

from haqn.api.endpoints import answer, read_object
from haqn.api.kinds import is_uuid
from haqn.api.services import Services
from haqn.db import agents, networks
from haqn.exceptions import InvalidDHCPAgent, NetworkNotHostedByDhcpAgent


class AgentsOfNetwork:
    """`/v2.0/networks/{object_id}/dhcp-agents`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        if not is_uuid(object_id):
            raise networks.STORE.missing(object_id)
        with self._services.database.read() as connection:
            networks.STORE.bare(connection, object_id)
        answer(response, {"agents": []})


class NetworksOfAgent:
    """`/v2.0/agents/{object_id}/dhcp-networks`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        _check_agent(self._services, object_id)
        answer(response, {"networks": []})

    def on_post(self, request: falcon.Request, _response: falcon.Response, object_id: str) -> None:
        read_object(request)
        raise InvalidDHCPAgent(agent_id=ascii(object_id[:255])[1:-1])


class NetworkOfAgent:
    """`/v2.0/agents/{object_id}/dhcp-networks/{network_id}`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_delete(self, _request: falcon.Request, _response: falcon.Response, object_id: str, network_id: str) -> None:
        _check_agent(self._services, object_id)
        raise NetworkNotHostedByDhcpAgent(network_id=ascii(network_id[:255])[1:-1], agent_id=object_id)


def _check_agent(services: Services, object_id: str) -> None:
    if not is_uuid(object_id):
        raise agents.STORE.missing(object_id)
    with services.database.read() as connection:
        agents.STORE.bare(connection, object_id)
