"""When keepalived may be reloaded, and in how many steps. Knows configurations and pairs; knows no role and no gate.

Each reload cuts keepalived's present check short, and may cost the next one, too: by one after the other the leases of
the gates would run out. And keepalived knows its instances by their virtual router ids: at a reload it goes on with the
state of the one that had the id, under the new name; it is MASTER then and never says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from haqn.agent.work import MustWait
from haqn.documents import PairDocument
from haqn.keepalived import config
from haqn.keepalived.daemon import Daemon

#: seconds for which a reload waits for a check of keepalived to come to its end: longer than it is allowed to take
_LONGEST_WAIT = 4.0


class Reloads:
    """Of one keepalived."""

    def __init__(self, daemon: Daemon, checked: Path, render: Callable[[Iterable[PairDocument]], str]) -> None:
        """`checked`: a file that each of keepalived's checks touches at its end."""
        self._daemon = daemon
        self._checked = checked
        self._render = render
        #: monotonic seconds since which a reload has been waiting; None: none is
        self._waiting_since: float | None = None

    def apply(self, documents: Collection[PairDocument]) -> None:
        """Make keepalived run with these pairs. MustWait: not all of it was done, and the rest is to be tried again
        soon. Raises what `Daemon.apply` raises."""
        text = self._render(documents)
        later = self._heirs(documents) if self._daemon.would_reload(text) else frozenset()
        if later:
            text = self._render(pair for pair in documents if pair.pair_id not in later)
        self._wait_for_a_check(text)
        self._daemon.apply(text)
        if later:
            raise MustWait(f"other pairs have had the virtual router ids of pairs {sorted(later)} until now")

    def _heirs(self, documents: Iterable[PairDocument]) -> frozenset[int]:
        """Pairs whose virtual router id is another pair's in the configuration that keepalived runs with: that one must
        be gone before."""
        present = config.instances(self._daemon.configuration() or "")
        return frozenset(pair.pair_id for pair in documents if present.get(pair.vr_id, pair.pair_id) != pair.pair_id)

    def _wait_for_a_check(self, text: str) -> None:
        """MustWait while no check has come to its end since the last reload, unless that takes too long."""
        if not self._daemon.would_reload(text) or self._daemon.has_settled(self._checked):
            self._waiting_since = None
            return
        now = time.monotonic()
        self._waiting_since = now if self._waiting_since is None else self._waiting_since
        if now - self._waiting_since < _LONGEST_WAIT:
            raise MustWait("keepalived was reloaded a moment ago")
        self._waiting_since = None
