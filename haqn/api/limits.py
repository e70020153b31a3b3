"""How many requests an address and a project may send: token buckets, over the limit 429 with Retry-After.

An address is limited before anybody looks at credentials, a project once it is known. Health and metrics are exempt,
and so is looking at agents: who watches over the system must not be locked out by who floods it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_config import cfg

from haqn.api import errors
from haqn.api.buckets import Rate, SharedBuckets
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
    return _limited(app, limit, "REMOTE_ADDR")


def by_project(app: WSGIApplication, limit: Limit) -> WSGIApplication:
    """`app` with a limit for each project, which must be known already (`haqn.api.identity`).

    Callers without a project have the limit of their address alone.
    """
    return _limited(app, limit, "HTTP_X_PROJECT_ID")


def _limited(app: WSGIApplication, limit: Limit, key: str) -> WSGIApplication:
    """By what the environment has under `key`, if anything. Refusing must cost next to nothing, or a flood is one."""

    def limited(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ.get(key, "")
        if name and not is_exempt(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")):
            seconds = limit.excess(name)
            if seconds:
                return _too_many(start_response, seconds)
        return app(environ, start_response)

    return app if limit.rate is None else limited


def _too_many(start_response: StartResponse, seconds: int) -> Iterable[bytes]:
    message = f"Too many requests: try again in {seconds} s"
    return errors.refuse(start_response, HTTPStatus.TOO_MANY_REQUESTS, message, [("Retry-After", str(seconds))])
