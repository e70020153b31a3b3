"""Sends the router advertisements of all routers of this host and answers solicitations (RFC 4861, section 6.2).

One process with one raw socket a router: a socket stays in the namespace that it was opened in. What a router says is
made by the agent, a file a router (see `parse`); here it is only said, at its times. Both members of a pair say the
same, the gate lets only the open one be heard, and a takeover changes nothing here.

It never says goodbye (section 6.2.5: a last advertisement with a lifetime of 0): a member that leaves, or a program
that ends, must not make hosts drop a router that the other member goes on being.

`advertiser.pid`  which process it is (haqn/onlyone.py)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

from haqn import onlyone
from haqn.advertiser.timing import Schedule

PID_FILE = "advertiser.pid"
SUFFIX = ".ra"

_ROUTER_SOLICITATION = 133
_ALL_NODES = "ff02::1"
_HOP_LIMIT = 255
#: linux/icmpv6.h: a mask of the types that a raw socket does not want
_ICMPV6_FILTER = 1
_CLONE_NEWNET = 0x40000000
#: seconds between looks whether the agent has written something
_LOOK = 1.0
#: seconds within which two changes of a directory may have the same time
_CLOCK_GRAIN = 0.1
_PACKET_INFO = struct.Struct("=16sI")

_libc = ctypes.CDLL(None, use_errno=True)


def parse(text: str) -> tuple[str, int, dict[int, bytes]]:
    """(namespace's path, its inode, index of a device -> advertisement) of a file.

    The first line is `<path> <inode>`, each other one `<ifindex> <ICMPv6 message in hexadecimal digits>`.
    """
    first, *lines = text.splitlines()
    path, inode = first.split()
    return path, int(inode), {int(index): bytes.fromhex(message) for index, message in map(str.split, lines)}


def open_socket(path: str, inode: int) -> socket.socket:
    """A raw ICMPv6 socket in the namespace, which hears solicitations only.

    Raises OSError; also when the path leads to another namespace than `inode` meanwhile.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(target).st_ino != inode:
                raise FileNotFoundError(f"{path} is another namespace now")
            _set_namespace(target)
            try:
                raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6)
            finally:
                _set_namespace(home)
        finally:
            os.close(target)
    finally:
        os.close(home)
    raw.setblocking(False)
    blocked = bytearray(b"\xff" * 32)
    blocked[_ROUTER_SOLICITATION // 8] &= ~(1 << _ROUTER_SOLICITATION % 8) & 0xFF
    raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, bytes(blocked))
    for option, value in (
        (socket.IPV6_MULTICAST_HOPS, _HOP_LIMIT),
        (socket.IPV6_MULTICAST_LOOP, 0),
        (socket.IPV6_RECVPKTINFO, 1),
        (socket.IPV6_RECVHOPLIMIT, 1),
    ):
        raw.setsockopt(socket.IPPROTO_IPV6, option, value)
    return raw


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot change the network namespace")


class Router:
    """One router: its socket, what it says on each of its devices, and when."""

    def __init__(self, path: str, inode: int) -> None:
        self.namespace = (path, inode)
        self.socket = open_socket(path, inode)
        self._messages: dict[int, bytes] = {}
        self._schedules: dict[int, Schedule] = {}

    def say(self, messages: dict[int, bytes], now: float) -> None:
        """From now on, say this."""
        for index, message in messages.items():
            if index not in self._schedules:
                self._schedules[index] = Schedule(now)
            elif self._messages[index] != message:
                self._schedules[index].begin(now)
        for index in self._schedules.keys() - messages.keys():
            del self._schedules[index]
        self._messages = messages

    def next_due(self) -> float:
        """When to call `send_due`."""
        return min((schedule.due for schedule in self._schedules.values()), default=float("inf"))

    def send_due(self, now: float) -> None:
        for index, schedule in self._schedules.items():
            if schedule.due <= now:
                # a device that is gone or down: the agent will write what is so, or mend it
                with contextlib.suppress(OSError):
                    self.socket.sendto(self._messages[index], (_ALL_NODES, 0, 0, index))
                schedule.sent(now)

    def hear(self, now: float) -> None:
        """Take the solicitations that have come."""
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(1500, 256)
            except OSError:  # nothing more
                return
            index = _valid_solicitation(data, ancillary)
            if index in self._schedules:
                self._schedules[index].solicited(now)


