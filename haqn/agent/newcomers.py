"""Telling neighbours of addresses that are new on this host: they may know an older owner.

Each is told a bounded number of times, and only where it may speak. Takeovers are the failover program's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from haqn.failover import announce
from haqn.model import FIRST_PAIR_ID

#: seconds after which it is said again, for a frame may be lost
_AGAIN = (0.5, 2.0)

#: device group -> lines of haqn.failover.announce.Row
Lines = Mapping[int, Collection[str]]


class Newcomers:
    """The addresses that are still to be told of. Seconds are those of any one clock."""

    def __init__(self) -> None:
        self._again: list[tuple[float, Lines]] = []
        self._announcer: announce.Announcer | None = None

    def close(self) -> None:
        """Tell nobody any more."""
        if self._announcer is not None:
            self._announcer.close()

    def tell(self, lines: Lines, masters: Collection[int], now: float) -> None:
        """`masters`: the pairs whose gate is open here."""
        if any(lines.values()):
            self._tell(lines, masters)
            self._again += [(now + delay, lines) for delay in _AGAIN]

    def repeat(self, masters: Collection[int], now: float) -> None:
        """Tell again what is due."""
        due = [lines for at, lines in self._again if at <= now]
        self._again = [entry for entry in self._again if entry[0] > now]
        for lines in due:
            self._tell(lines, masters)

    def next_due(self, now: float) -> float | None:
        """Seconds until `repeat` has something to do; None: nothing is due."""
        return max(0.0, min(at for at, _ in self._again) - now) if self._again else None

    def _tell(self, lines: Lines, masters: Collection[int]) -> None:
        speaking = [group for group in lines if group in masters or group < FIRST_PAIR_ID]
        rows = [announce.Row.parse(line) for group in speaking for line in lines[group]]
        self._announcer = self._announcer or announce.Announcer()
        announce.claim(rows)
        self._announcer.tell_neighbours(rows)
