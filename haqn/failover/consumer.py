"""Carries out what keepalived writes to its notification FIFO, in order.

Not started by keepalived (whose notify_fifo_script is killed at each reload, with what it has not read yet), but by the
agent, and by keepalived's check (refresh.py) when it is gone; it outlives both.

Becoming MASTER: open the gate, raise the role level, point the local bridges here, announce. Anything else: close the
gate; if it was MASTER before, drop the role level (levels.py). Pairs that yield are looked after meanwhile
(yielding.py), and so are those that somebody else has spoken for (moves.py). Knows gates, files and announcements;
knows nothing of what is in routers.
Format of a line (keepalived.conf(5), vrrp_notify_fifo): `INSTANCE "P65536" MASTER 130`.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

from haqn import onlyone
from haqn.failover import announce
from haqn.failover.gate import Gate
from haqn.failover.levels import BACKUP_LEVEL, MASTER, level_after
from haqn.failover.moves import Moves
from haqn.failover.state import CONSUMER, StateDirectory
from haqn.failover.yielding import Yielding

DELETED = "DELETED"
#: a MASTER has heard another one that will give way: that one may have been taken for the router's host meanwhile
CONTESTED = "MASTER_RX_LOWER_PRI"
_EVENT = re.compile(rf'^INSTANCE "P(\d+)" (MASTER|BACKUP|FAULT|STOP|{DELETED}|{CONTESTED}) \d+$')
#: seconds after a takeover at which the announcements are sent again, those of floating addresses too: a frame may
#: be lost, and the host that gave way may have sent one of its own after ours
_REPEATS = (0.05, 0.5, 2.0)
#: so many of them in one go, for an event may be waiting, and seconds until the next ones
_IN_ONE_GO, _BREATH = 400, 0.01
#: seconds after which a contested pair is announced again
_CONTESTED_PAUSE = 1.0
#: the same for one that somebody else speaks for whom keepalived does not hear: once more after each of these pauses,
#: and no more until it has been quiet for so long. Two that both go on must not take the traffic in turns for ever
_SPOKEN_FOR_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
_QUIET_AGAIN = 60.0
_NICE = -15
#: milliseconds between looks whether the FIFO is still the one that the path leads to
_LOOK_MS = 1000


def parse(line: str) -> tuple[int, str] | None:
    """(pair, VRRP state, DELETED or CONTESTED) of a line about an instance of ours; a stopped one is a BACKUP."""
    match = _EVENT.match(line.strip())
    if not match:
        return None
    state = match[2]
    return int(match[1]), "BACKUP" if state == "STOP" else state


class Consumer:
    """Reads one FIFO; see `run`."""

    def __init__(
        self,
        directory: StateDirectory,
        lease_ms: int,
        agent_socket: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._lease_ms = lease_ms
        self._agent_socket = agent_socket
        self._gate = Gate()
        self._announcer = announce.Announcer()
        self._poke = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        #: (time of the clock, pair, number of the first row) of announcements to send again
        self._due: list[tuple[float, int, int]] = []
        #: pair -> (how often it was announced because of somebody else who spoke for it, when that was heard last)
        self._spoken_for: dict[int, tuple[int, float]] = {}

    def close(self) -> None:
        """Let go of the kernel; the gates stay as they are."""
        self._gate.__exit__()
        self._announcer.close()
        self._poke.close()

    def handle(self, events: list[tuple[int, str]]) -> None:
        """Gates first, for all of the events; then forwarding entries and announcements of what was won."""
        won: list[int] = []
        contested: set[int] = set()
        with self._directory.locked():
            for pair, state in events:
                if state == DELETED or self._directory.role(pair) is None:
                    # the agent has forgotten the pair: what keepalived still says of it must not bring it back
                    self._gate.close(pair)
                    self._directory.forget_observed(pair)
                    won = [other for other in won if other != pair]
                    continue
                if state == CONTESTED:
                    contested.add(pair)
                    continue
                # keepalived also tells states that are no transitions: at its start and after a reload
                was_master = self._directory.is_master(pair)
                if state == MASTER:
                    self._open(pair)
                    won += [] if was_master else [pair]
                else:
                    self._gate.close(pair)
                    won = [other for other in won if other != pair]
                level = self._directory.role(pair) or BACKUP_LEVEL
                self._directory.write_role(pair, level_after(state, level, was_master=was_master))
                self._directory.write_observed(pair, state)
        rows = [row for pair in won for row in self._rows(pair)]
        announce.claim(rows)
        self._announcer.announce(announce.one_a_port(rows))
        now = self._clock()
        self._due += [(now + delay, pair, 0) for pair in won for delay in _REPEATS]
        # each advert of the other one is an event: once a second is enough
        contested -= {pair for _, pair, _ in self._due}
        self._due += [(now + _CONTESTED_PAUSE, pair, 0) for pair in sorted(contested)]
        if any(state != CONTESTED for _, state in events):
            self._tell_agent()

    def notice(self, learnt: set[tuple[int, bytes]]) -> None:
        """Announce again, after a while, the pairs that forward here and that somebody else has spoken for.

        `learnt`: see haqn.failover.moves.
        """
        if not learnt:
            return
        now = self._clock()
        places: dict[str, set[int]] = {}
        for port, mac in learnt:
            places.setdefault(mac.hex(":"), set()).add(port)
        waiting = {pair for _, pair, _ in self._due}
        for pair in self._directory.masters():
            if not self._is_spoken_for(pair, places):
                continue
            times, last = self._spoken_for.get(pair, (0, now))
            times = 0 if now - last > _QUIET_AGAIN else times
            if pair not in waiting and times < len(_SPOKEN_FOR_PAUSES):
                self._due.append((now + _SPOKEN_FOR_PAUSES[times], pair, 0))
                times += 1
            self._spoken_for[pair] = (times, now)

    def _is_spoken_for(self, pair: int, places: dict[str, set[int]]) -> bool:
        """Whether a MAC of it was learnt at another port than its own. `places`: MAC -> ports."""
        own = (line.split() for line in self._directory.rows(pair))
        return any(places.get(mac, set()) - {int(port)} for port, _, mac, _ in own)

    def _rows(self, pair: int) -> list[announce.Row]:
        return [announce.Row.parse(line) for line in self._directory.rows(pair)]

    def _open(self, pair: int) -> None:
        try:
            self._gate.open(pair, self._lease_ms)
        except OSError as error:
            # the refresh will find a MASTER whose gate is shut, and let keepalived give the pair to its peer
            print(f"haqn-failover: pair {pair}: {error}", file=sys.stderr, flush=True)

    def repeat(self) -> None:
        """Claim again and announce what is due, of pairs that still forward here: the other member may have spoken
        meanwhile, and a host that has just woken up may believe to be MASTER although its gate has run out."""
        now = self._clock()
        due = {(pair, first) for at, pair, first in self._due if at <= now}
        self._due = [entry for entry in self._due if entry[0] > now]
        for pair, first in sorted(due):
            if self._directory.is_master(pair) and self._gate.is_open(pair):
                rows = announce.ports_first(self._rows(pair))
                now_due = rows[first : first + _IN_ONE_GO]
                announce.claim(now_due)
                self._announcer.announce(now_due)
                if len(rows) > first + _IN_ONE_GO:
                    self._due.append((now + _BREATH, pair, first + _IN_ONE_GO))

    def next_due(self) -> float | None:
        """Seconds until `repeat` has something to do; None: nothing is due."""
        return max(0.0, min(at for at, _, _ in self._due) - self._clock()) if self._due else None

    def _tell_agent(self) -> None:
        try:
            self._poke.sendto(b"state\n", self._agent_socket)
        except OSError:  # the agent is away: it reads the files when it starts
            pass


class Fifo:
    """The notification FIFO, open for reading and writing, so that nothing that is in it is lost while keepalived
    reloads (it closes its end then), and that its end is never seen."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.descriptor = -1
        self._buffer = b""
        self.reopen_if_replaced()

    def reopen_if_replaced(self) -> bool:
        """Open the FIFO that the path leads to, and make it if there is none. True: it is another one than before."""
        try:
            os.mkfifo(self._path, 0o600)
        except FileExistsError:
            pass
        if self.descriptor >= 0:
            present, mine = os.stat(self._path), os.fstat(self.descriptor)
            if (present.st_dev, present.st_ino) == (mine.st_dev, mine.st_ino):
                return False
            os.close(self.descriptor)
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffer = b""
        return True

    def events(self) -> list[tuple[int, str]]:
        """What has been written since the last call."""
        *lines, self._buffer = (self._buffer + os.read(self.descriptor, 65536)).split(b"\n")
        return [event for line in lines if (event := parse(line.decode(errors="replace")))]


