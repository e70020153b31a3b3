"""Authentication: finds out who asks before the API sees a request, by one of three strategies.

What it has found is in the headers X-User-Id, X-Project-Id and X-Roles, which no client can set itself unless the
strategy is noauth. Versions, health and metrics are for everybody, because load balancers have no credentials.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import webob.exc
from keystonemiddleware import auth_token
from oslo_config import cfg
from oslo_middleware import basic_auth, http_proxy_to_wsgi

from haqn.api import errors

#: Paths that need no identity; exactly these.
FOR_EVERYBODY = frozenset({"", "/", "/healthz", "/readyz", "/metrics"})

#: WSGI's variable of the header by which a client tells who it is.
_CREDENTIALS = {"keystone": "HTTP_X_AUTH_TOKEN", "http_basic": "HTTP_AUTHORIZATION", "noauth": "HTTP_X_PROJECT_ID"}
_IDENTITY = ("HTTP_X_USER_ID", "HTTP_X_PROJECT_ID", "HTTP_X_ROLES")


def authenticated(app: WSGIApplication, conf: cfg.ConfigOpts) -> WSGIApplication:
    """`app` behind the strategy of this configuration."""
    if conf.api.auth_strategy == "noauth":
        return app
    guarded = _with_keystone(app, conf) if conf.api.auth_strategy == "keystone" else BasicAuth(app, conf)

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        chosen = app if environ.get("PATH_INFO", "") in FOR_EVERYBODY else guarded
        return chosen(environ, start_response)

    return choose


def credential(conf: cfg.ConfigOpts) -> str:
    """The variable of WSGI of which each value stands for one project."""
    return _CREDENTIALS[conf.api.auth_strategy]


def behind_proxy(app: WSGIApplication, conf: cfg.ConfigOpts) -> WSGIApplication:
    """`app` that believes a proxy who its clients are, if [oslo_middleware] enable_proxy_headers_parsing says so."""
    if not believes_proxies(conf):
        return app
    proxied: WSGIApplication = http_proxy_to_wsgi.HTTPProxyToWSGI(app, conf)
    return proxied


def believes_proxies(conf: cfg.ConfigOpts) -> bool:
    """Whether X-Forwarded-For and its like say where requests come from."""
    conf.register_opts(http_proxy_to_wsgi.OPTS, group="oslo_middleware")
    believes: bool = conf.oslo_middleware.enable_proxy_headers_parsing
    return believes


def _with_keystone(app: WSGIApplication, conf: cfg.ConfigOpts) -> WSGIApplication:
    made: WSGIApplication = auth_token.AuthProtocol(app, {"oslo_config_config": conf})
    return made


class BasicAuth:
    """HTTP basic authentication by a file of bcrypt hashes, which is read anew for each request."""

    def __init__(self, app: WSGIApplication, conf: cfg.ConfigOpts) -> None:
        self._app = app
        self._file = conf.api.http_basic_auth_user_file
        self._admins = frozenset(conf.api.http_basic_admins)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            user, password = basic_auth.parse_token(basic_auth.parse_header(environ))
            basic_auth.authenticate(self._file, user, password)
        except (webob.exc.HTTPUnauthorized, webob.exc.HTTPBadRequest, ValueError):
            # ValueError: bcrypt takes no password of more than 72 bytes
            return _unauthorized(start_response)
        for name in _IDENTITY:
            environ.pop(name, None)
        environ["HTTP_X_USER_ID"] = user
        environ["HTTP_X_PROJECT_ID"] = user
        environ["HTTP_X_ROLES"] = "admin" if user in self._admins else "member,reader"
        return self._app(environ, start_response)


def _unauthorized(start_response: StartResponse) -> Iterable[bytes]:
    asked_for = ("WWW-Authenticate", 'Basic realm="haqn"')
    return errors.refuse(start_response, HTTPStatus.UNAUTHORIZED, "Authentication required", [asked_for])
