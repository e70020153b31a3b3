"""Quantum v1.0 and v1.1: networks, ports and attachments of a tenant, on the same data as v2.0.

A port's `state` is its `admin_state_up`, and its attachment is its `device_id`. Knows the shapes and the faults of
both versions; the rules are `haqn.db`'s own. v1.0 is the specification of the Diablo release, v1.1 that of Essex.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import falcon

from haqn.api.context import Context, Scope
from haqn.api.endpoints import answer, check_project, context_of, read_object
from haqn.api.kinds import Invalid, Text, is_uuid
from haqn.api.networks import NETWORK
from haqn.api.ports import PORT
from haqn.api.services import Services
from haqn.db import networks, ports, quotas
from haqn.db.session import Connection
from haqn.db.store import Query, Row
from haqn.exceptions import (
    ApiError,
    Conflict,
    HaqnError,
    HTTPBadRequest,
    NetworkInUse,
    NetworkNotFound,
    NotFound,
    PolicyNotAuthorized,
    PortInUse,
    PortNotFound,
    ServicePortInUse,
)

VERSIONS = ("v1.0", "v1.1")

_STATES = {"ACTIVE": True, "DOWN": False}
_STATE_NAMES = {up: name for name, up in _STATES.items()}
_OP_STATUS = {"ACTIVE": "UP", "BUILD": "PROVISIONING"}


class StateInvalid(HTTPBadRequest):
    message = "{state} is not a state that a port can be in: ACTIVE or DOWN"


class AlreadyAttached(Conflict):
    message = "The attachment {attachment} is plugged into port {port_id} of the network already"


#: error -> name and status in v1.0, type and status in v1.1. The first class that an error is of decides.
_FAULTS: tuple[tuple[type[ApiError], tuple[str, int], tuple[str, int]], ...] = (
    (NetworkNotFound, ("networkNotFound", 420), ("NetworkNotFound", 404)),
    (NetworkInUse, ("networkInUse", 421), ("NetworkInUse", 409)),
    (PortNotFound, ("portNotFound", 430), ("PortNotFound", 404)),
    (StateInvalid, ("requestedStateInvalid", 431), ("RequestedStateInvalid", 400)),
    (AlreadyAttached, ("alreadyAttached", 440), ("AlreadyAttached", 409)),
    (PortInUse, ("portInUse", 432), ("PortInUse", 409)),
    (ServicePortInUse, ("portInUse", 432), ("PortInUse", 409)),
    (PolicyNotAuthorized, ("unauthorized", 401), ("Unauthorized", 401)),
    (NotFound, ("itemNotFound", 404), ("ItemNotFound", 404)),
    (Conflict, ("conflict", 409), ("Conflict", 409)),
    (ApiError, ("badRequest", 400), ("BadRequest", 400)),
)


class Fault(HaqnError):
    """An answer that is an error, in the form of its version."""

    def __init__(self, version: str, error: ApiError) -> None:
        super().__init__(str(error))
        old, new = next(forms for kind, *forms in _FAULTS if isinstance(error, kind))
        name, self.status = old if version == "v1.0" else new
        if version == "v1.0":
            self.document: dict[str, Any] = {name: {"code": self.status, "message": name, "detail": str(error)}}
        else:
            self.document = {"QuantumError": {"type": name, "message": str(error), "detail": ""}}


def on_fault(_request: falcon.Request, response: falcon.Response, error: Exception, _params: object) -> None:
    """Falcon's error handler for Fault."""
    if not isinstance(error, Fault):
        raise error
    answer(response, error.document)
    response.status = error.status


def routes(services: Services) -> dict[str, object]:
    """URI template -> who answers."""
    found: dict[str, object] = {}
    for version in VERSIONS:
        root = f"/{version}/tenants/{{tenant_id}}/networks"
        network, port = f"{root}/{{network_id}}", f"{root}/{{network_id}}/ports/{{port_id}}"
        for suffix, detailed in (("", False), ("/detail", True)):
            found |= {
                f"{root}{suffix}": Networks(version, services, detailed=detailed),
                f"{network}{suffix}": Network(version, services, detailed=detailed),
                f"{network}/ports{suffix}": Ports(version, services, detailed=detailed),
                f"{port}{suffix}": Port(version, services, detailed=detailed),
            }
        found[f"{port}/attachment"] = Attachment(version, services)
    return found


