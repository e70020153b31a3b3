"""What routers are made of, and the rtnetlink(7) messages that change it. PURE: builds bytes, sends nothing.

Each `Change` is one message and says what it tries; `rtnetlink` sends them.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

from haqn.failover.nfnetlink import attribute, nested, text

NEW_LINK, _DELETE_LINK = 16, 17
_NEW_ADDRESS, _DELETE_ADDRESS = 20, 21
_NEW_ROUTE, _DELETE_ROUTE = 24, 25
_REPLACE, _EXCLUSIVE, _CREATE = 0x100, 0x200, 0x400

IFLA_ADDRESS, IFLA_NAME, IFLA_MTU, IFLA_MASTER, IFLA_GROUP = 1, 3, 4, 10, 27
_IFLA_LINKINFO, _IFLA_NETNS_FD = 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
IFF_UP = 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DESTINATION, RTA_OIF, RTA_GATEWAY = 1, 4, 5

#: what haqn writes as the origin of its routes (rtproto), so that it removes no other
PROTOCOL = 186
MAIN_TABLE = 254
_UNICAST = 1
_SCOPE_UNIVERSE, SCOPE_LINK = 0, 253
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


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


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def _mac(kind: int, mac: str) -> bytes:
    return attribute(kind, bytes.fromhex(mac.replace(":", "")))


def link_body(index: int = 0, *, up: bool = False) -> bytes:
    """The head of a message about a device; index 0: it is named by an attribute."""
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, IFF_UP if up else 0, IFF_UP if up else 0)


def set_up(index: int) -> Change:
    """The device is to be up."""
    return Change(f"set device {index} up", NEW_LINK, 0, link_body(index, up=True))


def set_mac(index: int, mac: str) -> Change:
    """The device is to have this MAC."""
    return Change(f"give device {index} MAC {mac}", NEW_LINK, 0, link_body(index) + _mac(IFLA_ADDRESS, mac))


def set_mtu(index: int, mtu: int) -> Change:
    """The device is to have this MTU."""
    return Change(f"give device {index} MTU {mtu}", NEW_LINK, 0, link_body(index) + number(IFLA_MTU, mtu))


def set_master(index: int, master: int) -> Change:
    """The device is to be a port of the bridge with index `master`."""
    body = link_body(index) + number(IFLA_MASTER, master)
    return Change(f"make device {index} a port of bridge {master}", NEW_LINK, 0, body)


def set_group(index: int, group: int) -> Change:
    """The device is to be in this device group."""
    body = link_body(index) + number(IFLA_GROUP, group)
    return Change(f"move device {index} to group {group}", NEW_LINK, 0, body)


def delete_link(name: str) -> Change:
    """The device is to be gone."""
    body = link_body() + text(IFLA_NAME, name)
    return Change(f"delete device {name}", _DELETE_LINK, 0, body, may_be_gone=True)


def _address_body(address: Address) -> bytes:
    ip = ipaddress.ip_address(address.address)
    scope = SCOPE_LINK if address.silent else _SCOPE_UNIVERSE
    head = struct.pack("=BBBBI", FAMILIES[ip.version], address.prefix_length, 0, scope, address.index)
    return head + attribute(IFA_LOCAL, ip.packed) + attribute(IFA_ADDRESS, ip.packed)


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
        *(FAMILIES[nexthop.version], destination.prefixlen, 0, 0),
        *(MAIN_TABLE, PROTOCOL, _SCOPE_UNIVERSE, _UNICAST, 0),
    )
    body += attribute(RTA_DESTINATION, destination.network_address.packed) if destination.prefixlen else b""
    body += attribute(RTA_GATEWAY, nexthop.packed)
    return body if route.index is None else body + number(RTA_OIF, route.index)


def replace_route(route: RouteEntry) -> Change:
    """The route is to be the one of its destination."""
    what = f"add route {route.destination} via {route.nexthop}"
    return Change(what, _NEW_ROUTE, _CREATE | _REPLACE, _route_body(route))


def delete_route(route: RouteEntry) -> Change:
    """The route is to be gone."""
    what = f"delete route {route.destination} via {route.nexthop}"
    return Change(what, _DELETE_ROUTE, 0, _route_body(route), may_be_gone=True)


def add_veth(name: str, *, group: int, master: int, peer: str, peer_namespace: int, peer_mac: str, mtu: int) -> Change:
    """A veth pair: `name` here, up, a port of bridge `master`, in device group `group` from its first moment on; `peer`
    in another namespace, still down. `peer_namespace`: an open file of it."""
    other = link_body() + text(IFLA_NAME, peer) + _mac(IFLA_ADDRESS, peer_mac)
    other += number(IFLA_MTU, mtu) + number(_IFLA_NETNS_FD, peer_namespace)
    data = nested(_INFO_DATA, nested(_VETH_PEER, other))
    body = link_body(up=True) + text(IFLA_NAME, name) + number(IFLA_MTU, mtu)
    body += number(IFLA_MASTER, master) + number(IFLA_GROUP, group)
    body += nested(_IFLA_LINKINFO, text(_INFO_KIND, "veth") + data)
    return Change(f"add veth {name}", NEW_LINK, _CREATE | _EXCLUSIVE, body)
