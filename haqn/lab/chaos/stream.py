"""The program that keeps a TCP connection busy: lines to an echo server, one at a time, for as long as it lasts.

Runs alone: standard library only. `serve PORT` echoes; `send ADDRESS PORT` connects, sends and connects again when a
connection breaks, or has answered nothing for TIMEOUT seconds. Each line on its standard input is a question; the
answer is `{"answered": lines, "last": milliseconds of CLOCK_MONOTONIC, "connections": how many so far}`. Both end when
it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time

TIMEOUT = 10.0
_PAUSE = 0.1


class Sender:
    """One connection after the other; see the module."""

    def __init__(self, address: str, port: int) -> None:
        self._target = (address, port)
        self.answered = 0
        self.last = 0.0
        self.connections = 0

    def run(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self._converse()
            time.sleep(_PAUSE)

    def report(self) -> str:
        return json.dumps({"answered": self.answered, "last": self.last, "connections": self.connections})

    def _converse(self) -> None:
        with socket.create_connection(self._target, timeout=2.0) as connection:
            connection.settimeout(TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            answers = connection.makefile("rb")
            while True:
                line = b"%d\n" % self.answered
                connection.sendall(line)
                if answers.readline() != line:
                    return
                self.answered += 1
                self.last = time.monotonic() * 1000
                time.sleep(_PAUSE)


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        # of a peer that is gone for good
        connection.settimeout(6 * TIMEOUT)
        while data := connection.recv(4096):
            connection.sendall(data)


def _serve(port: int) -> None:
    server = socket.create_server(("", port), backlog=64)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def main(arguments: list[str]) -> int:
    """Do what the first argument says until standard input ends."""
    if arguments[0] == "serve":
        threading.Thread(target=_serve, args=(int(arguments[1]),), daemon=True).start()
        sys.stdin.read()
    else:
        sender = Sender(arguments[1], int(arguments[2]))
        threading.Thread(target=sender.run, daemon=True).start()
        for _ in sys.stdin:
            print(sender.report(), flush=True)
    sys.stdout.flush()
    # daemon threads may hold locks of the interpreter
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
