"""Looks after the pairs that yield on this host: where the peer's adverts come through again, VRRP decides again.

Part of the consumer, not of the agent, so that a member that yields stands by as well as any other once its peer can be
heard, whoever else is dead. Knows files and adverts; knows neither gates nor roles.
"""

from __future__ import annotations

import sys
import time

from haqn.failover.adverts import Listener
from haqn.failover.levels import NO, yield_after
from haqn.failover.state import StateDirectory

#: seconds between looks at the files
_PAUSE = 0.25


class Yielding:
    """To be looked at again and again."""

    def __init__(self, directory: StateDirectory) -> None:
        self._directory = directory
        self._listener: Listener | None = None
        self._next_look = 0.0
        #: pair -> (way of yielding, since when (monotonic))
        self._since: dict[int, tuple[int, float]] = {}

    def look(self) -> None:
        """End what has lost its reason; cheap when nothing yields, or when it comes too soon."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _PAUSE
        ways = {pair: way for pair in self._directory.pairs() if (way := self._directory.yielding(pair))}
        self._since = {
            pair: before if (before := self._since.get(pair)) and before[0] == way else (way, now)
            for pair, way in ways.items()
        }
        heard = self._heard(now) if ways else self._rest()
        for pair, (way, since) in self._since.items():
            self._end(pair, way, heard=self._directory.peer(pair) in heard, seconds=now - since)

    def _heard(self, now: float) -> set[tuple[str, int]]:
        if self._listener is None:
            self._listener = Listener(now)
        return self._listener.heard(now)

    def _rest(self) -> set[tuple[str, int]]:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        return set()

    def _end(self, pair: int, way: int, *, heard: bool, seconds: float) -> None:
        with self._directory.locked():
            is_master = self._directory.is_master(pair)
            after = yield_after(way, is_master=is_master, heard=heard, seconds=seconds)
            if after != NO or self._directory.yielding(pair) != way:
                return
            self._directory.write_yield(pair, NO)
        why = "its peer is heard" if heard else f"nobody is heard for {seconds:.0f} s"
        print(f"haqn-failover: pair {pair} yields no longer: {why}", file=sys.stderr, flush=True)
