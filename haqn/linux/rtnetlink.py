"""Routers' links, addresses and routes by raw rtnetlink(7) messages: a router costs microseconds to look at.

Reads and writes what routers are made of; bridges and VXLAN devices are `netlink`'s. Speaks in names and plain values;
every failure is a HostError that says what was tried. A handle stays in the namespace that it was opened in, and
belongs to one thread.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from haqn.exceptions import HostError
from haqn.linux import netns

_NEW_LINK, _DELETE_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESS = 20, 21, 22
_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 24, 25, 26
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_REPLACE, _EXCLUSIVE, _CREATE = 0x100, 0x200, 0x400
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _STRICT_CHECK = 270, 12
_BATCH = 100

_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_LINKINFO, _IFLA_GROUP, _IFLA_NETNS_FD, _IFLA_EXT_MASK = 18, 27, 28, 29
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_NO_STATISTICS = 8
_IFF_UP = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DESTINATION, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_NESTED, _KIND_MASK = 0x8000, 0x3FFF

#: what haqn writes as the origin of its routes (rtproto), so that it removes no other
_PROTOCOL = 186
_MAIN_TABLE = 254
_UNICAST = 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
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


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a device. `silent`: it is answered for, and never chosen as the source of anything."""

    index: int
    address: str
    prefix_length: int
    silent: bool = False


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A route of the main table; destinations `0.0.0.0/0` and `::/0` are the default routes."""

    destination: str
    nexthop: str
    #: of the device, for a next hop that every link may have (a link-local address); None: the kernel knows
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One message, and what it tries."""

    what: str
    kind: int
    flags: int
    body: bytes
    #: that what it is about is gone is no error
    may_be_gone: bool = False


def is_link_local(address: str) -> bool:
    """Whether each link has an IPv6 address like this of its own (RFC 4291, section 2.5.6)."""
    ip = ipaddress.ip_address(address)
    return ip.version == 6 and ip.is_link_local


# -- changes ------------------------------------------------------------------------------


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _nested(kind: int, payload: bytes) -> bytes:
    return _attribute(_NESTED | kind, payload)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _mac(kind: int, mac: str) -> bytes:
    return _attribute(kind, bytes.fromhex(mac.replace(":", "")))


def _link_body(index: int = 0, *, up: bool = False) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, _IFF_UP if up else 0, _IFF_UP if up else 0)


def set_up(index: int) -> Change:
    """The device is to be up."""
    return Change(f"set device {index} up", _NEW_LINK, 0, _link_body(index, up=True))


def set_mac(index: int, mac: str) -> Change:
    """The device is to have this MAC."""
    return Change(f"give device {index} MAC {mac}", _NEW_LINK, 0, _link_body(index) + _mac(_IFLA_ADDRESS, mac))


def set_mtu(index: int, mtu: int) -> Change:
    """The device is to have this MTU."""
    return Change(f"give device {index} MTU {mtu}", _NEW_LINK, 0, _link_body(index) + _number(_IFLA_MTU, mtu))


def set_master(index: int, master: int) -> Change:
    """The device is to be a port of the bridge with index `master`."""
    body = _link_body(index) + _number(_IFLA_MASTER, master)
    return Change(f"make device {index} a port of bridge {master}", _NEW_LINK, 0, body)


def set_group(index: int, group: int) -> Change:
    """The device is to be in this device group."""
    body = _link_body(index) + _number(_IFLA_GROUP, group)
    return Change(f"move device {index} to group {group}", _NEW_LINK, 0, body)


def delete_link(name: str) -> Change:
    """The device is to be gone."""
    body = _link_body() + _text(_IFLA_NAME, name)
    return Change(f"delete device {name}", _DELETE_LINK, 0, body, may_be_gone=True)


def _address_body(address: Address) -> bytes:
    ip = ipaddress.ip_address(address.address)
    scope = _SCOPE_LINK if address.silent else _SCOPE_UNIVERSE
    head = struct.pack("=BBBBI", _FAMILIES[ip.version], address.prefix_length, 0, scope, address.index)
    return head + _attribute(_IFA_LOCAL, ip.packed) + _attribute(_IFA_ADDRESS, ip.packed)


def add_address(address: Address) -> Change:
    """The address is to be there; the same one twice is no error."""
    what = f"add address {address.address}/{address.prefix_length} to device {address.index}"
    return Change(what, _NEW_ADDRESS, _CREATE | _REPLACE, _address_body(address))


def delete_address(address: Address) -> Change:
    """The address is to be gone."""
    what = f"delete address {address.address}/{address.prefix_length} of device {address.index}"
    return Change(what, _DELETE_ADDRESS, 0, _address_body(address), may_be_gone=True)


