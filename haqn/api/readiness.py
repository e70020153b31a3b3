"""Whether this process can serve, and if not, which dependency is missing."""

from __future__ import annotations

from http import HTTPStatus

import falcon

from haqn.api.endpoints import answer
from haqn.api.services import Services
from haqn.db import schema
from haqn.exceptions import DatabaseUnavailable, SchemaOutdated


class Readiness:
    """`GET /readyz`: 503 without the database; without etcd 200 and "degraded", because everything but the live
    state of agents is still served."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        missing = {}
        try:
            with self._services.database.read() as connection:
                schema.check_connection(connection)
        except (DatabaseUnavailable, SchemaOutdated) as error:
            missing["database"] = type(error).__name__
        if not self._services.live_state.known():
            missing["etcd"] = "nothing is known of the agents' heartbeats"
        status = HTTPStatus.SERVICE_UNAVAILABLE if "database" in missing else HTTPStatus.OK
        word = "not ready" if "database" in missing else "degraded" if missing else "ready"
        answer(response, {"status": word, "missing": missing}, status)
