"""Since when the leader's sources, etcd and SQL, answer without a break.

Says one sentence when one is lost, and one when it is back. Knows no I/O.
"""

from __future__ import annotations

import enum
import logging

from haqn.clock import Clock
from haqn.scheduler.view import LONG_AGO

LOG = logging.getLogger(__name__)


class Source(enum.StrEnum):
    ETCD = "etcd"
    SQL = "the database"


class Health:
    """For one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lost_at: dict[Source, float] = {}
        self._back_at: dict[Source, float] = {}

    def lost(self, source: Source, why: object) -> None:
        """The source did not answer."""
        if source not in self._lost_at:
            self._lost_at[source] = self._clock.monotonic()
            LOG.warning("%s is lost, nothing changes until it is back: %s", source, why)

    def works(self, source: Source) -> None:
        """The source has answered."""
        lost_at = self._lost_at.pop(source, None)
        if lost_at is not None:
            self._back_at[source] = self._clock.monotonic()
            LOG.warning("%s is back after %.1f s", source, self._back_at[source] - lost_at)

    def since(self, source: Source) -> float:
        """Seconds since the source came back; LONG_AGO when it was never lost, 0 while it is."""
        if source in self._lost_at:
            return 0.0
        back_at = self._back_at.get(source)
        return LONG_AGO if back_at is None else self._clock.monotonic() - back_at
