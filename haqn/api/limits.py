"""How many requests an address and a project may send: token buckets, over the limit 429 with Retry-After.

An address is limited before anybody looks at credentials, a project once it is known. Health and metrics are exempt,
and so is looking at agents: who watches over the system must not be locked out by who floods it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_config import cfg

from haqn.api import errors
from haqn.api.buckets import Rate, SharedBuckets
from haqn.api.identity import FOR_EVERYBODY

_AGENTS = "/v2.0/agents"

#: Hears of the environment of a request that was refused, and for how many seconds its like will be.
Refused = Callable[[WSGIEnvironment, float], None]


@dataclass(frozen=True, slots=True)
class Limit:
    """One kind of limit; a rate of None means that there is none."""

    kind: str
    rate: Rate | None
    buckets: SharedBuckets

    def excess(self, name: str) -> float:
        """Take a token for `name`; 0.0, or the seconds until there will be one."""
        return 0.0 if self.rate is None else self.buckets.take(f"{self.kind}:{name}", self.rate)


def from_conf(conf: cfg.ConfigOpts, kind: str, buckets: SharedBuckets) -> Limit:
    """The limit that [api] `<kind>_rate` and `<kind>_burst` say; `kind`: address or project."""
    per_second, burst = conf.api[f"{kind}_rate"], conf.api[f"{kind}_burst"]
    return Limit(kind, Rate(per_second, burst) if per_second else None, buckets)


def is_exempt(method: str, path: str) -> bool:
    """Whether nobody counts such requests."""
    return path in FOR_EVERYBODY or (method == "GET" and (path == _AGENTS or path.startswith(f"{_AGENTS}/")))


def by_address(app: WSGIApplication, limit: Limit, refused: Refused | None = None) -> WSGIApplication:
    """`app` with a limit for each client address."""
    return _limited(app, limit, "REMOTE_ADDR", refused)


def by_project(app: WSGIApplication, limit: Limit, refused: Refused | None = None) -> WSGIApplication:
    """`app` with a limit for each project, which must be known already (`haqn.api.identity`).

    Callers without a project have the limit of their address alone.
    """
    return _limited(app, limit, "HTTP_X_PROJECT_ID", refused)


def _limited(app: WSGIApplication, limit: Limit, key: str, refused: Refused | None) -> WSGIApplication:
    """By what the environment has under `key`, if anything. Refusing must cost next to nothing, or a flood is one."""

    def limited(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ.get(key, "")
        if name and not is_exempt(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")):
            seconds = limit.excess(name)
            if seconds:
                if refused is not None:
                    refused(environ, seconds)
                return too_many(start_response, seconds)
        return app(environ, start_response)

    return app if limit.rate is None else limited


def too_many(start_response: StartResponse, wait: float) -> Iterable[bytes]:
    """The answer to who is to wait for so many seconds."""
    seconds = math.ceil(wait)
    message = f"Too many requests: try again in {seconds} s"
    return errors.refuse(start_response, HTTPStatus.TOO_MANY_REQUESTS, message, [("Retry-After", str(seconds))])
