"""Whether the API may be served with the authentication that the configuration asks for, said before it is started."""

from __future__ import annotations

import ipaddress
import logging

import webob.exc
from oslo_config import cfg
from oslo_middleware import basic_auth
from oslo_middleware.exceptions import ConfigInvalid

from haqn.exceptions import ConfigurationRefused

LOG = logging.getLogger(__name__)


def check(conf: cfg.ConfigOpts) -> None:
    """Whether the API may be served with this strategy. Raises ConfigurationRefused."""
    if conf.api.auth_strategy == "http_basic":
        try:
            basic_auth.validate_auth_file(conf.api.http_basic_auth_user_file)
        except (ConfigInvalid, webob.exc.HTTPBadRequest) as error:
            raise ConfigurationRefused(
                f"cannot use [api] http_basic_auth_user_file {conf.api.http_basic_auth_user_file}: {error}"
            ) from error
    if conf.api.auth_strategy != "noauth":
        return
    if not (_is_loopback(conf.api.bind_host) or conf.api.allow_noauth_anywhere):
        raise ConfigurationRefused(
            f"cannot serve on {conf.api.bind_host} with [api] auth_strategy noauth: everybody who reaches it would be "
            "an admin (allow_noauth_anywhere permits it)"
        )
    LOG.warning("auth_strategy is noauth: everybody who reaches %s is an admin", conf.api.bind_host)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
