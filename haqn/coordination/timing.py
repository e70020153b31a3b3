"""Decisions about time: how long a lease may be trusted, when a stream is dead, how long to wait. Pure.

All times are seconds; moments are `Clock.monotonic()`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

#: The part of a TTL that is given up, so that clocks may differ in rate by as much (G6).
_MARGIN = 0.1
#: The part of a TTL for which a watch of leases may be silent before it is asked, and at most that (seconds): each
#: question costs as much as several milliseconds of a processor on either side.
_SILENT_PART, _SILENT_FOR = 0.2, 2.0


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """What follows from a lease's TTL."""

    ttl: int

    @property
    def keepalive_interval(self) -> float:
        return self.ttl / 4

    @property
    def ping_after(self) -> float:
        """How long a watch of keys on such leases may say nothing before it is asked whether it lives."""
        return min(_SILENT_FOR, self.ttl * _SILENT_PART)

    def try_time(self, call_timeout: float) -> float:
        """Time for one try: there must be time for several members within a TTL."""
        return min(call_timeout, self.ttl / 4)

    @staticmethod
    def valid_until(sent: float, granted_ttl: float) -> float:
        """Counted from before the request was sent: the server counts the TTL from later than that."""
        return sent + granted_ttl * (1 - _MARGIN)


def backoff(failures: int, *, first: float = 0.05, cap: float = 1.0) -> float:
    """The longest pause after so many failures in a row (1, 2, ...); doubles up to `cap`."""
    return float(min(cap, first * 2 ** min(failures - 1, 20)))


class Pulse(enum.Enum):
    """What to do about a stream that says nothing."""

    FINE = "fine"
    PING = "ping"
    DEAD = "dead"


@dataclass(slots=True)
class Watchdog:
    """Tells a quiet stream from a dead one: asks after `ping_after` of silence, gives up `silence` later."""

    ping_after: float
    silence: float
    heard_at: float
    #: when an answer became due; None: nothing is
    asked_at: float | None = None

    def asked(self, now: float) -> None:
        self.asked_at = now

    def heard(self, now: float) -> None:
        self.heard_at = now
        self.asked_at = None

    def idle_for(self, now: float) -> float:
        """Seconds for which `check` has nothing to say if nothing is heard; negative when it has."""
        return (self.heard_at + self.ping_after if self.asked_at is None else self.asked_at + self.silence) - now

    def check(self, now: float) -> Pulse:
        if self.asked_at is not None:
            return Pulse.DEAD if now - self.asked_at > self.silence else Pulse.FINE
        return Pulse.PING if now - self.heard_at >= self.ping_after else Pulse.FINE
