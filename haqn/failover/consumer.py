"""Carries out what keepalived writes to its notification FIFO, in order, for as long as keepalived lives.

Becoming MASTER: open the gate, raise the role level, point the local bridges here, announce. Anything else: close the
gate; if it was MASTER before, drop the role level. Knows gates, files and announcements; knows nothing of what is in
routers.
Format of a line (keepalived.conf(5), vrrp_notify_fifo): `INSTANCE "P65536" MASTER 130`.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import socket
import sys
import time

from haqn.failover import announce
from haqn.failover.gate import Gate
from haqn.failover.state import BACKUP_LEVEL, MASTER, TOOK_OVER_LEVEL, StateDirectory

_EVENT = re.compile(r'^INSTANCE "P(\d+)" (MASTER|BACKUP|FAULT|STOP|DELETED) \d+$')
#: seconds after a takeover at which the announcements are sent again: a frame may be lost, and the host that gave way
#: may have sent one of its own after ours
_REPEATS = (0.05, 0.5, 2.0)
_NICE = -15


def parse(line: str) -> tuple[int, str] | None:
    """(pair, VRRP state) of a line that is about an instance of ours; STOP and DELETED are the end of BACKUP, too."""
    match = _EVENT.match(line.strip())
    if not match:
        return None
    state = match[2]
    return int(match[1]), state if state in (MASTER, "FAULT") else "BACKUP"


class Consumer:
    """Reads one FIFO; see `run`."""

    def __init__(self, directory: StateDirectory, lease_ms: int, agent_socket: str) -> None:
        self._directory = directory
        self._lease_ms = lease_ms
        self._agent_socket = agent_socket
        self._gate = Gate()
        self._poke = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        #: (monotonic time, pair) of announcements to send again
        self._due: list[tuple[float, int]] = []

    def handle(self, events: list[tuple[int, str]]) -> None:
        """Gates first, for all of the events; then forwarding entries and announcements of what was won."""
        won: list[int] = []
        with self._directory.locked():
            for pair, state in events:
                # keepalived also tells states that are no transitions: at its start and after a reload
                was_master = self._directory.is_master(pair)
                if state == MASTER:
                    self._open(pair)
                    if not was_master:
                        self._directory.raise_role(pair, TOOK_OVER_LEVEL)
                        won.append(pair)
                else:
                    self._gate.close(pair)
                    if was_master:
                        self._directory.write_role(pair, BACKUP_LEVEL)
                    won = [other for other in won if other != pair]
                self._directory.write_observed(pair, state)
        rows = [row for pair in won for row in self._rows(pair)]
        announce.claim(rows)
        announce.announce(rows)
        now = time.monotonic()
        self._due += [(now + delay, pair) for pair in won for delay in _REPEATS]
        self._tell_agent()

    def _rows(self, pair: int) -> list[announce.Row]:
        return [announce.Row.parse(line) for line in self._directory.rows(pair)]

    def _open(self, pair: int) -> None:
        try:
            self._gate.open(pair, self._lease_ms)
        except OSError as error:
            # the refresh will find a MASTER whose gate is shut, and let keepalived give the pair to its peer
            print(f"haqn-failover: pair {pair}: {error}", file=sys.stderr, flush=True)

    def repeat(self) -> None:
        """Send the announcements that are due again, of pairs that are still MASTER here."""
        now = time.monotonic()
        due = {pair for at, pair in self._due if at <= now}
        self._due = [(at, pair) for at, pair in self._due if at > now]
        for pair in sorted(due):
            if self._directory.is_master(pair):
                announce.announce(self._rows(pair))

    def next_due(self) -> float | None:
        """Seconds until `repeat` has something to do; None: nothing is due."""
        return max(0.0, min(at for at, _ in self._due) - time.monotonic()) if self._due else None

    def _tell_agent(self) -> None:
        try:
            self._poke.sendto(b"state\n", self._agent_socket)
        except OSError:  # the agent is away: it reads the files when it starts
            pass


def run(directory: str, lease_ms: int, fifo: str) -> int:
    """Consume until keepalived closes the FIFO or stops this process. Exit status 1: another consumer lives."""
    lock = os.open(f"{directory}/consumer.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + 2  # a predecessor may still be leaving
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                return 1
            time.sleep(0.02)
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    try:
        os.nice(_NICE)
    except PermissionError:
        pass
    consumer = Consumer(StateDirectory(directory), lease_ms, f"{directory}/agent.sock")
    # keepalived stops its children with SIGTERM right after it has written STOP events: read those first
    signal.signal(signal.SIGTERM, lambda *_: None)
    wakeup_read, wakeup_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakeup_write)
    pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    poller.register(wakeup_read, select.POLLIN)
    buffer = b""
    while True:
        due = consumer.next_due()
        ready = dict(poller.poll(None if due is None else due * 1000 + 1))
        if pipe in ready:
            data = os.read(pipe, 65536) if ready[pipe] & select.POLLIN else b""
            if not data:
                return 0
            *lines, buffer = (buffer + data).split(b"\n")
            events = [event for line in lines if (event := parse(line.decode(errors="replace")))]
            try:
                consumer.handle(events)
            except OSError as error:
                print(f"haqn-failover: {error}", file=sys.stderr, flush=True)
            continue
        if wakeup_read in ready:
            return 0
        consumer.repeat()