class _Endpoint:
    """What all have in common: the version's faults, and a tenant's networks and ports."""

    #: what is written and read, and the rules that say who may: Neutron's
    kind = "port"
    verbs: Mapping[str, str] = {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}

    def __init__(self, version: str, services: Services, *, detailed: bool = False) -> None:
        self._version = version
        self._services = services
        self._detailed = detailed

    @contextmanager
    def _for(self, request: falcon.Request, tenant_id: str) -> Iterator[Context]:
        """Who asks, who must be of the tenant; errors become faults."""
        context = context_of(request)
        try:
            check_project(tenant_id)
            rule = f"{self.verbs[request.method]}_{self.kind}"
            scope = context.scope(rule)
            if scope is Scope.NONE or (scope is Scope.OWN and context.project_id != tenant_id):
                raise PolicyNotAuthorized(action="the use of another tenant's networks")
            yield context
        except ApiError as error:
            raise Fault(self._version, error) from error

    def _show_network(self, row: Row) -> dict[str, Any]:
        shown = {"id": row["id"], "name": row["name"]}
        return shown | self._op_status(row)

    def _show_port(self, row: Row, *, detailed: bool) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": row["id"], "state": _STATE_NAMES[row["admin_state_up"]]}
        if detailed and row["device_id"]:
            shown["attachment"] = {"id": row["device_id"]}
        return shown | self._op_status(row)

    def _op_status(self, row: Row) -> dict[str, str]:
        return {} if self._version == "v1.0" else {"op-status": _OP_STATUS.get(row["status"], "DOWN")}


class Networks(_Endpoint):
    """`/tenants/{tenant_id}/networks[/detail]`."""

    kind = "network"

    def on_get(self, request: falcon.Request, response: falcon.Response, tenant_id: str) -> None:
        with self._for(request, tenant_id), self._services.database.read() as connection:
            rows = networks.STORE.list(connection, _all({"project_id": [tenant_id]}))
        shown = [self._show_network(row) if self._detailed else {"id": row["id"]} for row in rows]
        answer(response, {"networks": shown})

    def on_post(self, request: falcon.Request, response: falcon.Response, tenant_id: str) -> None:
        if self._detailed:
            raise falcon.HTTPMethodNotAllowed(["GET"])
        with self._for(request, tenant_id):
            body = {"name": _name_in(request), "project_id": tenant_id}
            values = NETWORK.attributes.parse_create(body, Context())
            settings = self._services.settings

            def work(connection: Connection) -> Row:
                row = networks.create(connection, settings, dict(values))
                quotas.enforce(connection, settings, [tenant_id], ["network"])
                return row

            row = self._services.write(work)
        answer(response, {"network": {"id": row["id"]}})


class Network(_Endpoint):
    """`/tenants/{tenant_id}/networks/{network_id}[/detail]`."""

    kind = "network"

    def on_get(self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str) -> None:
        with self._for(request, tenant_id), self._services.database.read() as connection:
            shown = self._show_network(_network(connection, tenant_id, network_id))
            if self._detailed:
                shown["ports"] = [self._show_port(row, detailed=True) for row in _ports(connection, network_id)]
        answer(response, {"network": shown})

    def on_put(self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str) -> None:
        self._refuse_detail()
        with self._for(request, tenant_id):
            name, settings = _name_in(request), self._services.settings

            def work(connection: Connection) -> None:
                _network(connection, tenant_id, network_id)
                networks.update(connection, settings, network_id, {"name": name})

            self._services.write(work)
        response.status = HTTPStatus.NO_CONTENT

    def on_delete(self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str) -> None:
        """A network goes with its ports, unless something is plugged into one of them."""
        self._refuse_detail()
        with self._for(request, tenant_id):
            settings = self._services.settings

            def work(connection: Connection) -> None:
                _network(connection, tenant_id, network_id)
                rows = _ports(connection, network_id)
                attached = [row["id"] for row in rows if row["device_id"] or row["device_owner"]]
                if attached:
                    raise NetworkInUse(network_id=network_id, ports=", ".join(attached[:10]))
                for row in rows:
                    ports.delete(connection, settings, row["id"])
                networks.delete(connection, settings, network_id)

            self._services.write(work)
        response.status = HTTPStatus.NO_CONTENT

    def _refuse_detail(self) -> None:
        if self._detailed:
            raise falcon.HTTPMethodNotAllowed(["GET"])


class Ports(_Endpoint):
    """`.../ports[/detail]`."""

    def on_get(self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str) -> None:
        with self._for(request, tenant_id), self._services.database.read() as connection:
            _network(connection, tenant_id, network_id)
            rows = _ports(connection, network_id)
        shown = [self._show_port(row, detailed=True) if self._detailed else {"id": row["id"]} for row in rows]
        answer(response, {"ports": shown})

    def on_post(self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str) -> None:
        if self._detailed:
            raise falcon.HTTPMethodNotAllowed(["GET"])
        with self._for(request, tenant_id):
            up = _state_in(request) if request.content_length else True
            settings = self._services.settings

            def work(connection: Connection) -> Row:
                _network(connection, tenant_id, network_id)
                body = {"network_id": network_id, "project_id": tenant_id, "admin_state_up": up}
                row = ports.create(connection, settings, PORT.attributes.parse_create(body, Context()))
                quotas.enforce(connection, settings, [tenant_id], ["port"])
                return row

            row = self._services.write(work)
        answer(response, {"port": {"id": row["id"]}})


