"""Threads of the coordination objects: one that repeats a step for ever, one that calls the application.

A worker runs in the process that started it, once. After fork() the child's copy is not
running, and cannot be started if the parent had started it. Knows nothing of etcd.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import ParamSpec

LOG = logging.getLogger(__name__)
P = ParamSpec("P")

_PAUSE_AFTER_BUG = 1.0


class Worker:
    """Repeats `step` until stopped; delivers notifications in order, in a thread of their own."""

    def __init__(self, name: str, step: Callable[[], None]) -> None:
        self._name = name
        self._step = step
        self._pid: int | None = None
        self._loop = threading.Thread(target=self._repeat, name=name, daemon=True)
        self._callbacks = threading.Thread(target=self._deliver, name=f"{name}-callbacks", daemon=True)
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.stopping = threading.Event()

    @property
    def runs_here(self) -> bool:
        """It was started by this very process, and has not been told to stop."""
        return self._pid == os.getpid() and not self.stopping.is_set()

    def start(self) -> None:
        if self._pid is not None:
            raise RuntimeError(f"cannot start {self._name} twice (process {self._pid} has started it)")
        self._pid = os.getpid()
        self._loop.start()
        self._callbacks.start()

    def notify(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have `function` called after all that were given before. What it raises is logged."""
        self._calls.put(partial(function, *args, **kwargs))

    def stop_loop(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the step in progress; no step begins afterwards."""
        self.stopping.set()
        _join(self._loop, timeout)

    def stop_callbacks(self, timeout: float) -> None:
        """Deliver what was notified so far, waiting up to `timeout` seconds, and nothing afterwards."""
        self._calls.put(None)
        _join(self._callbacks, timeout)

    def _repeat(self) -> None:
        while not self.stopping.is_set():
            try:
                self._step()
            except Exception:
                LOG.exception("%s: unexpected error; goes on", self._name)
                self.stopping.wait(_PAUSE_AFTER_BUG)

    def _deliver(self) -> None:
        for call in iter(self._calls.get, None):
            try:
                call()
            except Exception:
                LOG.exception("%s: a callback failed", self._name)


def jittered(seconds: float) -> float:
    """Between half of `seconds` and all of it, so that many clients do not act at the same moment."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load; no secret)


def _join(thread: threading.Thread, timeout: float) -> None:
    # A callback may stop the object that called it.
    if thread.ident is not None and thread is not threading.current_thread():
        thread.join(timeout)
