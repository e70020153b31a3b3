"""Tags of any resource that has them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import falcon

from haqn.api.endpoints import answer, expected_revision, read_object
from haqn.api.kinds import Invalid, ListOf, Text, is_uuid
from haqn.api.resource import Resource
from haqn.api.services import Services
from haqn.db import tags
from haqn.db.session import Connection
from haqn.exceptions import HTTPBadRequest, TagNotFound

_TAGS = ListOf(Text())


class Tags:
    """`/v2.0/<collection>/{object_id}/tags`."""

    def __init__(self, resource: Resource, services: Services) -> None:
        self._store = resource.store
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        self._check_id(object_id)
        with self._services.database.read() as connection:
            found = tags.of(connection, self._store, object_id)
        answer(response, {"tags": found})

    def on_put(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        self._check_id(object_id)
        try:
            words = _TAGS.parse(read_object(request).get("tags"))
        except Invalid as error:
            raise HTTPBadRequest(reason=f"Invalid input for tags. Reason: {error}") from None
        self._replace(request, object_id, words)
        answer(response, {"tags": sorted(words)})

    def on_delete(self, request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        self._check_id(object_id)
        self._replace(request, object_id, [])
        response.status = HTTPStatus.NO_CONTENT

    def _replace(self, request: falcon.Request, object_id: str, words: list[Any]) -> None:
        expected = expected_revision(request)

        def work(connection: Connection) -> None:
            self._store.check_revision(connection, object_id, expected)
            tags.replace(connection, self._store, object_id, words)

        self._services.write(work)

    def _check_id(self, object_id: str) -> None:
        if not is_uuid(object_id):
            raise self._store.missing(object_id)


class Tag:
    """`/v2.0/<collection>/{object_id}/tags/{tag}`."""

    def __init__(self, resource: Resource, services: Services) -> None:
        self._store = resource.store
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response, object_id: str, tag: str) -> None:
        word = self._checked(object_id, tag)
        with self._services.database.read() as connection:
            if word not in tags.of(connection, self._store, object_id):
                raise TagNotFound(tag=word)
        response.status = HTTPStatus.NO_CONTENT

    def on_put(self, _request: falcon.Request, response: falcon.Response, object_id: str, tag: str) -> None:
        word = self._checked(object_id, tag)
        self._services.write(lambda connection: tags.add(connection, self._store, object_id, word))
        response.status = HTTPStatus.CREATED

    def on_delete(self, _request: falcon.Request, response: falcon.Response, object_id: str, tag: str) -> None:
        word = self._checked(object_id, tag)
        self._services.write(lambda connection: tags.remove(connection, self._store, object_id, word))
        response.status = HTTPStatus.NO_CONTENT

    def _checked(self, object_id: str, tag: str) -> str:
        if not is_uuid(object_id):
            raise self._store.missing(object_id)
        try:
            return Text().parse(tag)
        except Invalid as error:
            raise HTTPBadRequest(reason=f"Invalid input for tag. Reason: {error}") from None