def _valid_solicitation(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> int:
    """The index of the device that a valid solicitation came by (RFC 4861, section 6.1.1), or 0."""
    values = {kind: value for _, kind, value in ancillary}
    (hop_limit,) = struct.unpack("=i", values.get(socket.IPV6_HOPLIMIT, bytes(4)))
    if len(data) < 8 or data[1] != 0 or hop_limit != _HOP_LIMIT or socket.IPV6_PKTINFO not in values:
        return 0
    index: int = _PACKET_INFO.unpack(values[socket.IPV6_PKTINFO])[1]
    return index


class Daemon:
    """All routers whose files are in the directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._routers: dict[str, Router] = {}
        self._files: dict[str, tuple[int, int]] = {}
        #: file -> why it cannot be carried out; it is tried again
        self._errors: dict[str, str] = {}
        self._seen = -1
        self._poller = select.epoll()
        self._by_descriptor: dict[int, Router] = {}

    def look(self) -> None:
        """Take in what the agent has written since the last look."""
        modified = os.stat(self._directory).st_mtime_ns
        if modified == self._seen:
            return
        # what changed just now may change again without another time
        self._seen = modified if time.time() - modified / 1e9 > _CLOCK_GRAIN else -1
        files = {}
        for entry in os.scandir(self._directory):
            if entry.name.endswith(SUFFIX):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
                files[entry.name] = (status.st_ino, status.st_mtime_ns)
        for name in self._files.keys() - files.keys():
            self._forget(name)
        for name, identity in files.items():
            if self._files.get(name) != identity:
                self._load(name, identity)

    def _load(self, name: str, identity: tuple[int, int]) -> None:
        try:
            with open(f"{self._directory}/{name}") as file:
                path, inode, messages = parse(file.read())
            router = self._routers.get(name)
            if router is None or router.namespace != (path, inode):
                self._forget(name)
                router = Router(path, inode)
                self._routers[name] = router
                self._by_descriptor[router.socket.fileno()] = router
                self._poller.register(router.socket.fileno(), select.EPOLLIN)
            router.say(messages, time.monotonic())
            self._files[name] = identity
            self._errors.pop(name, None)
        except (OSError, ValueError) as error:
            if self._errors.get(name) != str(error):
                print(f"haqn-advertiser: {name}: {error}", file=sys.stderr, flush=True)
            self._forget(name)
            self._errors[name] = str(error)
            self._seen = -1

    def _forget(self, name: str) -> None:
        self._files.pop(name, None)
        self._errors.pop(name, None)
        router = self._routers.pop(name, None)
        if router is not None:
            del self._by_descriptor[router.socket.fileno()]
            router.socket.close()

    def step(self) -> None:
        """Wait for the next thing to do, for a second at most, and do it."""
        due = min((router.next_due() for router in self._routers.values()), default=float("inf"))
        pause = max(0.0, min(due - time.monotonic(), _LOOK))
        ready = self._poller.poll(pause)
        now = time.monotonic()
        for descriptor, _ in ready:
            self._by_descriptor[descriptor].hear(now)
        for router in self._routers.values():
            if router.next_due() <= now:
                router.send_due(now)
        self.look()


def find(directory: str) -> tuple[int, str] | None:
    """(process id, version) of the one that runs; None: there is none, or it has just begun."""
    return onlyone.find(f"{directory}/{PID_FILE}")


def run(directory: str, version: str) -> int:
    """Advertise until SIGTERM. Exit status 1: another one runs."""
    if not onlyone.take(f"{directory}/{PID_FILE}", version):
        return 1
    # a socket a router
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    daemon = Daemon(directory)
    daemon.look()
    while not ended:
        daemon.step()
    return 0
