"""haqn-monitor: puts the monitor together and runs it until SIGTERM, which makes it resign at once."""

from __future__ import annotations

import logging
import os
import signal
import sys

from oslo_config import cfg

from haqn import conf as haqn_conf
from haqn import logs, metrics, servicemanager
from haqn.coordination.client import Etcd
from haqn.db import schema
from haqn.db.session import Database
from haqn.exceptions import HaqnError
from haqn.monitor.service import MonitorService
from haqn.monitor.term import Settings
from haqn.scheduler.view import Policy

LOG = logging.getLogger(__name__)

#: seconds, and the same in advertisement intervals: how long a handover may take before roles follow VRRP
_ROLE_SETTLE = 1.0
_ROLE_SETTLE_ADVERTS = 10


def settings_of(conf: cfg.ConfigOpts) -> Settings:
    """As the groups [monitor] and [etcd] of the configuration say."""
    group = conf.monitor
    return Settings(
        policy=Policy(
            scatter_width=group.scatter_width,
            max_dead_fraction=group.max_dead_fraction,
            pace=group.pace,
            lease_ttl=float(conf.etcd.lease_ttl),
            role_settle=max(_ROLE_SETTLE, _ROLE_SETTLE_ADVERTS * group.advert_interval_ms / 1000),
        ),
        poll_interval=group.poll_interval,
        keep_plans=group.keep_plans,
        keep_events=group.keep_events,
        enable_new_agents=group.enable_new_agents,
        advert_interval_ms=group.advert_interval_ms,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the monitor; returns its exit status."""
    conf = haqn_conf.load(sys.argv[1:] if arguments is None else arguments, prog="haqn-monitor")
    logs.setup(conf, haqn_conf.version())
    try:
        schema.check(conf.database.connection)
    except HaqnError as error:
        LOG.error("%s", error)
        return 1
    service = MonitorService(
        Etcd.from_conf(conf),
        Database(conf.database.connection, pool_size=conf.database.max_pool_size),
        holder=f"{conf.host}:{os.getpid()}",
        lease_ttl=conf.etcd.lease_ttl,
        settings=settings_of(conf),
        on_step=lambda: servicemanager.tell(servicemanager.ALIVE),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    metrics.serve(service.metrics, conf.monitor.metrics_host, conf.monitor.metrics_port)
    servicemanager.tell(servicemanager.READY)
    service.run()
    servicemanager.tell(servicemanager.STOPPING)
    return 0
