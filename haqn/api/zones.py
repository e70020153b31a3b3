"""`availability_zones`: where agents are, for routers and for networks."""

from __future__ import annotations

import dataclasses

import falcon

from haqn.api import listing
from haqn.api.attributes import Attribute, Attributes
from haqn.api.endpoints import answer, context_of, parameters_of, show_all
from haqn.api.kinds import Text
from haqn.api.resource import Resource
from haqn.api.services import Services
from haqn.db import zones

_COLLECTION = "availability_zones"
_ATTRIBUTES = Attributes(
    "availability_zone",
    tuple(Attribute(name=name, kind=Text()) for name in ("name", "resource", "state")),
)


class AvailabilityZones:
    """`GET /v2.0/availability_zones`: names are the operators' own, and for everybody."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        store = zones.store(self._services.live_state.living())
        resource = Resource(collection=_COLLECTION, store=store, attributes=_ATTRIBUTES)
        parameters, context = parameters_of(request), context_of(request)
        asked = listing.parse(resource, parameters, context)
        # they are nobody's: who may see one sees all
        query = dataclasses.replace(asked.query, viewer=None)
        with self._services.database.read() as connection:
            rows = store.list(connection, query)
        shown = show_all(resource, self._services, rows, context, asked.fields)
        links = listing.links(_COLLECTION, request.prefix + request.path, parameters, query, rows)
        answer(response, {_COLLECTION: shown, **links})
