"""haqn-api: puts the API together and serves it by gunicorn until SIGTERM, which finishes the requests in flight."""

from __future__ import annotations

import logging
import sys
from typing import Any

import gunicorn.app.base
from oslo_config import cfg

from haqn import conf as haqn_conf
from haqn.api.app import App, create_app
from haqn.api.livestate import EtcdLiveState
from haqn.api.nudge import EtcdNudge
from haqn.coordination.client import Etcd
from haqn.db import schema
from haqn.db.session import Database
from haqn.exceptions import DatabaseUnavailable, SchemaOutdated

LOG = logging.getLogger(__name__)

#: Seconds that requests in flight may take after SIGTERM.
_GRACE = 30


def build(conf: cfg.ConfigOpts) -> App:
    """The application with everything it needs, started; call it in the worker, after the fork."""
    etcd = Etcd.from_conf(conf)
    live_state = EtcdLiveState(etcd)
    live_state.start()
    nudge = EtcdNudge(etcd)
    nudge.start()
    database = Database(conf.database.connection, pool_size=max(conf.database.max_pool_size, conf.api.threads))
    return create_app(database, live_state, nudge, conf)


class Server(gunicorn.app.base.BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn, told by haqn's configuration instead of its own."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        super().__init__()

    def load_config(self) -> None:
        for name, value in server_settings(self._conf).items():
            self.cfg.set(name, value)

    def load(self) -> App:
        return build(self._conf)


def server_settings(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """gunicorn's settings for this configuration."""
    host = f"[{conf.api.bind_host}]" if ":" in conf.api.bind_host else conf.api.bind_host
    return {
        "bind": f"{host}:{conf.api.bind_port}",
        "proc_name": "haqn-api",
        "worker_class": "gthread",
        "workers": conf.api.workers,
        "threads": conf.api.threads,
        "graceful_timeout": _GRACE,
        "keepalive": 75,
        # clients cut long lists of filters into requests of at most 8 KiB
        "limit_request_line": 8190,
        "control_socket_disable": True,
    }


def main(arguments: list[str] | None = None) -> int:
    """Serve; returns the exit status when the database cannot be served, otherwise gunicorn ends the process."""
    conf = haqn_conf.load(sys.argv[1:] if arguments is None else arguments, prog="haqn-api")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        schema.check(conf.database.connection)
    except (SchemaOutdated, DatabaseUnavailable) as error:
        LOG.error("%s", error)
        return 1
    Server(conf).run()
    return 0
