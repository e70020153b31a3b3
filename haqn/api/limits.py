"""How many requests an address and a project may send: token buckets, over the limit 429 with Retry-After.

An address is limited before anybody looks at credentials, a project once it is known. Health and metrics are exempt,
and so is looking at agents: who watches over the system must not be locked out by who floods it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import falcon
from oslo_config import cfg

from haqn.api.buckets import Rate, SharedBuckets
from haqn.api.endpoints import context_of
from haqn.api.identity import FOR_EVERYBODY

_AGENTS = "/v2.0/agents"


@dataclass(frozen=True, slots=True)
class Limit:
    """One kind of limit; a rate of None means that there is none."""

    kind: str
    rate: Rate | None
    buckets: SharedBuckets

    def excess(self, name: str) -> int:
        """Take a token for `name`; 0, or the whole seconds after which to try again."""
        if self.rate is None:
            return 0
        return math.ceil(self.buckets.take(f"{self.kind}:{name}", self.rate))


def from_conf(conf: cfg.ConfigOpts, kind: str, buckets: SharedBuckets) -> Limit:
    """The limit that [api] `<kind>_rate` and `<kind>_burst` say; `kind`: address or project."""
    per_second, burst = conf.api[f"{kind}_rate"], conf.api[f"{kind}_burst"]
    return Limit(kind, Rate(per_second, burst) if per_second else None, buckets)


def is_exempt(method: str, path: str) -> bool:
    """Whether nobody counts such requests."""
    return path in FOR_EVERYBODY or (method == "GET" and (path == _AGENTS or path.startswith(f"{_AGENTS}/")))


def by_address(app: WSGIApplication, limit: Limit) -> WSGIApplication:
    """`app` with a limit for each client address."""

    def limited(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not is_exempt(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")):
            seconds = limit.excess(environ.get("REMOTE_ADDR", ""))
            if seconds:
                return _too_many(start_response, seconds)
        return app(environ, start_response)

    return app if limit.rate is None else limited


class ByProject:
    """Middleware: a limit for each project; callers without a project have that of their address alone."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        project_id = context_of(request).project_id
        if project_id and not is_exempt(request.method, request.path):
            seconds = self._limit.excess(project_id)
            if seconds:
                raise falcon.HTTPTooManyRequests(retry_after=seconds, description=_message(seconds))


def _message(seconds: int) -> str:
    return f"Too many requests: try again in {seconds} s"


def _too_many(start_response: StartResponse, seconds: int) -> Iterable[bytes]:
    error = {"type": "HTTPTooManyRequests", "message": _message(seconds), "detail": ""}
    start_response("429 Too Many Requests", [("Content-Type", "application/json"), ("Retry-After", str(seconds))])
    return [json.dumps({"NeutronError": error}).encode()]
