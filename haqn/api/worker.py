"""gunicorn's worker with threads, with a limit to the time of a whole request, and refusals that cost no thread.

A client that sends or reads slowly holds a thread, and gunicorn by itself lets it. SQL that takes long is ended earlier
(`haqn.db.session`), so that there is an answer. Whom to refuse, and how, is the door's (`haqn.api.door`).
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from haqn.api.door import Door

#: Seconds that a thread computes while others wait: a short request must not wait for each long one in turn.
_SWITCH_INTERVAL = 0.001
#: Seconds between looks.
_INTERVAL = 0.5
#: Bytes of a request that are looked at; longer ones take the long way.
_PEEK = 8192


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

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:  # noqa: ANN401 gunicorn has no types
        """A connection that was used before has something: refuse it here, or leave it to a thread."""
        if not self._refused_at_the_door(conn):
            super().on_client_socket_readable(conn, client)

    def _refused_at_the_door(self, conn: Any) -> bool:  # noqa: ANN401 gunicorn has no types
        door: Door = self.app.door
        # what TLS has deciphered cannot be looked at without taking it
        if door.is_open or self.cfg.is_ssl or not self.alive:
            return False
        try:
            received = conn.sock.recv(_PEEK, socket.MSG_PEEK)
            answer = door.refusal(received, conn.client[0])
            if answer is None:
                return False
            if conn.sock.send(answer) < len(answer):
                # the client does not read its answers
                conn.sock.shutdown(socket.SHUT_RDWR)
                return False
            conn.sock.recv(len(received))
        except OSError:
            # the thread finds out what it is
            return False
        self.keepalived_conns.remove(conn)
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        return True

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
