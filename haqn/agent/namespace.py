"""The inside of a router's namespace: parameters, devices, addresses, routes.

Knows one namespace at a time, and changes only what differs from the blueprint. Knows nothing of bridges and gates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from haqn.agent.blueprint import PlannedPort
from haqn.linux import netns, rtchanges
from haqn.linux.rtchanges import Address, Change, RouteEntry
from haqn.linux.rtnetlink import Device, Rtnetlink

#: of the router's namespace (ip-sysctl.rst of the kernel's documentation)
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    # of two addresses of one subnet, the second stays when the first goes
    "net/ipv4/conf/all/promote_secondaries": "1",
    # a floating IP may be on the side that asks for it: its way is through here all the same
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
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
#: of one that tracks connections: they are picked up in mid-stream after a takeover, and nothing of them is thrown away
#: for being out of a window whose beginning was not seen
_CONNTRACK = {
    "net/netfilter/nf_conntrack_tcp_loose": "1",
    "net/netfilter/nf_conntrack_tcp_be_liberal": "1",
}


@dataclass(frozen=True, slots=True)
class Inside:
    """What is in a router's namespace; nothing, in one that was made just now."""

    devices: Mapping[str, Device]
    addresses: frozenset[Address] = frozenset()
    routes: frozenset[RouteEntry] = frozenset()


NOTHING = Inside({})


def read(handle: Rtnetlink) -> Inside:
    """What is there now."""
    return Inside(handle.links(), handle.addresses(), handle.routes())


def prepare(*, tracks: bool) -> list[str]:
    """Forwarding, before the first port is there; returns what was changed. To be called inside the namespace, when its
    ruleset is there. `tracks`: the ruleset needs connection tracking."""
    return netns.set_sysctls(_SYSCTLS | (_CONNTRACK if tracks else {}))


def set_ip_versions(ports: Collection[PlannedPort]) -> list[str]:
    """IPv6 on the devices that have addresses of it, before they are up; returns what was changed. To be called inside
    the namespace."""
    values = dict(_IPV6_SYSCTLS) if any(port.has_ipv6 for port in ports) else {}
    for port in ports:
        of_device = _IPV6_DEVICE if port.has_ipv6 else {"disable_ipv6": "1"}
        values |= {f"net/ipv6/conf/{port.device}/{name}": value for name, value in of_device.items()}
    return netns.set_sysctls(values)


def configure(handle: Rtnetlink, before: Inside, indexes: Mapping[str, int], ports: Collection[PlannedPort]) -> None:
    """MAC addresses, MTUs and addresses of the devices, which are up afterwards. `indexes`: of `lo` and the ports;
    a port that is not in `before` was made just now.
    """
    changes = []
    if "lo" not in before.devices or not before.devices["lo"].up:
        changes.append(rtchanges.set_up(indexes["lo"]))
    for port in ports:
        index, device = indexes[port.device], before.devices.get(port.device)
        if device is not None and device.index != index:
            device = None  # made anew
        if device is not None and device.mac != port.document.mac_address:
            changes.append(rtchanges.set_mac(index, port.document.mac_address))
        if device is not None and device.mtu != port.mtu:
            changes.append(rtchanges.set_mtu(index, port.mtu))
        here = frozenset() if device is None else {address for address in before.addresses if address.index == index}
        changes += _address_changes(here, _addresses(port, index))
        if device is None or not device.up:
            changes.append(rtchanges.set_up(index))
    handle.apply(changes)


def _addresses(port: PlannedPort, index: int) -> list[Address]:
    """In the order of the document: the first one of a subnet is what the router itself speaks with."""
    own = [Address(index, ip.ip_address, ip.prefix_length) for ip in port.document.fixed_ips]
    return own + [Address(index, address, 32, silent=True) for address in port.floating_ips]


def _address_changes(here: Collection[Address], wanted: list[Address]) -> list[Change]:
    missing = [address for address in wanted if address not in here]
    surplus = set(here) - set(wanted)
    # the same address in another shape would be taken for the one that is to be added
    in_the_way = {address for address in surplus if address.address in {other.address for other in missing}}
    return [
        *map(rtchanges.delete_address, in_the_way),
        *map(rtchanges.add_address, missing),
        *map(rtchanges.delete_address, surplus - in_the_way),
    ]


def route(handle: Rtnetlink, present: Collection[RouteEntry], wanted: set[RouteEntry]) -> None:
    """What is replaced keeps its destination all the time. A route that a port took along is made again."""
    destinations = {entry.destination for entry in wanted}
    handle.apply(rtchanges.delete_route(entry) for entry in present if entry.destination not in destinations)
    missing = wanted - (handle.routes() if present else frozenset())
    handle.apply(rtchanges.replace_route(entry) for entry in missing)
