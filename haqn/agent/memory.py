"""Whether this host has the memory for more routers than it has; what it has already it keeps.

Knows /proc/meminfo. Who is full is decided here, once, and what follows of it by the planner.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

LOG = logging.getLogger(__name__)

_MEMINFO = Path("/proc/meminfo")
_KIB_IN_MIB = 1024
#: A host that was full is no longer when it has this many times what is asked for: its own routers' coming and going
#: must not let it say one thing and the other in turn.
_RELIEF = 1.25


def available_mib(meminfo: str) -> float | None:
    """MemAvailable (proc(5)): what programs can be given without swapping. None: the kernel does not say."""
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) / _KIB_IN_MIB
    return None


class Watermark:
    """`[agent] memory_reserve` MiB must be available for more routers; 0: however little is."""

    def __init__(self, reserve_mib: int, read: Callable[[], str] = _MEMINFO.read_text) -> None:
        self._reserve = reserve_mib
        self._read = read
        self._full = False

    def why_full(self) -> str:
        """Why the host takes no more routers at this moment; empty when it does. Cheap enough for once a second."""
        available = available_mib(self._read()) if self._reserve else None
        if available is not None:
            full = available < self._reserve * (_RELIEF if self._full else 1)
            if full != self._full:
                LOG.warning("%.0f MiB of memory are available: %s", available, "no more routers" if full else "enough")
            self._full = full
        return f"less than {self._reserve} MiB of memory left" if self._full else ""
