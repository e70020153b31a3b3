"""gunicorn's worker with threads, with a limit to the time of a whole request.

A client that sends or reads slowly holds a thread, and gunicorn by itself lets it. SQL that takes long is ended earlier
(`haqn.db.session`), so that there is an answer.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

#: Seconds that a thread computes while others wait: a short request must not wait for each long one in turn.
_SWITCH_INTERVAL = 0.001
#: Seconds between looks.
_INTERVAL = 0.5


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """Cuts the connection of a request that takes longer than gunicorn's own setting `timeout`, in seconds."""

    def init_process(self) -> None:
        sys.setswitchinterval(_SWITCH_INTERVAL)
        self._working: dict[Any, float] = {}
        threading.Thread(target=self._cut_slow_ones, name="request-timeout", daemon=True).start()
        super().init_process()

    def handle(self, conn: Any) -> Any:  # noqa: ANN401 gunicorn has no types
        self._working[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            del self._working[conn]

    def _cut_slow_ones(self) -> None:
        while True:
            time.sleep(_INTERVAL)
            latest = time.monotonic() - self.cfg.timeout
            for conn, began in list(self._working.items()):
                if began < latest:
                    self.log.warning("cut off %s after %s s", conn.client, self.cfg.timeout)
                    # the thread that reads or writes it sees an end; it may be closed already
                    with suppress(OSError):
                        conn.sock.shutdown(socket.SHUT_RDWR)
