"""The processes of a lab host, read from /proc: nothing is remembered, so nothing is remembered wrongly.

A host has a PID namespace, hence its processes are those in the namespace of its holder.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from haqn.exceptions import HostError

_PROC = Path("/proc")
_SETTLE_TIME = 10.0
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """One process, by its number on the machine and by its number within its host."""

    pid: int
    inner_pid: int
    parent: int
    name: str
    state: str

    @property
    def started_at(self) -> float:
        """Seconds of the wall clock, to about a hundredth; infinite if it has gone."""
        try:
            fields = (_PROC / str(self.pid) / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return math.inf
        # proc(5): the 22nd field, in clock ticks since boot; the second one may contain spaces
        ticks = fields.rpartition(") ")[2].split()[19]
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
        return time.time() - age

    @property
    def is_holder(self) -> bool:
        return self.inner_pid == 1

    @property
    def stopped(self) -> bool:
        return self.state == "T"


def read(pid: int) -> Process | None:
    """The process of this number; None if it has gone, or has ended and waits for its parent."""
    try:
        status = (_PROC / str(pid) / "status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    state = fields["State"][0]
    if state in "ZX":
        return None
    return Process(pid, int(fields["NSpid"].split()[-1]), int(fields["PPid"]), fields["Name"], state)


def all_pids() -> Iterator[int]:
    """Numbers of all processes on the machine."""
    return (int(entry) for entry in os.listdir(_PROC) if entry.isdigit())


def of_host(holder: int) -> list[Process]:
    """All processes of the host, its holder left out."""
    namespace = _pid_namespace(holder)
    if namespace is None:
        return []
    found = (read(pid) for pid in all_pids() if _pid_namespace(pid) == namespace)
    return [process for process in found if process is not None and not process.is_holder]


def with_descendants(processes: list[Process], pid: int) -> list[Process]:
    """Of `processes`, that one and its children's children; parents come first."""
    chosen = [process for process in processes if process.pid == pid]
    for parent in chosen:
        chosen.extend(process for process in processes if process.parent == parent.pid)
    return chosen


def environment(pid: int) -> dict[str, str]:
    """What the process was started with; empty if it has gone."""
    try:
        data = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in data.decode(errors="replace").split("\0") if "=" in entry)


def send(processes: Iterable[Process], number: signal.Signals) -> None:
    """Send a signal to each; those that are gone are left out in silence."""
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def freeze(find: Callable[[], list[Process]]) -> None:
    """SIGSTOP whatever `find` finds, until it finds nothing that runs (a process may have forked meanwhile)."""

    def settled() -> bool:
        running = [process for process in find() if not process.stopped]
        send(running, signal.SIGSTOP)
        return not running

    wait_until(settled, "stop the processes")


def kill(find: Callable[[], list[Process]]) -> None:
    """SIGKILL whatever `find` finds, frozen first: a parent must not see its child die and act on it."""
    freeze(find)
    sent: set[int] = set()

    def settled() -> bool:
        left = find()
        send(left, signal.SIGKILL)
        sent.update(process.pid for process in left)
        # one may be found no more because its parent has ended, and not have ended itself
        return not left and not any(map(read, sent))

    wait_until(settled, "kill the processes")


def wait_until(condition: Callable[[], bool], what: str, timeout: float = _SETTLE_TIME) -> None:
    """Ask until the answer is yes; HostError after `timeout` seconds. `what` completes "cannot ..."."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise HostError(f"cannot {what}: not done after {timeout:g} s")
        time.sleep(_POLL)


def _pid_namespace(pid: int) -> str | None:
    try:
        return os.readlink(_PROC / str(pid) / "ns" / "pid")
    except OSError:
        return None
