"""The one process of its kind on a host: a file that it keeps locked for as long as it lives, and that says who it is.

`<process id> <version>`. The kernel lets go of the lock when the process dies, however it dies, so there is nothing to
clean up, and what a dead one has left in the file counts for nothing.
Standard library only and little of it: the failover program (which takes a copy of this module along) and the
advertiser run without what is installed beside haqn. Knows nothing of what the processes do.
"""

from __future__ import annotations

import fcntl
import os
import time

#: seconds that a predecessor has to leave
_PREDECESSOR_LEAVES = 2.0
_LOOK = 0.02


def take(path: str, version: str) -> bool:
    """Become the one, until this process ends. False: there is one already, and it stays. Raises OSError."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _PREDECESSOR_LEAVES
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                return False
            time.sleep(_LOOK)
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()} {version}\n".encode())
    return True


def find(path: str) -> tuple[int, str] | None:
    """(process id, version) of the one that lives; None: there is none, or it has just begun. Raises OSError."""
    try:
        with open(path) as file:
            try:
                # shared: two that look at the same moment must not take each other for the one
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, version = file.read().strip().partition(" ")
                return (int(pid), version) if pid else None
    except FileNotFoundError:
        pass
    return None
