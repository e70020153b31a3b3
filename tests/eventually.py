"""Waiting for what must become true, without a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], *, timeout: float = 60.0) -> T:
    """What `look` returns as soon as that is true; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < end, f"not within {timeout} s (last: {found!r})"
        time.sleep(0.02)
    return found
