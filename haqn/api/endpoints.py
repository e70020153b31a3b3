"""The verbs that all resources have, over any `Resource`: list, create (one or many), show, update, delete."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import falcon
import msgspec

from haqn.api import listing
from haqn.api.context import Context
from haqn.api.kinds import Integer, Invalid, Text, is_uuid
from haqn.api.resource import Resource
from haqn.api.services import Services
from haqn.db import access, quotas
from haqn.db.session import Connection
from haqn.db.store import Query, Row
from haqn.exceptions import HTTPBadRequest

#: Most objects in one bulk POST.
_MOST_IN_BULK = 1000
#: Levels of objects and lists in a body; no resource has more than a few.
_DEEPEST = 32


def answer(response: falcon.Response, document: object, status: HTTPStatus = HTTPStatus.OK) -> None:
    """Put JSON into `response`."""
    response.status = status
    response.content_type = falcon.MEDIA_JSON
    response.data = msgspec.json.encode(document)


def read_json(request: falcon.Request) -> object:
    """The body of the request. Raises HTTPBadRequest."""
    try:
        body: object = msgspec.json.decode(request.bounded_stream.read())
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise HTTPBadRequest(reason=f"The request body is not JSON: {error}") from None
    if _is_deeper(body, _DEEPEST):
        raise HTTPBadRequest(reason=f"The request body is nested deeper than {_DEEPEST} levels")
    return body


def _is_deeper(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        members = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list))
        level = [member for each in members for member in each if isinstance(member, dict | list)]
        if not level:
            return False
    return True


def read_object(request: falcon.Request) -> Mapping[str, Any]:
    """The body of the request, which must be a JSON object. Raises HTTPBadRequest."""
    body = read_json(request)
    if not isinstance(body, dict):
        raise HTTPBadRequest(reason="The request body must be a JSON object")
    return body


def parameters_of(request: falcon.Request) -> listing.Parameters:
    """The query string: name -> all its values."""
    return {name: value if isinstance(value, list) else [value] for name, value in request.params.items()}


def context_of(request: falcon.Request) -> Context:
    """Who asks; the middleware has found it out."""
    context: Context = request.context.haqn
    return context


def caller_of(context: Context, rule: str) -> access.Caller | None:
    """Who must own what a write under `rule` is about and refers to; None: nobody need."""
    project_id = context.viewer(rule)
    return None if project_id is None else access.Caller(project_id, context.may)


def expected_revision(request: falcon.Request) -> int | None:
    """The revision that the object must be at (`If-Match: revision_number=N`); None: any. Raises HTTPBadRequest."""
    conditions = [part.strip() for part in (request.get_header("If-Match") or "").split(",")]
    numbers = [part.partition("=")[2] for part in conditions if part.startswith("revision_number=")]
    if not numbers:
        return None
    try:
        (number,) = (Integer().parse(text) for text in numbers)
    except (Invalid, ValueError):
        raise HTTPBadRequest(reason="If-Match must have one revision_number, which is a number") from None
    return number


def show_all(
    resource: Resource,
    services: Services,
    rows: Sequence[Row],
    context: Context,
    fields: frozenset[str] | None = None,
) -> list[dict[str, Any]]:
    """The rows as the API shows them."""
    resource.decorate(services, rows)
    return resource.attributes.show_all(rows, context, fields)


class Collection:
    """`/v2.0/<collection>`."""

    def __init__(self, resource: Resource, services: Services) -> None:
        self._resource = resource
        self._services = services

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        parameters = parameters_of(request)
        asked = listing.parse(self._resource, parameters, context_of(request))
        query = self._translated(asked.query)
        with self._services.database.read() as connection:
            rows = self._resource.store.list(connection, query)
        shown = show_all(self._resource, self._services, rows, context_of(request), asked.fields)
        collection = self._resource.collection
        pages = listing.links(collection, request.prefix + request.path, parameters, query, rows)
        answer(response, {collection: shown, **pages})

    def _translated(self, query: Query) -> Query:
        filters = self._resource.translate(self._services, dict(query.filters))
        return dataclasses.replace(query, filters=filters)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        resource, context = self._resource, context_of(request)
        if resource.create is None:
            raise falcon.HTTPMethodNotAllowed(["GET"])
        bodies, is_bulk = self._bodies(read_object(request))
        wanted = [
            {"project_id": context.project_id, **resource.attributes.parse_create(body, context)} for body in bodies
        ]
        caller = caller_of(context, f"create_{resource.name}")
        rows = self._services.write(lambda connection: self._create(connection, wanted, caller))
        shown = show_all(resource, self._services, rows, context)
        document = {resource.collection: shown} if is_bulk else {resource.name: shown[0]}
        answer(response, document, HTTPStatus.CREATED)

    def _bodies(self, body: Mapping[str, Any]) -> tuple[Sequence[object], bool]:
        name, collection = self._resource.name, self._resource.collection
        if set(body) == {name}:
            return [body[name]], False
        if set(body) != {collection}:
            raise HTTPBadRequest(reason=f"Unable to find '{name}' in request body")
        bodies = body[collection]
        if not isinstance(bodies, list) or not 0 < len(bodies) <= _MOST_IN_BULK:
            raise HTTPBadRequest(reason=f"'{collection}' must be a list of 1 to {_MOST_IN_BULK} objects")
        return bodies, True

    def _create(self, connection: Connection, wanted: Sequence[Row], caller: access.Caller | None) -> list[Row]:
        create, settings = self._resource.create, self._services.settings
        if create is None:
            raise falcon.HTTPMethodNotAllowed(["GET"])
        rows = []
        for values in wanted:
            if caller is not None:
                access.check_create(connection, self._resource.name, caller, values)
            rows.append(create(connection, settings, dict(values)))
        quotas.enforce(connection, settings, {values["project_id"] for values in wanted}, [self._resource.name])
        return rows


class Item:
    """`/v2.0/<collection>/{object_id}`."""

    def __init__(self, resource: Resource, services: Services) -> None:
        self._resource = resource
        self._services = services

    def on_get(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        self._check_id(object_id)
        fields = listing.parse_fields(parameters_of(request))
        with self._services.database.read() as connection:
            row = self._resource.store.get(connection, object_id, listing.wanted(self._resource, fields))
        self._answer(request, response, row, fields)

    def on_put(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        self._check_id(object_id)
        resource, settings = self._resource, self._services.settings
        if (update := resource.update) is None:
            raise falcon.HTTPMethodNotAllowed(["GET"])
        body = read_object(request)
        if set(body) != {resource.name}:
            raise HTTPBadRequest(reason=f"Unable to find '{resource.name}' in request body")
        changes = resource.attributes.parse_update(body[resource.name], context_of(request))
        caller = caller_of(context_of(request), f"update_{resource.name}")
        expected = expected_revision(request)

        def work(connection: Connection) -> Row:
            resource.store.check_revision(connection, object_id, expected)
            if caller is not None:
                access.check_update(connection, resource.name, caller, object_id, changes)
            return update(connection, settings, object_id, dict(changes))

        self._answer(request, response, self._services.write(work), None)

    def on_delete(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        self._check_id(object_id)
        settings = self._services.settings
        if (delete := self._resource.delete) is None:
            raise falcon.HTTPMethodNotAllowed(["GET"])
        self.before_delete(object_id)
        expected = expected_revision(request)

        def work(connection: Connection) -> None:
            self._resource.store.check_revision(connection, object_id, expected)
            delete(connection, settings, object_id)

        self._services.write(work)
        response.status = HTTPStatus.NO_CONTENT

    def before_delete(self, object_id: str) -> None:
        """What is to be checked outside SQL; raises to refuse."""

    def _check_id(self, object_id: str) -> None:
        # clients try names where ids belong, and then list by name: no need to ask the database
        if not is_uuid(object_id):
            raise self._resource.store.missing(object_id)

    def _answer(
        self, request: falcon.Request, response: falcon.Response, row: Row, fields: frozenset[str] | None
    ) -> None:
        shown = show_all(self._resource, self._services, [row], context_of(request), fields)
        answer(response, {self._resource.name: shown[0]})


def check_project(project_id: str) -> None:
    """Raises HTTPBadRequest unless this part of a path can be a project's id."""
    try:
        Text().parse(project_id)
    except Invalid as error:
        raise HTTPBadRequest(reason=f"Invalid input for project_id. Reason: {error}") from None
