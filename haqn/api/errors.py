"""The one place where an error becomes an answer: a status and a NeutronError body that tells no secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse

import falcon
import msgspec

from haqn import exceptions

LOG = logging.getLogger(__name__)

UNEXPECTED = "Request Failed: internal server error while processing your request."
#: The first class that an error is of decides.
_STATUS: tuple[tuple[type[exceptions.ApiError], HTTPStatus], ...] = (
    (exceptions.NotFound, HTTPStatus.NOT_FOUND),
    (exceptions.RevisionNumberConstraintFailed, HTTPStatus.PRECONDITION_FAILED),
    (exceptions.Conflict, HTTPStatus.CONFLICT),
    (exceptions.PolicyNotAuthorized, HTTPStatus.FORBIDDEN),
    (exceptions.ServiceUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (exceptions.BadRequest, HTTPStatus.BAD_REQUEST),
)


def install(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Make `app` answer every error in Neutron's form."""
    app.add_error_handler(Exception, _on_unexpected)
    app.add_error_handler(falcon.HTTPError, _on_http_error)
    app.add_error_handler(exceptions.ApiError, _on_api_error)
    app.add_error_handler(exceptions.DatabaseUnavailable, _on_database_error)
    app.add_error_handler(exceptions.WriteConflict, _on_database_error)


def fill(response: falcon.Response, status: int, kind: str, message: str) -> None:
    """Put the error into `response`."""
    response.status = HTTPStatus(status)
    response.content_type = falcon.MEDIA_JSON
    response.data = _body(kind, message)


def refuse(
    start_response: StartResponse,
    status: HTTPStatus,
    message: str,
    headers: Iterable[tuple[str, str]] = (),
    exc_info: Any = None,  # noqa: ANN401 what sys.exc_info() gives
) -> Iterable[bytes]:
    """The WSGI answer of what is before the API, in the same form."""
    body = _body(_kind_of(status), message)
    length = str(len(body))
    described = [("Content-Type", falcon.MEDIA_JSON), ("Content-Length", length), *headers]
    start_response(f"{status.value} {status.phrase}", described, exc_info)
    return [body]


def _body(kind: str, message: str) -> bytes:
    return msgspec.json.encode({"NeutronError": {"type": kind, "message": message, "detail": ""}})


def _kind_of(status: HTTPStatus) -> str:
    """The type of an error that is nothing but a status."""
    return "HTTP" + status.phrase.replace(" ", "")


def _on_api_error(_request: falcon.Request, response: falcon.Response, error: Exception, _params: object) -> None:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
    fill(response, status, type(error).__name__, str(error))


def _on_http_error(_request: falcon.Request, response: falcon.Response, error: Exception, _params: object) -> None:
    """Falcon's own errors: unknown routes, wrong methods, broken requests."""
    if not isinstance(error, falcon.HTTPError):
        raise error
    response.set_headers(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND:
        message = exceptions.HTTPNotFound.message
    else:
        message = error.description or error.title or HTTPStatus(error.status_code).phrase
    fill(response, error.status_code, _kind_of(HTTPStatus(error.status_code)), message)


def _on_database_error(_request: falcon.Request, response: falcon.Response, error: Exception, _params: object) -> None:
    LOG.error("%s", error)
    too_long = isinstance(error, exceptions.StatementTooLong)
    reason = "the database took too long, ask for less" if too_long else "the database cannot be used now, try again"
    answer = exceptions.ServiceUnavailable(reason=reason)
    fill(response, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", str(answer))


def _on_unexpected(request: falcon.Request, response: falcon.Response, error: Exception, _params: object) -> None:
    LOG.error("cannot answer %s %s", request.method, ascii(request.path), exc_info=error)
    fill(response, HTTPStatus.INTERNAL_SERVER_ERROR, _kind_of(HTTPStatus.INTERNAL_SERVER_ERROR), UNEXPECTED)
