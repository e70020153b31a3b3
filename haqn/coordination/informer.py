"""List, then watch, for ever: a copy of a prefix that repairs itself after any fault.

Guarantees: G9 after `synced` the cache was true at one revision, and every later change is
applied in the order of revisions; each key's final state always arrives. G10 no event is lost
or repeated over a failover; after a compaction, a restored backup or a resync the difference is
delivered, so intermediate values may be missing. Data that was wiped is noticed within seconds of
the new connection, also where no revision goes back. G11 a silent member is left after
`ping_after + silence` seconds. It never gives up, and there is no error callback to forget.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from haqn.coordination.client import Etcd
from haqn.coordination.operations import KeyValue
from haqn.coordination.retries import Mode, Remedy
from haqn.coordination.state import Event, State
from haqn.coordination.stubs import Connection
from haqn.coordination.timing import backoff
from haqn.coordination.watch import Answer, Watch, WatchBroken, WatchCompacted
from haqn.coordination.worker import Worker, jittered
from haqn.exceptions import CoordinationError, Unavailable

LOG = logging.getLogger(__name__)

#: How long after a stream was replaced the prefix is listed, in seconds: the changes since come through
#: the stream first; the list then shows whether they were of the history that we know.
_LIST_AFTER_BREAK = 2.0
#: A member out of reach is asked again soon; one that refuses us (password, role) not so.
_LONGEST_PAUSE = 1.0
_LONGEST_PAUSE_WHEN_REFUSED = 5.0


class Informer:
    """Create it anywhere; start it once, in the process that uses it (after fork)."""

    def __init__(
        self,
        etcd: Etcd,
        prefix: str,
        handler: Callable[[Event], object] | None = None,
        *,
        on_change: Callable[[], object] | None = None,
        exact: bool = False,
        ping_after: float = 1.0,
        silence: float = 2.0,
        resync: float = 60.0,
    ) -> None:
        """`prefix` ends with "/"; with `exact` it is one key.

        `handler` gets every event in order. `on_change` is called some time after the cache has
        changed or was synced, once for many changes. Both run in one thread of the informer's.
        Every `resync` seconds, or a little earlier, the prefix is listed, because etcd 3.4 may lose events of a watch.
        """
        self.etcd = etcd
        self.prefix = prefix
        self.synced = threading.Event()
        self._handler = handler
        self._on_change = on_change
        self._poke_pending = threading.Event()
        self._exact = exact
        self._ping_after = ping_after
        self._silence = silence
        self._resync = resync
        self._state = State()
        self._lock = threading.Lock()
        self._needs_list = True
        self._list_again_at = 0.0
        self._failures = 0
        self._broken = False
        self._heard_at = etcd.clock.monotonic()
        self._cluster_id: int | None = None
        self._watch: Watch | None = None
        self._worker = Worker(f"informer {prefix}", self._step)

    @property
    def staleness(self) -> float:
        """Seconds since etcd last confirmed that the cache is current (normally below `ping_after` and a moment)."""
        return self.etcd.clock.monotonic() - self._heard_at

    @property
    def cluster_id(self) -> int | None:
        """etcd's id of the cluster that the cache is from; None before the first watch."""
        return self._cluster_id

    @property
    def revision(self) -> int | None:
        """The cache contains every change up to this revision; None before the first list."""
        return self._state.revision

    def cache(self) -> dict[str, KeyValue]:
        """A copy of all keys as they were at one revision."""
        with self._lock:
            return self._state.snapshot()

    def get(self, key: str) -> KeyValue | None:
        """One key of the cache."""
        with self._lock:
            return self._state.get(key)

    def start(self) -> None:
        self._worker.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop; nothing is delivered afterwards. The cache stays as it is."""
        self._worker.stopping.set()
        if (watch := self._watch) is not None:
            watch.cancel()
        self._worker.stop_loop(timeout)
        self._worker.stop_callbacks(timeout)

    # -- the loop ---------------------------------------------------------------------------

    def _step(self) -> None:
        try:
            if self._needs_list or self.etcd.clock.monotonic() >= self._list_again_at:
                self._list()
            with self.etcd.call(self._open_watch, Mode.READ) as watch:
                self._follow(watch)
        except WatchCompacted:
            LOG.info("informer %s: history was compacted; lists anew", self.prefix)
            self._needs_list = True
        except Unavailable as error:
            self._pause(str(error), _LONGEST_PAUSE)
        except CoordinationError as error:
            self._pause(str(error), _LONGEST_PAUSE_WHEN_REFUSED)

    def _list(self) -> None:
        items, revision = self.etcd.list(self.prefix, exact=self._exact)
        with self._lock:
            events = self._state.listed(items, revision)
        self._needs_list = False
        self._broken = False
        self._heard_at = self.etcd.clock.monotonic()
        self._list_again_at = self._heard_at + jittered(self._resync)
        self.synced.set()
        self._tell(events)

    def _open_watch(self, connection: Connection, _time_left: float) -> Watch:
        return Watch(
            connection,
            self.prefix,
            exact=self._exact,
            start_revision=(self._state.revision or 0) + 1,
            ping_after=self._ping_after,
            silence=self._silence,
            clock=self.etcd.clock,
        )

    def _follow(self, watch: Watch) -> None:
        """Apply what the watch tells until it breaks, or it is time for a list."""
        self._watch = watch
        try:
            while not self._worker.stopping.is_set() and self.etcd.clock.monotonic() < self._list_again_at:
                answer = watch.read()
                if answer is not None and not self._apply(answer):
                    self._needs_list = True
                    return
        except WatchBroken as error:
            if self._worker.stopping.is_set():
                return
            self._broken = True
            self.etcd.connections.drop(watch.endpoint, watch.connection, rotate=error.remedy is not Remedy.NEW_TOKEN)
            refused = error.remedy is Remedy.NONE
            self._pause(f"{watch.endpoint}: {error}", _LONGEST_PAUSE_WHEN_REFUSED if refused else _LONGEST_PAUSE)
        finally:
            self._watch = None

    def _apply(self, answer: Answer) -> bool:
        """False: what we know is of another cluster."""
        self._heard_at = self.etcd.clock.monotonic()
        self._failures = 0
        if self._broken:
            self._broken = False
            self._list_again_at = min(self._list_again_at, self._heard_at + jittered(_LIST_AFTER_BREAK))
        same_cluster = self._cluster_id in (None, answer.cluster_id)
        self._cluster_id = answer.cluster_id
        if not same_cluster:
            return False
        with self._lock:
            events = self._state.watched(answer.changes)
        self._tell(events)
        return True

    def _tell(self, events: list[Event]) -> None:
        if not events:
            return
        if self._handler is not None:
            for event in events:
                self._worker.notify(self._handler, event)
        if self._on_change is not None and not self._poke_pending.is_set():
            self._poke_pending.set()
            self._worker.notify(self._poke, self._on_change)

    def _poke(self, on_change: Callable[[], object]) -> None:
        self._poke_pending.clear()  # first: a change from here on deserves another call
        on_change()

    def _pause(self, why: str, longest: float) -> None:
        self._failures += 1
        LOG.info("informer %s: %s", self.prefix, why)
        self._worker.stopping.wait(jittered(backoff(self._failures, cap=longest)))
