"""Tells the service manager that this process is ready, and that it lives (sd_notify(3)); without one, nobody.

Knows a socket; knows nothing of what the process does.
"""

from __future__ import annotations

import logging
import os
import socket

LOG = logging.getLogger(__name__)

READY = "READY=1"
ALIVE = "WATCHDOG=1"
STOPPING = "STOPPING=1"


def tell(state: str) -> None:
    """Send one of the states above. The service manager's absence is no error."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as manager:
            manager.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        LOG.warning("cannot tell the service manager %s: %s", state, error)
