"""Request ids: every answer names one, and every line that is logged on the way to it.

Outermost of all, so that what is refused before the API sees it has one, too. What oslo.middleware's RequestId does,
by its names, without WebOb and with the log (`doc/adr/0013-logs-and-request-ids.md` says why, and what it costs).
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_context import context
from oslo_middleware.request_id import ENV_REQUEST_ID, GLOBAL_REQ_ID, ID_FORMAT

from haqn.api import errors

LOG = logging.getLogger(__name__)

HEADER = "X-Openstack-Request-Id"
_INBOUND = "HTTP_X_OPENSTACK_REQUEST_ID"
#: What a flood is answered with: logging each would be part of the flood.
_UNLOGGED = str(int(HTTPStatus.TOO_MANY_REQUESTS))

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


def new() -> str:
    """An id for one more request."""
    made: str = context.generate_request_id()
    return made


def identified(app: WSGIApplication) -> WSGIApplication:
    """`app` with a request id in each answer and in the thread's log lines, and one line for each request.

    The id that a client sends is another service's, which asks on behalf of a request of its own: it is logged, too.
    """

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request_id = environ[ENV_REQUEST_ID] = new()
        given = environ.get(_INBOUND, "")
        if given and re.match(ID_FORMAT, given):
            environ[GLOBAL_REQ_ID] = given
        context.RequestContext(request_id=request_id, global_request_id=environ.get(GLOBAL_REQ_ID), overwrite=True)
        statuses: list[str] = []

        def start(
            status: str, headers: Sequence[tuple[str, str]], exc_info: ExcInfo | None = None
        ) -> Callable[[bytes], object]:
            statuses.append(status.partition(" ")[0])
            return start_response(status, [*headers, (HEADER, request_id)], exc_info)

        try:
            body = app(environ, start)
        except Exception:
            # not the API, which answers all its errors: what is before it
            LOG.exception("cannot answer")
            body = errors.refuse(start, HTTPStatus.INTERNAL_SERVER_ERROR, errors.UNEXPECTED, exc_info=sys.exc_info())
        if statuses[-1] != _UNLOGGED:
            LOG.info("%s %s: %s", environ["REQUEST_METHOD"], ascii(environ.get("PATH_INFO", "")), statuses[-1])
        return body

    return call


def name_caller(user_id: str, project_id: str) -> None:
    """Let the log lines of this request tell who asks."""
    current: Any = context.get_current()
    if current is not None:
        current.user_id, current.project_id = (ascii(name)[1:-1] for name in (user_id, project_id))