class Port(_Endpoint):
    """`.../ports/{port_id}[/detail]`."""

    def on_get(
        self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str, port_id: str
    ) -> None:
        with self._for(request, tenant_id), self._services.database.read() as connection:
            row = _port(connection, tenant_id, network_id, port_id)
        answer(response, {"port": self._show_port(row, detailed=self._detailed)})

    def on_put(
        self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str, port_id: str
    ) -> None:
        with self._for(request, tenant_id):
            up, settings = _state_in(request), self._services.settings

            def work(connection: Connection) -> None:
                _port(connection, tenant_id, network_id, port_id)
                ports.update(connection, settings, port_id, {"admin_state_up": up})

            self._services.write(work)
        response.status = HTTPStatus.NO_CONTENT

    def on_delete(
        self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str, port_id: str
    ) -> None:
        with self._for(request, tenant_id):
            settings = self._services.settings

            def work(connection: Connection) -> None:
                _check_free(_port(connection, tenant_id, network_id, port_id))
                ports.delete(connection, settings, port_id)

            self._services.write(work)
        response.status = HTTPStatus.NO_CONTENT


class Attachment(_Endpoint):
    """`.../ports/{port_id}/attachment`."""

    verbs: Mapping[str, str] = {"GET": "get", "PUT": "update", "DELETE": "update"}

    def on_get(
        self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str, port_id: str
    ) -> None:
        with self._for(request, tenant_id), self._services.database.read() as connection:
            attached = _port(connection, tenant_id, network_id, port_id)["device_id"]
        answer(response, {"attachment": {"id": attached} if attached else {}})

    def on_put(
        self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str, port_id: str
    ) -> None:
        with self._for(request, tenant_id):
            wanted, settings = _text_in(request, "attachment", "id"), self._services.settings
            if not wanted:
                raise HTTPBadRequest(reason="attachment: the id must not be empty")

            def work(connection: Connection) -> None:
                row = _port(connection, tenant_id, network_id, port_id)
                if row["device_id"] == wanted:
                    return
                _check_free(row)
                others = [other for other in _ports(connection, network_id) if other["device_id"] == wanted]
                if others:
                    raise AlreadyAttached(attachment=wanted, port_id=others[0]["id"])
                ports.update(connection, settings, port_id, {"device_id": wanted})

            self._services.write(work)
        response.status = HTTPStatus.NO_CONTENT

    def on_delete(
        self, request: falcon.Request, response: falcon.Response, tenant_id: str, network_id: str, port_id: str
    ) -> None:
        with self._for(request, tenant_id):
            settings = self._services.settings

            def work(connection: Connection) -> None:
                _port(connection, tenant_id, network_id, port_id)
                ports.update(connection, settings, port_id, {"device_id": ""})

            self._services.write(work)
        response.status = HTTPStatus.NO_CONTENT


def _all(filters: Mapping[str, Sequence[str]]) -> Query:
    return Query(filters=filters, wanted=frozenset())


def _network(connection: Connection, tenant_id: str, network_id: str) -> Row:
    """The tenant's network. Raises NetworkNotFound."""
    row = networks.STORE.bare(connection, network_id) if is_uuid(network_id) else None
    if row is None or row["project_id"] != tenant_id:
        raise networks.STORE.missing(ascii(network_id[:255])[1:-1])
    return row


def _ports(connection: Connection, network_id: str) -> list[Row]:
    return ports.STORE.list(connection, _all({"network_id": [network_id]}))


def _port(connection: Connection, tenant_id: str, network_id: str, port_id: str) -> Row:
    """The port on the tenant's network. Raises NetworkNotFound, PortNotFound."""
    _network(connection, tenant_id, network_id)
    row = ports.STORE.bare(connection, port_id) if is_uuid(port_id) else None
    if row is None or row["network_id"] != network_id:
        raise ports.STORE.missing(ascii(port_id[:255])[1:-1])
    return row


def _check_free(port: Row) -> None:
    if port["device_id"]:
        raise PortInUse(port_id=port["id"], network_id=port["network_id"], device_id=port["device_id"])


def _text_in(request: falcon.Request, outer: str, inner: str) -> str:
    """`{outer: {inner: text}}` of the body. Raises HTTPBadRequest."""
    member = read_object(request).get(outer)
    try:
        return Text().parse(member.get(inner) if isinstance(member, dict) else None)
    except Invalid as error:
        raise HTTPBadRequest(reason=f"{outer}: {inner}: {error}") from None


def _name_in(request: falcon.Request) -> str:
    return _text_in(request, "network", "name")


def _state_in(request: falcon.Request) -> bool:
    state = _text_in(request, "port", "state")
    if state not in _STATES:
        raise StateInvalid(state=ascii(state)[:120])
    return _STATES[state]
