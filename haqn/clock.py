"""Time as a dependency: code that must be tested without waiting takes a `Clock`."""

from __future__ import annotations

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of haqn may know about time."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, suspended time included (CLOCK_BOOTTIME)."""
        ...

    def utcnow(self) -> datetime.datetime:
        """Wall clock for people; never compared to decide anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def utcnow(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)


def isoformat(moment: datetime.datetime) -> str:
    """`2026-01-02T03:04:05.678Z`, the form that all of haqn's documents use."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
