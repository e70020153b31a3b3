"""Routers' links, addresses and routes by raw rtnetlink(7) messages: a router costs microseconds to look at.

Reads and writes what routers are made of; bridges and VXLAN devices are the business of `haqn.linux.netlink`. Speaks
in names and plain values; every failure is a HostError that says what was tried. A handle stays in the namespace that
it was opened in, and belongs to one thread.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from haqn.exceptions import HostError
from haqn.failover import netlink
from haqn.failover.nfnetlink import text
from haqn.linux import netns
from haqn.linux.rtchanges import (
    FAMILIES,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_GROUP,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NAME,
    MAIN_TABLE,
    NEW_LINK,
    PROTOCOL,
    RTA_DESTINATION,
    RTA_GATEWAY,
    RTA_OIF,
    SCOPE_LINK,
    Address,
    Change,
    RouteEntry,
    is_link_local,
    link_body,
    number,
)

_GET_LINK, _GET_ADDRESS, _GET_ROUTE, _GET_NEIGHBOUR = 18, 22, 26, 30
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _STRICT_CHECK = 270, 12
_BATCH = 100

_IFLA_EXT_MASK, _NO_STATISTICS = 29, 8
_NDA_DST, _NDA_LLADDR, _NDA_IFINDEX = 1, 2, 8
_AF_BRIDGE = 7
_EVERYWHERE: Mapping[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
#: the thing is not there (any more)
_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class Device:
    """A network device. `group` is IFLA_GROUP, `master` the index of the bridge that it is a port of (0: none)."""

    index: int
    name: str
    mac: str
    mtu: int
    group: int
    master: int
    up: bool


# -- the handle ---------------------------------------------------------------------------


def _value(data: bytes | None) -> int:
    return int.from_bytes(data, "little") if data else 0


def _device(body: bytes) -> Device:
    index, flags = struct.unpack_from("=iI", body, 4)
    found = netlink.attributes(body, 16)
    return Device(
        index=index,
        name=found[IFLA_NAME].rstrip(b"\0").decode(),
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=_value(found.get(IFLA_MTU)),
        group=_value(found.get(IFLA_GROUP)),
        master=_value(found.get(IFLA_MASTER)),
        up=bool(flags & IFF_UP),
    )


def index(name: str) -> int:
    """The index of a device of the calling thread's namespace. Raises HostError when there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise HostError(f"cannot find network device {name}") from error


