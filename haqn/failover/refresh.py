"""keepalived's once-a-second check: begins a new kernel lease for each open gate.

keepalived runs it, so no gate is refreshed when keepalived is dead or frozen, and the kernel closes them. A reload of
keepalived ends a check in the middle; the agent does not begin another reload before one has come to its end.
Exit status 0: all is well. 1: a gate that should be open has run out (this host was frozen for longer than the
lease), or the consumer is dead or stuck (a new one is started); keepalived then puts its instances into FAULT, and
the peer has them.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
import time

from haqn import onlyone
from haqn.failover.gate import Gate
from haqn.failover.state import CONSUMER, StateDirectory

#: how long lines may wait in the FIFO before the consumer counts as stuck, in seconds
_STUCK_AFTER = 0.6
#: how long the consumer may take to start, in seconds
_ABSENT_AFTER = 1.0
_START_TIMEOUT = 2.0
#: the module `signal` brings enum along, and is slow to import
_SIGKILL = 9
#: seconds between looks whether it has
_LOOK = 0.01


def refresh_gates(directory: StateDirectory, lease_ms: int) -> list[int]:
    """Refresh the gates of all pairs that are MASTER here; returns those whose lease had run out."""
    with Gate() as gate, directory.locked():
        if not gate.exists():
            raise OSError("cannot find the gate (nftables table bridge haqn): somebody has removed it")
        return [pair for pair in directory.masters() if not gate.refresh(pair, lease_ms)]


def find_consumer(directory: str) -> tuple[int, str] | None:
    """(process id, path of its program) of the living consumer; None: there is none."""
    return onlyone.find(f"{directory}/{CONSUMER}")


def backlog(fifo: str) -> int:
    """Bytes in the FIFO that nobody has read; 0 when it is not there."""
    try:
        pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return int(struct.unpack("=i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0])
    finally:
        os.close(pipe)


def wait_for_consumer(directory: str, seconds: float = _ABSENT_AFTER) -> int | None:
    """The consumer's process id; it may be starting at this very moment, so it has a while to appear."""
    deadline = time.monotonic() + seconds
    while (found := find_consumer(directory)) is None and time.monotonic() < deadline:
        time.sleep(_LOOK)
    return found[0] if found else None


def is_stuck(fifo: str) -> bool:
    """Whether the FIFO has been holding unread lines for too long."""
    deadline = time.monotonic() + _STUCK_AFTER
    while backlog(fifo):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.05)
    return False


def start_consumer(program: list[str], directory: str, lease_ms: int, fifo: str) -> None:
    """Start a consumer that outlives this process, and is no child of it; it reads what waits in the FIFO."""
    import subprocess  # noqa: PLC0415 - rarely needed, and slow to import

    subprocess.run(
        ["/usr/bin/setsid", "--fork", *program, "consume", directory, str(lease_ms), fifo],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=_START_TIMEOUT,
    )


def run(directory: str, lease_ms: int, fifo: str) -> int:
    """One check; the exit status is keepalived's answer."""
    with open(f"{directory}/refreshed", "w"):
        pass
    status = _check(directory, lease_ms, fifo)
    with open(f"{directory}/checked", "w"):
        pass
    return status


def _check(directory: str, lease_ms: int, fifo: str) -> int:
    consumer = wait_for_consumer(directory)
    if consumer is not None and is_stuck(fifo):
        os.kill(consumer, _SIGKILL)
        consumer = None
    if consumer is None:
        start_consumer([sys.executable, "-SIE", sys.argv[0]], directory, lease_ms, fifo)
        return 1
    try:
        return 1 if refresh_gates(StateDirectory(directory), lease_ms) else 0
    except OSError as error:
        print(f"haqn-failover: {error}", file=sys.stderr, flush=True)
        return 1
