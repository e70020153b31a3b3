"""Telling the leader that there is news in the outbox. A hint: the leader reads the outbox by itself, only later."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.exceptions import CoordinationError

LOG = logging.getLogger(__name__)

#: Seconds for one nudge; later than that the leader has looked by itself.
_PATIENCE = 2.0


class Nudge(Protocol):
    """Whom the API tells of a change after it was committed."""

    def poke(self, outbox_id: int) -> None:
        """There is an outbox line `outbox_id`. Returns at once and never raises."""
        ...


class NoNudge:
    """Tells nobody."""

    def poke(self, outbox_id: int) -> None:
        pass


class EtcdNudge:
    """Writes the number of the last outbox line to etcd, from a thread of its own.

    However many changes there are while one write is under way, one more write follows. A write that fails is not
    tried again.
    """

    def __init__(self, etcd: Etcd) -> None:
        """Create and start it in the process that uses it (after fork)."""
        self._etcd = etcd
        self._news = threading.Event()
        self._stopping = False
        self._last = 0
        self._thread = threading.Thread(target=self._run, name="nudge", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop after the write that is under way."""
        self._stopping = True
        self._news.set()
        self._thread.join()

    def poke(self, outbox_id: int) -> None:
        self._last = outbox_id
        self._news.set()

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if self._stopping:
                return
            try:
                self._etcd.put(keys.NUDGE, str(self._last).encode(), deadline=_PATIENCE)
            except CoordinationError as error:
                LOG.info("the leader is not told of outbox line %d, it will find it: %s", self._last, error)
