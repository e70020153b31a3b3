"""`GET /metrics` of the API, and what it tells: how long requests take, over all worker processes.

Workers share numbers by files (prometheus_client's multiprocess mode), whose directory must be known before the library
is imported; hence it is imported late here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import falcon

from haqn.api.requestid import ExcInfo

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
#: of the WSGI environment: what the API was asked for
_RESOURCE = "haqn.resource"
#: what is in its place when it was not asked
_REFUSED = "refused"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def share_between_processes() -> None:
    """To be called once, before any worker is made and before `Measured` is."""
    os.environ[_DIRECTORY] = tempfile.mkdtemp(prefix="haqn-api-metrics-")


def forget_process(_server: object, worker: Any) -> None:  # noqa: ANN401 - gunicorn has no types
    """A worker has ended: what it had in flight is not. gunicorn's child_exit."""
    if _DIRECTORY in os.environ:
        from prometheus_client import multiprocess  # noqa: PLC0415 - see above

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # the library has no type here


def end_sharing(_server: object) -> None:
    """The last process ends. gunicorn's on_exit."""
    if _DIRECTORY in os.environ:
        shutil.rmtree(os.environ[_DIRECTORY], ignore_errors=True)


class Measured:
    """Counts and times every answer: of the API, and of what is before it. Also the resource that tells of them."""

    def __init__(self) -> None:
        import prometheus_client  # noqa: PLC0415 - see above

        self.registry = prometheus_client.CollectorRegistry()
        self._seconds = prometheus_client.Histogram(
            "haqn_api_request_seconds",
            "Time to the end of an answer, by resource; `refused`: by limits or for want of an identity",
            ["method", "resource", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._in_flight = prometheus_client.Gauge(
            "haqn_api_requests_in_flight",
            "Requests that are being answered",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def around(self, app: WSGIApplication) -> WSGIApplication:
        """`app`, measured."""

        def measured(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            began, classes = time.monotonic(), []

            def start(
                status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
            ) -> Callable[[bytes], object]:
                classes.append(f"{status[0]}xx")
                return start_response(status, headers, exc_info)

            self._in_flight.inc()
            try:
                return app(environ, start)
            finally:
                self._in_flight.dec()
                method = environ["REQUEST_METHOD"]
                self._seconds.labels(
                    method if method in falcon.HTTP_METHODS else "other",
                    environ.get(_RESOURCE, _REFUSED),
                    classes[-1] if classes else "5xx",
                ).observe(time.monotonic() - began)

        return measured

    def count_refusal(self, method: str) -> None:
        """One that was refused before it was a request."""
        self._seconds.labels(method, _REFUSED, "4xx").observe(0)

    def process_response(
        self, request: falcon.Request, _response: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """Middleware of the API: say what was asked for. Templates are few and known; paths are neither."""
        request.env[_RESOURCE] = request.uri_template or "unknown"

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        import prometheus_client  # noqa: PLC0415 - see above
        from prometheus_client import multiprocess  # noqa: PLC0415 - see above

        registry = self.registry
        if _DIRECTORY in os.environ:
            registry = prometheus_client.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # the library has no type here
        response.content_type = prometheus_client.CONTENT_TYPE_LATEST
        response.data = prometheus_client.generate_latest(registry)
