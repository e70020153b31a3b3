"""Routers, and the actions on their interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from haqn.api.attributes import Attribute, Attributes, standard
from haqn.api.endpoints import answer, caller_of, context_of, read_object, show_all
from haqn.api.kinds import (
    Address,
    Boolean,
    Cidr,
    Invalid,
    Kind,
    ListOf,
    Nullable,
    Only,
    Record,
    Text,
    Timestamp,
    Uuid,
    is_uuid,
)
from haqn.api.resource import Resource
from haqn.api.services import Services
from haqn.db import access, interfaces, routers
from haqn.db.session import Connection
from haqn.db.store import Row
from haqn.exceptions import BadRequest, HTTPBadRequest

_GATEWAY = Record(
    {
        "network_id": Uuid(),
        "enable_snat": Boolean(),
        "external_fixed_ips": ListOf(
            Record({"subnet_id": Uuid(), "ip_address": Address()}, least=1), most=32, unique=False
        ),
    },
    frozenset({"network_id"}),
)


_ROUTES = ListOf(Record({"destination": Cidr(), "nexthop": Address()}, frozenset({"destination", "nexthop"})))


class _Gateway(Nullable):
    """`external_gateway_info`; an empty object clears it, as null does."""

    def parse(self, value: object) -> dict[str, Any] | None:
        parsed: dict[str, Any] | None = super().parse(None if value == {} else value)
        return parsed


ROUTER = Resource(
    collection="routers",
    store=routers.STORE,
    create=routers.create,
    update=routers.update,
    delete=routers.delete,
    attributes=Attributes(
        "router",
        (
            *standard(),
            Attribute(name="admin_state_up", kind=Boolean(), post=True, put=True, default=True),
            Attribute(name="status", kind=Text(16)),
            Attribute(name="ha", kind=Boolean(), post=True, put=True, admin_only=True),
            Attribute(name="distributed", kind=Only(False), post=True, put=True, admin_only=True),
            Attribute(name="external_gateway_info", kind=_Gateway(_GATEWAY), post=True, put=True),
            Attribute(name="routes", kind=_ROUTES, put=True),
            Attribute(name="availability_zone_hints", kind=ListOf(Text(), most=16), post=True, default=()),
            Attribute(name="availability_zones", kind=ListOf(Text())),
            Attribute(name="flavor_id", kind=Only(None), post=True),
            Attribute(name="service_type_id", kind=Only(None), post=True),
            Attribute(name="redundancy", kind=Text(16)),
            Attribute(name="redundancy_since", kind=Timestamp(), needs="redundancy"),
            Attribute(name="redundancy_reason", kind=Text(), needs="redundancy"),
        ),
    ),
)


class _Routes:
    """Changes some of a router's routes, whatever the others are, in one transaction."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_put(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        _check_router_id(object_id)
        body = read_object(request).get("router")
        given = body.get("routes") if isinstance(body, dict) and set(body) == {"routes"} else None
        try:
            routes = _ROUTES.parse(given)
        except Invalid as error:
            raise HTTPBadRequest(reason=f"Invalid input for routes. Reason: {error}") from None
        services = self._services

        def work(connection: Connection) -> Row:
            present = routers.STORE.bare(connection, object_id, lock=True)["routes"]
            changes = {"routes": self.changed(present, routes)}
            return routers.update(connection, services.settings, object_id, changes)

        row = services.write(work)
        answer(response, {"router": show_all(ROUTER, services, [row], context_of(request))[0]})

    def changed(self, present: list[Row], given: list[Row]) -> list[Row]:
        """The router's routes afterwards."""
        raise NotImplementedError


class AddRoutes(_Routes):
    """`PUT /v2.0/routers/{object_id}/add_extraroutes`; a route that is there already stays."""

    def changed(self, present: list[Row], given: list[Row]) -> list[Row]:
        return [*present, *(route for route in given if route not in present)]


class RemoveRoutes(_Routes):
    """`PUT /v2.0/routers/{object_id}/remove_extraroutes`; a route that is not there is not missed."""

    def changed(self, present: list[Row], given: list[Row]) -> list[Row]:
        return [route for route in present if route not in given]


class AddInterface:
    """`PUT /v2.0/routers/{object_id}/add_router_interface`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_put(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        _check_router_id(object_id)
        subnet_id, port_id = _targets(read_object(request))
        if subnet_id is not None and port_id is not None:
            raise BadRequest(resource="router", msg="Cannot specify both subnet-id and port-id")
        settings, caller = self._services.settings, caller_of(context_of(request), "add_router_interface")

        def work(connection: Connection) -> Row:
            if caller is not None:
                access.check_interface(connection, caller.project_id, subnet_id, port_id)
            if port_id is not None:
                return interfaces.add_port(connection, settings, object_id, port_id)
            return interfaces.add_subnet(connection, settings, object_id, str(subnet_id))

        answer(response, self._services.write(work))


class RemoveInterface:
    """`PUT /v2.0/routers/{object_id}/remove_router_interface`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_put(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        _check_router_id(object_id)
        subnet_id, port_id = _targets(read_object(request))
        settings = self._services.settings
        removed = self._services.write(lambda conn: interfaces.remove(conn, settings, object_id, subnet_id, port_id))
        answer(response, removed)


def _check_router_id(object_id: str) -> None:
    if not is_uuid(object_id):
        raise routers.STORE.missing(object_id)


def _targets(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """subnet_id and port_id of an interface action; at least one is given. Raises BadRequest, HTTPBadRequest."""
    subnet_id, port_id = (_uuid_of(body, name) for name in ("subnet_id", "port_id"))
    if subnet_id is None and port_id is None:
        raise BadRequest(resource="router", msg="Either subnet_id or port_id must be specified")
    return subnet_id, port_id


def _uuid_of(body: Mapping[str, Any], name: str) -> str | None:
    kind: Kind = Nullable(Uuid())
    try:
        found: str | None = kind.parse(body.get(name))
    except Invalid as error:
        raise HTTPBadRequest(reason=f"Invalid input for {name}. Reason: {error}") from None
    return found
