"""Token buckets that all workers of this API share: a table in memory that forked processes have in common.

A bucket is one number, the time at which it will be full again (the "theoretical arrival time" of ITU-T I.371's generic
cell rate algorithm, GCRA), so a bucket that is full is no state at all. Knows keys as texts; what they mean is decided
elsewhere. Why not a library or a database: `doc/adr/0007-shared-token-buckets.md`.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from haqn.clock import Clock, SystemClock

#: seconds that additions of floating point numbers may be wrong by
_ROUNDING = 1e-6
#: buckets in a row: those whose keys have the same hash
_WAYS = 8
#: a key's tag and the time at which its bucket is full, for each bucket of the row
_ROW = struct.Struct("=" + "Qd" * _WAYS)


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a bucket fills, and how much it holds."""

    per_second: float
    burst: int

    @property
    def interval(self) -> float:
        """Seconds for one token."""
        return 1.0 / self.per_second


class SharedBuckets:
    """Make it before the workers are forked. Of more than `rows` x 8 keys, the fullest buckets are forgotten."""

    def __init__(self, clock: Clock | None = None, *, rows: int = 8192) -> None:
        self._clock: Clock = clock or SystemClock()
        # the key of the hash: nobody can choose names that share a bucket
        self._secret = secrets.token_bytes(16)
        self._file = os.memfd_create("haqn-buckets", os.MFD_CLOEXEC)
        self._rows = rows
        os.ftruncate(self._file, rows * _ROW.size)
        self._table = mmap.mmap(self._file, rows * _ROW.size)
        # the file's locks are between processes only
        self._lock = threading.Lock()

    def take(self, key: str, rate: Rate) -> float:
        """Take a token from the bucket of `key`; 0.0, or the seconds until there will be one (none is taken)."""
        digest = hashlib.blake2b(key.encode(errors="replace"), digest_size=16, key=self._secret).digest()
        number, tag = struct.unpack("=QQ", digest)
        offset = number % self._rows * _ROW.size
        with self._locked(offset):
            now = self._clock.monotonic()
            row = list(_ROW.unpack_from(self._table, offset))
            place = _place_of(row, tag)
            full_at = max(row[place + 1], now) if row[place] == tag else now
            wait = full_at - now - (rate.burst - 1) * rate.interval
            if wait > _ROUNDING:
                return wait
            row[place : place + 2] = tag, full_at + rate.interval
            _ROW.pack_into(self._table, offset, *row)
        return 0.0

    @contextmanager
    def _locked(self, offset: int) -> Iterator[None]:
        """The kernel gives the lock back when its process dies."""
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX, _ROW.size, offset)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _ROW.size, offset)


def _place_of(row: list[float], tag: int) -> int:
    """Where the tag is in the row, or else the bucket that is full, or will be first."""
    places = range(0, len(row), 2)
    found = next((place for place in places if row[place] == tag), None)
    return min(places, key=lambda place: row[place + 1]) if found is None else found
