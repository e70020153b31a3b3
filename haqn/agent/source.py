"""etcd as the agent sees it: its own prefix in, its heartbeat and reports out.

Knows keys and the coordination layer; knows nothing of the kernel. Nothing here waits for etcd.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from haqn.agent.service import Status
from haqn.clock import Clock
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.session import Session
from haqn.documents import Heartbeat, encode

#: seconds between two heartbeat documents that differ in the load only
_LOAD_PAUSE = 10.0


class Source:
    """One host's connection to the control plane. Start it in the process that uses it."""

    def __init__(self, etcd: Etcd, host: str, ttl: int, clock: Clock, why_full: Callable[[], str] = lambda: "") -> None:
        """`ttl`: of the lease, in seconds. `why_full`: why the host takes no more routers; asked once a second."""
        self._host = host
        self._clock = clock
        self._why_full = why_full
        self._poke: Callable[[], None] = lambda: None
        self._changed = threading.Event()
        self._session = Session(etcd, ttl)
        self._informer = Informer(etcd, keys.desired(host), on_change=self._on_change)
        self._reported_pairs: set[int] = set()
        self._heartbeats: list[Heartbeat] = []
        self._load_told_at = 0.0
        self._routers = 0

    def lease_margin(self) -> float:
        """Seconds for which the lease stays valid even if etcd never answers again."""
        return self._session.remaining()

    def start(self, heartbeats: Iterable[Heartbeat], poke: Callable[[], None]) -> None:
        """`poke` is called from another thread when documents have changed."""
        self._poke = poke
        self._heartbeats = [replace(heartbeat, full=self._why_full()) for heartbeat in heartbeats]
        self._beat()
        self._informer.start()
        self._session.start()

    def stop(self) -> None:
        """The lease is left to run out: a restart within its TTL is nobody's business."""
        self._informer.stop()
        self._session.stop(revoke=False)

    def _beat(self) -> None:
        """Put or replace the heartbeat documents; the lease itself is kept alive without that."""
        for heartbeat in self._heartbeats:
            self._session.register(keys.agent(heartbeat.agent_type, heartbeat.host), encode(heartbeat))

    def _tell_load(self) -> None:
        """Heartbeats carry the load, but a change of it is not worth a write each time; that the host is full is."""
        if not self._heartbeats:
            return
        now, full, told = self._clock.monotonic(), self._why_full(), self._heartbeats[0]
        has_waited = now - self._load_told_at > _LOAD_PAUSE
        if (full and not told.full) or (has_waited and (full, self._routers) != (told.full, told.routers)):
            self._load_told_at = now
            self._heartbeats = [replace(beat, routers=self._routers, full=full) for beat in self._heartbeats]
            self._beat()

    def listing(self) -> dict[str, bytes] | None:
        """The documents under the host's prefix; None: nothing has changed since the last call.

        Called at least once a second, so the heartbeats' load is looked at here.
        """
        self._tell_load()
        if not self._changed.is_set() or not self._informer.synced.is_set():
            return None
        self._changed.clear()
        return {key: found.value for key, found in self._informer.cache().items()}

    def report(self, status: Status) -> None:
        """Publish what the agent has to say; what is unchanged is not written again."""
        self._routers = status.sync.routers
        self._session.register(keys.observed_sync(self._host), encode(status.sync))
        for pair in status.pairs:
            self._session.register(keys.observed_pair(self._host, pair.pair_id), encode(pair))
        present = {pair.pair_id for pair in status.pairs}
        for pair_id in self._reported_pairs - present:
            self._session.unregister(keys.observed_pair(self._host, pair_id))
        self._reported_pairs = present

    def _on_change(self) -> None:
        self._changed.set()
        self._poke()
