"""Quotas: how many objects a project may have, and has. A project sees its own; admins set them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import falcon

from haqn.api.endpoints import answer, check_project, read_object
from haqn.api.kinds import Boolean, Integer, Invalid, Kind
from haqn.api.services import Services
from haqn.db import quotas
from haqn.db.session import Connection
from haqn.exceptions import HTTPBadRequest

_LIMIT = Integer(quotas.UNLIMITED, 2**31 - 1)
#: What a PUT may say besides limits; `force` is the opposite of `check_limit`, and what is done anyway.
_FLAGS: Mapping[str, Kind] = {"check_limit": Boolean(), "force": Boolean()}


class _Quotas:
    def __init__(self, services: Services) -> None:
        self._services = services


class AllQuotas(_Quotas):
    """`/v2.0/quotas`: the projects with limits of their own."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        with self._services.database.read() as connection:
            found = quotas.projects(connection, self._services.settings)
        listed = [{"project_id": project, "tenant_id": project, **limits} for project, limits in found.items()]
        answer(response, {"quotas": listed})


class Quota(_Quotas):
    """`/v2.0/quotas/{project_id}`."""

    def on_get(self, _request: falcon.Request, response: falcon.Response, project_id: str) -> None:
        check_project(project_id)
        with self._services.database.read() as connection:
            limits = quotas.limits_of(connection, self._services.settings, project_id)
        answer(response, {"quota": limits})

    def on_put(self, request: falcon.Request, response: falcon.Response, project_id: str) -> None:
        check_project(project_id)
        given = _parse(read_object(request))
        check_usage = bool(given.pop("check_limit", False))
        given.pop("force", None)

        def work(connection: Connection) -> dict[str, int]:
            quotas.set_limits(connection, project_id, given, check_usage=check_usage)
            return quotas.limits_of(connection, self._services.settings, project_id)

        answer(response, {"quota": self._services.database.write(work)})

    def on_delete(self, _request: falcon.Request, response: falcon.Response, project_id: str) -> None:
        check_project(project_id)
        self._services.database.write(lambda connection: quotas.reset(connection, project_id))
        response.status = HTTPStatus.NO_CONTENT


class DefaultQuota(_Quotas):
    """`/v2.0/quotas/{project_id}/default`."""

    def on_get(self, _request: falcon.Request, response: falcon.Response, project_id: str) -> None:
        check_project(project_id)
        answer(response, {"quota": quotas.defaults(self._services.settings)})


class QuotaDetails(_Quotas):
    """`/v2.0/quotas/{project_id}/details.json`: limits and usage. Nothing is ever reserved: usage is counted."""

    def on_get(self, _request: falcon.Request, response: falcon.Response, project_id: str) -> None:
        check_project(project_id)
        with self._services.database.read() as connection:
            limits = quotas.limits_of(connection, self._services.settings, project_id)
            used = quotas.usage(connection, project_id)
        details = {name: {"limit": limits[name], "used": used[name], "reserved": 0} for name in limits}
        answer(response, {"quota": details})


def _parse(body: Mapping[str, Any]) -> dict[str, int]:
    wanted = body.get("quota")
    if set(body) != {"quota"} or not isinstance(wanted, dict):
        raise HTTPBadRequest(reason="Unable to find 'quota' in request body")
    parsed = {}
    for name, value in wanted.items():
        kind = _LIMIT if name in quotas.TRACKED else _FLAGS.get(name)
        if kind is None:
            raise HTTPBadRequest(reason=f"Unrecognized attribute(s) {ascii(name)[:120]}")
        try:
            parsed[name] = kind.parse(value)
        except Invalid as error:
            raise HTTPBadRequest(reason=f"Invalid input for {name}. Reason: {error}") from None
    return parsed
