"""haqn-api: puts the API together and serves it by gunicorn until SIGTERM, which finishes the requests in flight."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Callable
from typing import Any
from wsgiref.types import WSGIApplication

import gunicorn.app.base
from oslo_config import cfg

from haqn import conf as haqn_conf
from haqn import logs
from haqn.api import identity, limits, metrics, requestid, strategy
from haqn.api.app import create_app
from haqn.api.buckets import SharedBuckets
from haqn.api.door import Door
from haqn.api.livestate import EtcdLiveState
from haqn.api.nudge import EtcdNudge
from haqn.api.worker import Worker
from haqn.coordination.client import Etcd
from haqn.db import schema
from haqn.db.session import Database
from haqn.exceptions import ConfigurationRefused, DatabaseUnavailable, SchemaOutdated

LOG = logging.getLogger(__name__)

#: Seconds that requests in flight may take after SIGTERM.
_GRACE = 30
#: Part of a request's time after which a statement is ended: then there is time left to say so.
_PART_OF_SQL = 0.8


def build(conf: cfg.ConfigOpts, buckets: SharedBuckets) -> tuple[WSGIApplication, Door]:
    """The application with everything it needs, started, and its door; call it in the worker, after the fork."""
    etcd = Etcd.from_conf(conf)
    live_state = EtcdLiveState(etcd)
    live_state.start()
    nudge = EtcdNudge(etcd)
    nudge.start()
    database = Database(
        conf.database.connection,
        pool_size=max(conf.database.max_pool_size, conf.api.threads),
        longest_statement=_PART_OF_SQL * conf.api.request_timeout,
    )
    measured = metrics.Measured()
    api = create_app(database, live_state, nudge, conf, measured)
    door = Door(identity.credential(conf), measured.count_refusal, by_address=not identity.believes_proxies(conf))
    app = limits.by_project(api, limits.from_conf(conf, "project", buckets), door.shut_credential)
    app = identity.authenticated(app, conf)
    app = limits.by_address(app, limits.from_conf(conf, "address", buckets), door.shut_address)
    return measured.around(requestid.identified(identity.behind_proxy(app, conf))), door


class Server(gunicorn.app.base.BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn, told by haqn's configuration instead of its own."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        # before the workers are forked, which share it
        self._buckets = SharedBuckets()
        #: a worker's own, once it has loaded the application
        self.door: Door | None = None
        super().__init__()

    def load_config(self) -> None:
        for name, value in server_settings(self._conf).items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        app, self.door = build(self._conf, self._buckets)
        return app


def server_settings(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """gunicorn's settings for this configuration."""
    host = f"[{conf.api.bind_host}]" if ":" in conf.api.bind_host else conf.api.bind_host
    return {
        "bind": f"{host}:{conf.api.bind_port}",
        "proc_name": "haqn-api",
        "worker_class": Worker,
        "workers": conf.api.workers,
        "threads": conf.api.threads,
        "timeout": conf.api.request_timeout,
        "graceful_timeout": _GRACE,
        "keepalive": 75,
        # clients cut long lists of filters into requests of at most 8 KiB
        "limit_request_line": 8190,
        "control_socket_disable": True,
        "child_exit": metrics.forget_process,
        "on_exit": metrics.end_sharing,
        **_tls_settings(conf),
    }


def _tls_settings(conf: cfg.ConfigOpts) -> dict[str, Any]:
    if not conf.api.tls_cert:
        return {}
    return {
        "certfile": conf.api.tls_cert,
        "keyfile": conf.api.tls_key,
        "ca_certs": conf.api.tls_client_ca,
        "cert_reqs": ssl.CERT_REQUIRED if conf.api.tls_client_ca else ssl.CERT_NONE,
        "ssl_context": _tls_context,
    }


def _tls_context(_settings: object, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = make()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def main(arguments: list[str] | None = None) -> int:
    """Serve; returns the exit status when it must not serve, otherwise gunicorn ends the process."""
    conf = haqn_conf.load(sys.argv[1:] if arguments is None else arguments, prog="haqn-api")
    logs.setup(conf, haqn_conf.version())
    try:
        strategy.check(conf)
        schema.check(conf.database.connection)
    except (ConfigurationRefused, SchemaOutdated, DatabaseUnavailable) as error:
        LOG.error("%s", error)
        return 1
    metrics.share_between_processes()
    Server(conf).run()
    return 0
