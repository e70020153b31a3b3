"""One lazy connection an endpoint, and which endpoint is in use. Thread-safe; safe across fork.

Nothing connects before it is asked to. A child of fork() never uses, closes or finalises
its parent's connections: they stay referenced, unused, and the child makes its own.
"""

from __future__ import annotations

import os
import random
import threading
import weakref
from collections.abc import Sequence
from typing import ClassVar

from haqn.coordination.stubs import Connection, Credentials, connect
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
        self._closed = False
        self._lock = threading.Lock()
        self._of_parent: list[dict[str, Connection]] = []
        Connections._instances.add(self)

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def current_endpoint(self) -> str:
        return self._endpoints[self._current]

    def get(self, endpoint: str, timeout: float) -> Connection:
        """The connection to `endpoint`, made if need be within `timeout` seconds; raises as `stubs.connect` does."""
        with self._lock:
            if self._closed:
                raise Unavailable("cannot use etcd: the client was closed")
            connection = self._open.get(endpoint)
        if connection is not None:
            return connection
        made = connect(endpoint, self._credentials, timeout)
        with self._lock:
            return self._open.setdefault(endpoint, made)

    def drop(self, endpoint: str, *, rotate: bool) -> None:
        """Forget the connection; with `rotate`, go on to the next endpoint if this one is still the current one."""
        with self._lock:
            self._open.pop(endpoint, None)
            if rotate and self.current_endpoint == endpoint:
                self._current = (self._current + 1) % len(self._endpoints)

    def close(self) -> None:
        """Let go of all connections, for ever. They end once the last call on them has ended."""
        with self._lock:
            self._closed = True
            self._open.clear()

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self._of_parent.append(self._open)
        self._open = {}

    @classmethod
    def _forget_all_of_parent(cls) -> None:
        for connections in list(cls._instances):
            connections._after_fork_in_child()


os.register_at_fork(after_in_child=Connections._forget_all_of_parent)
