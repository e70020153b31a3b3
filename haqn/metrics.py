"""Serves what a process has to tell in Prometheus' text format, over HTTP, from a thread of its own.

What cannot be served is logged, and never ends the process that it is about. Knows nothing of what is told.
"""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

LOG = logging.getLogger(__name__)


def serve(collector: Collector, host: str, port: int) -> None:
    """Answer `GET /metrics` on that address until the process ends. Port 0: on none."""
    if not port:
        return
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        LOG.warning("cannot serve metrics on %s port %d, going on without: %s", host, port, error)
