"""What of the things that were carried out is to be looked at again now. PURE: no I/O, no clock.

Everything comes up once a round, a part at each tick, so that a host with hundreds of routers has no bursts.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable

from haqn.agent.diff import Key


class Audit:
    """Goes round and round in the order of the keys, whatever comes and goes meanwhile."""

    def __init__(self, ticks: float) -> None:
        """`ticks`: so many make a round."""
        self._ticks = ticks
        self._last: Key = ("", "")

    def turn(self, keys: Iterable[Key]) -> tuple[list[Key], bool]:
        """(keys to look at in this tick, whether that begins a new round)"""
        ordered = sorted(keys)
        if not ordered:
            return [], True
        begin = bisect.bisect(ordered, self._last)
        count = math.ceil(len(ordered) / self._ticks)
        part = (ordered[begin:] + ordered)[: min(count, len(ordered))]
        self._last = part[-1]
        return part, begin + count > len(ordered) or begin == len(ordered)