class Rtnetlink:
    """A handle on the namespace that the calling thread is in now."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.settimeout(10)
        # the kernel filters what it dumps
        self._socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
        self._sequence = 0
        #: what was changed through this handle
        self.changes: list[str] = []

    @classmethod
    def of(cls, namespace: str) -> Rtnetlink:
        """A handle on a named namespace. Raises HostError when there is none."""
        with netns.entered(namespace):
            return cls()

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    # -- reading --------------------------------------------------------------------------

    def links(self) -> dict[str, Device]:
        """All devices by name."""
        found = (_device(body) for body in self._dump(_GET_LINK, link_body() + number(_IFLA_EXT_MASK, _NO_STATISTICS)))
        return {device.name: device for device in found}

    def link(self, name: str) -> Device | None:
        """The device of that name; None: there is none."""
        body = link_body() + text(IFLA_NAME, name) + number(_IFLA_EXT_MASK, _NO_STATISTICS)
        self._send(_GET_LINK, 0, body)
        for kind, answer in self._receive():
            if kind == NEW_LINK:
                return _device(answer)
            code = -struct.unpack_from("=i", answer)[0]
            if code not in _GONE:
                raise HostError(f"cannot ask for device {name}: {os.strerror(code)}")
        return None

    def addresses(self) -> frozenset[Address]:
        """Addresses of both IP versions, without those of IPv6 that belong to one link: the kernel makes these
        (fe80::/64) itself."""
        found = set()
        for body in self._dump(_GET_ADDRESS, struct.pack("=BBBBI", socket.AF_UNSPEC, 0, 0, 0, 0)):
            family, prefix_length, _, scope, index = struct.unpack_from("=BBBBI", body)
            attributes = netlink.attributes(body, 8)
            silent = scope == SCOPE_LINK
            if scope <= SCOPE_LINK and not (silent and family == socket.AF_INET6):
                packed = attributes.get(IFA_LOCAL) or attributes[IFA_ADDRESS]
                found.add(Address(index, socket.inet_ntop(family, packed), prefix_length, silent))
        return frozenset(found)

    def routes(self) -> frozenset[RouteEntry]:
        """The routes of the main table that haqn made, of both IP versions."""
        return frozenset(route for family in _EVERYWHERE for route in self._routes(family))

    def _routes(self, family: int) -> Iterator[RouteEntry]:
        request = struct.pack("=BBBBBBBBI", family, 0, 0, 0, MAIN_TABLE, PROTOCOL, 0, 0, 0)
        for body in self._dump(_GET_ROUTE, request):
            found = netlink.attributes(body, 12)
            if RTA_GATEWAY in found:
                nexthop = socket.inet_ntop(family, found[RTA_GATEWAY])
                packed = found.get(RTA_DESTINATION)
                destination = socket.inet_ntop(family, packed) if packed else _EVERYWHERE[family]
                index = _value(found.get(RTA_OIF)) if is_link_local(nexthop) else None
                yield RouteEntry(f"{destination}/{body[1]}", nexthop, index)

    def flood(self, vxlan: int) -> set[str]:
        """The tunnel endpoints that the VXLAN device with that index floods to."""
        request = struct.pack("=BxxxiHBB", _AF_BRIDGE, 0, 0, 0, 0) + number(_NDA_IFINDEX, vxlan)
        found = set()
        for body in self._dump(_GET_NEIGHBOUR, request):
            attributes = netlink.attributes(body, 12)
            if attributes.get(_NDA_LLADDR) == bytes(6) and (packed := attributes.get(_NDA_DST)):
                found.add(socket.inet_ntop(FAMILIES[4 if len(packed) == 4 else 6], packed))
        return found

    # -- writing --------------------------------------------------------------------------

    def apply(self, changes: Iterable[Change]) -> None:
        """Carry the changes out in their order, many at a time. Raises HostError about the first that failed; those
        after it are carried out nevertheless."""
        pending = list(changes)
        failed: HostError | None = None
        for start in range(0, len(pending), _BATCH):
            batch = pending[start : start + _BATCH]
            first = self._sequence + 1
            messages = [self._message(change.kind, _ACK | change.flags, change.body) for change in batch]
            self._socket.send(b"".join(messages))
            for sequence, code in self._acknowledgements(first, len(batch)):
                change = batch[sequence - first]
                if not code:
                    self.changes.append(change.what)
                elif not (change.may_be_gone and code in _GONE):
                    failed = failed or HostError(f"cannot {change.what}: {os.strerror(code)}")
        if failed is not None:
            raise failed

    # -- messages -------------------------------------------------------------------------

    def _message(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        return struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, self._sequence, 0) + body

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._socket.send(self._message(kind, flags, body))

    def _receive(self) -> Iterator[tuple[int, bytes]]:
        """(kind, body) of the messages of one answer."""
        return ((kind, body) for kind, _, body in netlink.messages(self._socket.recv(1 << 18)))

    def _dump(self, kind: int, body: bytes) -> list[bytes]:
        self._send(kind, _DUMP, body)
        found: list[bytes] = []
        while True:
            for answer, data in self._receive():
                if answer == _DONE:
                    return found
                if answer == _ERROR:
                    code = -struct.unpack_from("=i", data)[0]
                    raise HostError(f"cannot list what rtnetlink message {kind} asks for: {os.strerror(code)}")
                found.append(data)

    def _acknowledgements(self, first: int, count: int) -> Iterator[tuple[int, int]]:
        """(sequence number, errno) of each of the messages."""
        while count:
            for kind, sequence, body in netlink.messages(self._socket.recv(1 << 18)):
                if kind == _ERROR and sequence >= first:
                    yield sequence, -struct.unpack_from("=i", body)[0]
                    count -= 1