def _route_body(route: RouteEntry) -> bytes:
    destination, nexthop = ipaddress.ip_network(route.destination), ipaddress.ip_address(route.nexthop)
    body = struct.pack(
        "=BBBBBBBBI",
        *(_FAMILIES[nexthop.version], destination.prefixlen, 0, 0),
        *(_MAIN_TABLE, _PROTOCOL, _SCOPE_UNIVERSE, _UNICAST, 0),
    )
    body += _attribute(_RTA_DESTINATION, destination.network_address.packed) if destination.prefixlen else b""
    body += _attribute(_RTA_GATEWAY, nexthop.packed)
    return body if route.index is None else body + _number(_RTA_OIF, route.index)


def replace_route(route: RouteEntry) -> Change:
    """The route is to be the one of its destination."""
    what = f"add route {route.destination} via {route.nexthop}"
    return Change(what, _NEW_ROUTE, _CREATE | _REPLACE, _route_body(route))


def delete_route(route: RouteEntry) -> Change:
    """The route is to be gone."""
    what = f"delete route {route.destination} via {route.nexthop}"
    return Change(what, _DELETE_ROUTE, 0, _route_body(route), may_be_gone=True)


# -- the handle ---------------------------------------------------------------------------


def _attributes(data: bytes, offset: int) -> dict[int, bytes]:
    found = {}
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        found[kind & _KIND_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _value(data: bytes | None) -> int:
    return int.from_bytes(data, "little") if data else 0


def _device(body: bytes) -> Device:
    index, flags = struct.unpack_from("=iI", body, 4)
    found = _attributes(body, 16)
    return Device(
        index=index,
        name=found[_IFLA_NAME].rstrip(b"\0").decode(),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_value(found.get(_IFLA_MTU)),
        group=_value(found.get(_IFLA_GROUP)),
        master=_value(found.get(_IFLA_MASTER)),
        up=bool(flags & _IFF_UP),
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
        found = (
            _device(body) for body in self._dump(_GET_LINK, _link_body() + _number(_IFLA_EXT_MASK, _NO_STATISTICS))
        )
        return {device.name: device for device in found}

    def link(self, name: str) -> Device | None:
        """The device of that name; None: there is none."""
        body = _link_body() + _text(_IFLA_NAME, name) + _number(_IFLA_EXT_MASK, _NO_STATISTICS)
        self._send(_GET_LINK, 0, body)
        for kind, answer in self._receive():
            if kind == _NEW_LINK:
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
            attributes = _attributes(body, 8)
            silent = scope == _SCOPE_LINK
            if scope <= _SCOPE_LINK and not (silent and family == socket.AF_INET6):
                packed = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]
                found.add(Address(index, socket.inet_ntop(family, packed), prefix_length, silent))
        return frozenset(found)

    def routes(self) -> frozenset[RouteEntry]:
        """The routes of the main table that haqn made, of both IP versions."""
        return frozenset(route for family in _EVERYWHERE for route in self._routes(family))

    def _routes(self, family: int) -> Iterator[RouteEntry]:
        request = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _MAIN_TABLE, _PROTOCOL, 0, 0, 0)
        for body in self._dump(_GET_ROUTE, request):
            found = _attributes(body, 12)
            if _RTA_GATEWAY in found:
                nexthop = socket.inet_ntop(family, found[_RTA_GATEWAY])
                packed = found.get(_RTA_DESTINATION)
                destination = socket.inet_ntop(family, packed) if packed else _EVERYWHERE[family]
                index = _value(found.get(_RTA_OIF)) if is_link_local(nexthop) else None
                yield RouteEntry(f"{destination}/{body[1]}", nexthop, index)

    # -- writing --------------------------------------------------------------------------

    def add_veth(
        self, name: str, *, group: int, master: int, peer: str, peer_namespace: str, peer_mac: str, mtu: int
    ) -> None:
        """A veth pair: `name` here, up, a port of bridge `master`, in device group `group` from its first moment on;
        `peer` in another namespace, still down."""
        with (netns.DIRECTORY / peer_namespace).open() as namespace:
            other = _link_body() + _text(_IFLA_NAME, peer) + _mac(_IFLA_ADDRESS, peer_mac)
            other += _number(_IFLA_MTU, mtu) + _number(_IFLA_NETNS_FD, namespace.fileno())
            data = _nested(_INFO_DATA, _attribute(_NESTED | _VETH_PEER, other))
            body = _link_body(up=True) + _text(_IFLA_NAME, name) + _number(_IFLA_MTU, mtu)
            body += _number(_IFLA_MASTER, master) + _number(_IFLA_GROUP, group)
            body += _nested(_IFLA_LINKINFO, _text(_INFO_KIND, "veth") + data)
            self.apply([Change(f"add veth {name}", _NEW_LINK, _CREATE | _EXCLUSIVE, body)])

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
        return ((kind, body) for kind, _, body in _split(self._socket.recv(1 << 18)))

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
            for kind, sequence, body in _split(self._socket.recv(1 << 18)):
                if kind == _ERROR and sequence >= first:
                    yield sequence, -struct.unpack_from("=i", body)[0]
                    count -= 1


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(kind, sequence number, body) of each message."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        yield kind, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3