def run(directory: str, lease_ms: int, fifo_path: str) -> int:
    """Consume until SIGTERM. Exit status 1: another consumer lives."""
    if not onlyone.take(f"{directory}/{CONSUMER}", os.path.realpath(sys.argv[0])):
        return 1
    try:
        os.nice(_NICE)
    except PermissionError:
        pass
    consumer = Consumer(StateDirectory(directory), lease_ms, f"{directory}/agent.sock")
    yielding = Yielding(StateDirectory(directory))
    moves = Moves()
    # what was read is carried out before the process ends
    signal.signal(signal.SIGTERM, lambda *_: None)
    wakeup_read, wakeup_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakeup_write)
    fifo = Fifo(fifo_path)
    poller = select.poll()
    poller.register(fifo.descriptor, select.POLLIN)
    poller.register(wakeup_read, select.POLLIN)
    while True:
        due = consumer.next_due()
        ready = dict(poller.poll(_LOOK_MS if due is None else min(_LOOK_MS, due * 1000 + 1)))
        if fifo.descriptor in ready:
            try:
                consumer.handle(fifo.events())
            except OSError as error:
                print(f"haqn-failover: {error}", file=sys.stderr, flush=True)
        elif wakeup_read in ready:
            consumer.close()
            moves.close()
            return 0
        try:
            consumer.notice(moves.take(time.monotonic()))
            consumer.repeat()
            yielding.look()
        except OSError as error:
            print(f"haqn-failover: {error}", file=sys.stderr, flush=True)
        old = fifo.descriptor
        # not before everything that waits in the old one is read
        if old not in ready and fifo.reopen_if_replaced():
            poller.unregister(old)
            poller.register(fifo.descriptor, select.POLLIN)
