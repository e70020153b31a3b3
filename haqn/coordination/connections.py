"""One lazy connection an endpoint, and which endpoint is in use. Thread-safe; safe across fork.

Threads that want the same endpoint at once wait for one connection; it is forgotten only by those whose own it was.
A token outlives its connection, and counts on all members, so that clients that come back all at once do not ask etcd
for a hash each. Nothing connects before it is asked to. A child of fork() never uses, closes or finalises
its parent's connections: they stay referenced, unused, and the child makes its own.
"""

from __future__ import annotations

import os
import random
import threading
import weakref
from collections.abc import Sequence
from typing import ClassVar

from haqn.coordination.stubs import Connection, Credentials, NoAnswer, connect
from haqn.exceptions import Unavailable


class Connections:
    """The endpoints of one cluster. The current one is used until it is reported as bad."""

    _instances: ClassVar[weakref.WeakSet[Connections]] = weakref.WeakSet()

    def __init__(self, endpoints: Sequence[str], credentials: Credentials, *, shuffle: bool = True) -> None:
        """`endpoints` are `host:port`; they are shuffled so that clients spread over the members."""
        if not endpoints:
            raise ValueError("cannot use etcd without endpoints")
        self._endpoints = list(endpoints)
        if shuffle:
            random.shuffle(self._endpoints)
        self._credentials = credentials
        self._current = 0
        self._open: dict[str, Connection] = {}
        self._token: str | None = None
        self._closed = False
        self._make_locks()
        self._of_parent: list[dict[str, Connection]] = []
        Connections._instances.add(self)

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def current_endpoint(self) -> str:
        return self._endpoints[self._current]

    def get(self, endpoint: str, timeout: float) -> Connection:
        """The connection to `endpoint`, made if need be within `timeout` seconds; raises as `stubs.connect` does."""
        connection = self._find(endpoint)
        if connection is not None:
            return connection
        connecting = self._connecting[endpoint]
        if not connecting.acquire(timeout=timeout):
            raise NoAnswer
        try:
            # another thread may have made it meanwhile
            connection = self._find(endpoint) or connect(endpoint, self._credentials, timeout, self._token)
            with self._lock:
                self._open[endpoint] = connection
                self._token = connection.token
            return connection
        finally:
            connecting.release()

    def _find(self, endpoint: str) -> Connection | None:
        with self._lock:
            if self._closed:
                raise Unavailable("cannot use etcd: the client was closed")
            return self._open.get(endpoint)

    def drop(self, endpoint: str, connection: Connection | None, *, rotate: bool) -> None:
        """Forget the connection, if there was one, and if no other has taken its place.

        With `rotate`, go on to the next endpoint if this one is still the current one; without, it is the token that
        is good no longer.
        """
        with self._lock:
            if connection is not None and self._open.get(endpoint) is connection:
                del self._open[endpoint]
            if not rotate and (connection is None or self._token == connection.token):
                self._token = None
            if rotate and self.current_endpoint == endpoint:
                self._current = (self._current + 1) % len(self._endpoints)

    def close(self) -> None:
        """Let go of all connections, for ever. They end once the last call on them has ended."""
        with self._lock:
            self._closed = True
            self._open.clear()

    def _make_locks(self) -> None:
        self._lock = threading.Lock()
        self._connecting = {endpoint: threading.Lock() for endpoint in self._endpoints}

    def _after_fork_in_child(self) -> None:
        self._make_locks()
        self._of_parent.append(self._open)
        self._open = {}

    @classmethod
    def _forget_all_of_parent(cls) -> None:
        for connections in list(cls._instances):
            connections._after_fork_in_child()


os.register_at_fork(after_in_child=Connections._forget_all_of_parent)
