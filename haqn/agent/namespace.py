"""The inside of a router's namespace: parameters, rules, devices, addresses, routes.

Knows one namespace at a time, and changes only what differs from the blueprint. Knows nothing of bridges and gates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from haqn.agent.blueprint import PlannedPort
from haqn.linux import netns, nftables
from haqn.linux.netlink import Link, Netlink, RouteEntry

_TABLE = ("ip", "haqn")
#: of the router's namespace (ip-sysctl.rst of the kernel's documentation)
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}
#: of a namespace with IPv6. Addresses are nobody else's by the word of SQL, and the peer has the same: detecting
#: duplicates would only keep a router silent that has just been built, or make it doubt when both members are heard
_IPV6_SYSCTLS = {
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/lo/disable_ipv6": "0",
    "net/ipv6/conf/all/accept_dad": "0",
}
#: of each of its devices that have IPv6; the last one begins it. Link-local addresses are made of the MAC, and so are
#: the same on both members
_IPV6_DEVICE = {
    "accept_dad": "0",
    "accept_ra": "0",
    "accept_redirects": "0",
    "addr_gen_mode": "0",
    "disable_ipv6": "0",
}
#: exists once something in the namespace uses connection tracking: connections are picked up in mid-stream
_LOOSE = {"net/netfilter/nf_conntrack_tcp_loose": "1"}


@dataclass(frozen=True, slots=True)
class Inside:
    """What is in a router's namespace; nothing, in one that was made just now."""

    links: Mapping[str, Link]
    addresses: frozenset[tuple[int, str, int]] = frozenset()
    routes: frozenset[RouteEntry] = frozenset()


NOTHING = Inside({})


def read(handle: Netlink) -> Inside:
    """What is there now."""
    return Inside(handle.links(), frozenset(handle.addresses()), frozenset(handle.routes()))


def prepare(rules: str, *, fresh: bool) -> None:
    """Forwarding and rules, which are there before the first port is. To be called inside the namespace."""
    netns.set_sysctls(_SYSCTLS)
    if fresh or not nftables.has_table(*_TABLE, rules):
        nftables.replace_table(*_TABLE, rules, fresh=fresh)
        netns.set_sysctls(_LOOSE)


def set_ip_versions(ports: Collection[PlannedPort]) -> None:
    """IPv6 on the devices that have addresses of it, before they are up. To be called inside the namespace."""
    if any(port.has_ipv6 for port in ports):
        netns.set_sysctls(_IPV6_SYSCTLS)
    for port in ports:
        values = _IPV6_DEVICE if port.has_ipv6 else {"disable_ipv6": "1"}
        netns.set_sysctls({f"net/ipv6/conf/{port.device}/{name}": value for name, value in values.items()})


def configure(handle: Netlink, before: Inside, indexes: Mapping[str, int], ports: Collection[PlannedPort]) -> None:
    """MAC addresses, MTUs and addresses of the devices, which are up afterwards. `indexes`: of `lo` and the ports;
    a port that is not in `before` was made just now.
    """
    if "lo" not in before.links or not before.links["lo"].up:
        handle.set_up(indexes["lo"])
    for port in ports:
        index, document = indexes[port.device], port.document
        link = before.links.get(port.device)
        if link is not None and link.index != index:
            link = None  # made anew
        if link is not None and link.mac != document.mac_address:
            handle.set_link(link, address=document.mac_address)
        if link is not None and link.mtu != port.mtu:
            handle.set_link(link, mtu=port.mtu)
        wanted = {(index, ip.ip_address, ip.prefix_length) for ip in document.fixed_ips}
        here = set() if link is None else {address for address in before.addresses if address[0] == index}
        for address in sorted(wanted - here):
            handle.add_address(*address)
        for address in sorted(here - wanted):
            handle.delete_address(*address)
        if link is None or not link.up:
            handle.set_up(index)


def route(handle: Netlink, present: Collection[RouteEntry], wanted: set[RouteEntry]) -> None:
    """What is replaced keeps its destination all the time. A route that a port took along is made again."""
    destinations = {entry.destination for entry in wanted}
    for entry in present:
        if entry.destination not in destinations:
            handle.delete_route(entry)
    for entry in wanted - (handle.routes() if present else set()):
        handle.replace_route(entry)
