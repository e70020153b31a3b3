"""`availability_zones`: where agents are, for routers and for networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import falcon

from haqn.api import listing
from haqn.api.endpoints import answer, parameters_of
from haqn.api.services import Services
from haqn.db import zones
from haqn.exceptions import InvalidInput
from haqn.model import AgentType

#: What agents of a type carry.
_RESOURCES = {AgentType.L3: "router", AgentType.LINUX_BRIDGE: "network"}
_ATTRIBUTES = ("name", "resource", "state")
_CONTROLS = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})


class AvailabilityZones:
    """`GET /v2.0/availability_zones`. A zone is available while an agent in it may be given work."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        parameters = parameters_of(request)
        unknown = [name for name in parameters if name not in _CONTROLS and name not in _ATTRIBUTES]
        if unknown:
            raise InvalidInput(error_message=f"{ascii(unknown)[:200]} is invalid attribute for filtering")
        wanted = listing.parse_fields(parameters) or _ATTRIBUTES
        # whether an agent is alive is not in SQL, and there are no more zones than agents
        shown = [
            {name: zone[name] for name in _ATTRIBUTES if name in wanted}
            for zone in self._zones()
            if all(zone[name] in parameters[name] for name in _ATTRIBUTES if name in parameters)
        ]
        answer(response, {"availability_zones": shown})

    def _zones(self) -> Iterable[Mapping[str, str]]:
        with self._services.database.read() as connection:
            agents = zones.agents_in_zones(connection)
        usable: dict[tuple[str, str], bool] = {}
        for agent in agents:
            key = (agent["availability_zone"], _RESOURCES[agent["agent_type"]])
            alive = self._services.live_state.alive(agent["id"]) is not False
            usable[key] = usable.get(key, False) or (agent["admin_state_up"] and alive)
        return [
            {"name": name, "resource": resource, "state": "available" if available else "unavailable"}
            for (name, resource), available in sorted(usable.items())
        ]
