"""What is in hand: which objects are done, being worked on, waiting, or failed and when to try again. PURE.

A key is never dropped: what failed comes back after a pause that grows to a cap, what waits after a short one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from haqn.agent.diff import Key
from haqn.documents import DesiredDocument

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


class MustWait(Exception):
    """Not an error: what is to be done would interrupt traffic now, and will not a little later."""


@dataclass(slots=True)
class Work:
    """The state of all objects of this host."""

    #: what was carried out last; None: found on the host, not looked at yet
    applied: dict[Key, DesiredDocument | None] = field(default_factory=dict)
    errors: dict[Key, str] = field(default_factory=dict)
    in_flight: set[Key] = field(default_factory=set)
    _retry_at: dict[Key, float] = field(default_factory=dict)
    _pause: dict[Key, float] = field(default_factory=dict)

    def done(self, key: Key, document: DesiredDocument) -> None:
        self._clear(key)
        self.applied[key] = document

    def removed(self, key: Key) -> None:
        self._clear(key)
        self.applied.pop(key, None)

    def wait(self, key: Key, until: float) -> None:
        """Nothing is wrong; look again at that moment (seconds, the same clock as everywhere here)."""
        self._clear(key)
        self._retry_at[key] = until

    def failed(self, key: Key, why: str, now: float) -> None:
        """Remember the failure and the moment (seconds, any clock) from which to try again."""
        pause = min(self._pause.get(key, _FIRST_PAUSE / 2) * 2, _LONGEST_PAUSE)
        self._clear(key)
        self.errors[key] = why
        self._pause[key] = pause
        self._retry_at[key] = now + pause

    def may_start(self, key: Key, now: float) -> bool:
        return key not in self.in_flight and self._retry_at.get(key, now) <= now

    def next_retry(self, now: float) -> float | None:
        """Seconds until something that failed is to be tried again; None: nothing is."""
        return max(0.0, min(self._retry_at.values()) - now) if self._retry_at else None

    def changed(self, key: Key) -> None:
        """The wanted state is another one now: an old failure says nothing about it."""
        self._retry_at.pop(key, None)
        self._pause.pop(key, None)

    def _clear(self, key: Key) -> None:
        self.errors.pop(key, None)
        self._retry_at.pop(key, None)
        self._pause.pop(key, None)
