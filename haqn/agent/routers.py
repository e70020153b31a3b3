"""Routers on a host: a namespace each, with ports, addresses, routes, forwarding and source NAT.

The same on both members of a pair; whether frames pass is the gate's business. `apply` reads the kernel and changes
only what differs, so creating, updating and adopting after a restart are one thing. Called from several threads, one
router at a time each.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import jinja2

from haqn.agent import diff
from haqn.agent.networks import quiet
from haqn.documents import NetworkDocument, RouterDocument, RouterPort, ports_of
from haqn.exceptions import HostError, InvalidDocument
from haqn.linux import netns, nftables
from haqn.linux.netlink import Link, Netlink, RouteEntry

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DEFAULT_ROUTE = "0.0.0.0/0"
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
#: exists once something in the namespace uses connection tracking: connections are picked up in mid-stream
_LOOSE = {"net/netfilter/nf_conntrack_tcp_loose": "1"}


OpenPairsNow = Callable[[], diff.OpenPairs]


class MustWait(Exception):
    """Not an error: a port cannot change its device group yet without interrupting traffic."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a router is on this host now."""

    #: device group -> lines for the failover program (see haqn.failover.announce.Row)
    rows: Mapping[int, tuple[str, ...]]
    #: lines of ports that were not there before
    new_rows: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A port of the document with its names on this host."""

    document: RouterPort
    device: str
    tap: str
    bridge: str
    egress: str | None
    group: int
    mtu: int


@dataclass(frozen=True, slots=True)
class _Present:
    """A port that is on this host: its ends, the device group that it is in, and whether it was made just now."""

    wanted: _Wanted
    tap_index: int
    group: int
    new: bool


@dataclass(frozen=True, slots=True)
class _Inside:
    """What is in a router's namespace; nothing, in one that was made just now."""

    links: Mapping[str, Link]
    addresses: frozenset[tuple[int, str, int]] = frozenset()
    routes: frozenset[RouteEntry] = frozenset()


def check(router: RouterDocument) -> None:
    """Raises InvalidDocument for values that must not reach the kernel."""
    try:
        for port in ports_of(router):
            if not _MAC.fullmatch(port.mac_address):
                raise ValueError(f"MAC address {port.mac_address!r}")
            for fixed_ip in port.fixed_ips:
                ipaddress.IPv4Interface(f"{fixed_ip.ip_address}/{fixed_ip.prefix_length}")
                if fixed_ip.gateway_ip is not None:
                    ipaddress.IPv4Address(fixed_ip.gateway_ip)
        for route in router.routes:
            ipaddress.IPv4Network(route.destination)
            ipaddress.IPv4Address(route.nexthop)
    except ValueError as error:
        raise InvalidDocument(f"cannot build router {router.router_id}: {error}") from error


def routes(router: RouterDocument) -> set[RouteEntry]:
    """The routes that the router should have beside those of its own subnets."""
    wanted = {RouteEntry(str(ipaddress.IPv4Network(route.destination)), route.nexthop) for route in router.routes}
    if router.gateway is not None:
        nexthops = [fixed_ip.gateway_ip for fixed_ip in router.gateway.fixed_ips if fixed_ip.gateway_ip]
        if nexthops and all(route.destination != _DEFAULT_ROUTE for route in wanted):
            wanted.add(RouteEntry(_DEFAULT_ROUTE, nexthops[0]))
    return wanted


def _taps(devices: Iterable[str]) -> list[str]:
    """The host's ends of the router ports among the devices of a namespace."""
    parts = [device.partition("-") for device in devices]
    return ["tap" + short for prefix, _, short in parts if prefix in {"qr", "qg"}]


def _rows(ports: list[_Present]) -> dict[int, tuple[str, ...]]:
    """Device group -> what to announce of the ports in it (see haqn.failover.announce.Row)."""
    rows: dict[int, list[str]] = {}
    for port in ports:
        document, egress = port.wanted.document, port.wanted.egress or "-"
        for fixed_ip in document.fixed_ips[:1]:
            line = f"{port.tap_index} {egress} {document.mac_address} {fixed_ip.ip_address}"
            rows.setdefault(port.group, []).append(line)
    return {group: tuple(lines) for group, lines in rows.items()}


class Routers:
    """The routers of this host."""

    def __init__(self, templates: jinja2.Environment, physical_networks: Mapping[str, str]) -> None:
        self._ruleset = templates.get_template("router.nft.j2")
        self._physical_networks = physical_networks
        #: a netlink handle belongs to one thread, and a new one costs a millisecond
        self._handles = threading.local()
        self._opened: list[Netlink] = []

    def close(self) -> None:
        """Close the netlink handles of all threads, which must have ended their work."""
        while self._opened:
            self._opened.pop().close()

    def apply(self, router: RouterDocument, networks: Mapping[str, NetworkDocument], open_pairs: OpenPairsNow) -> Built:
        """Build the router as the document says. `open_pairs()`: what diff.must_wait asks for, at the moment of asking.

        Raises HostError, InvalidDocument, or MustWait (all but the change of device group is done then).
        """
        check(router)
        wanted = self._wanted(router, networks)
        host = self._host()
        namespace = diff.namespace(router.router_id)
        fresh = not netns.exists(namespace)
        if fresh:
            netns.create(namespace)
        with netns.entered(namespace):
            inside = Netlink()
            self._prepare(router, fresh=fresh)
        with inside:
            before = (
                _Inside({})
                if fresh
                else _Inside(inside.links(), frozenset(inside.addresses()), frozenset(inside.routes()))
            )
            self._remove_stale(host, before.links, wanted)
            ports = [self._plug(host, before.links, namespace, port) for port in wanted]
            with netns.entered(namespace):
                indexes = {name: Netlink.index(name) for name in ("lo", *(port.device for port in wanted))}
            self._configure(inside, before, indexes, ports)
            self._route(inside, before.routes, routes(router))
        regrouped = [self._regroup(host, port, open_pairs) for port in ports]
        built = Built(_rows(regrouped), _rows([port for port in regrouped if port.new]))
        if any(port.group != port.wanted.group for port in regrouped):
            raise MustWait(f"pair {router.pair_id} is not open here yet")
        return built

    # -- parts of apply ------------------------------------------------------------------------

    def _host(self) -> Netlink:
        if not hasattr(self._handles, "host"):
            self._handles.host = Netlink()
            self._opened.append(self._handles.host)
        handle: Netlink = self._handles.host
        return handle

    def _wanted(self, router: RouterDocument, networks: Mapping[str, NetworkDocument]) -> list[_Wanted]:
        wanted = []
        for port in ports_of(router):
            network = networks.get(port.network_id)
            if network is None:
                raise HostError(f"cannot plug port {port.port_id}: network {port.network_id} is not on this host")
            name = diff.gateway_device if port is router.gateway else diff.interface_device
            wanted.append(
                _Wanted(
                    document=port,
                    device=name(port.port_id),
                    tap=diff.tap(port.port_id),
                    bridge=diff.bridge(port.network_id),
                    egress=diff.egress(network, self._physical_networks),
                    group=diff.group(router, port),
                    mtu=min(port.mtu, network.mtu),
                )
            )
        return wanted

    def _prepare(self, router: RouterDocument, *, fresh: bool) -> None:
        """Forwarding and rules are there before the first port is. To be called inside the namespace."""
        gateway = router.gateway
        body = self._ruleset.render(
            gateway_device=diff.gateway_device(gateway.port_id) if gateway and gateway.fixed_ips else None,
            gateway_address=gateway.fixed_ips[0].ip_address if gateway and gateway.fixed_ips else None,
            enable_snat=router.enable_snat,
        )
        netns.set_sysctls(_SYSCTLS)
        if fresh or not nftables.has_table(*_TABLE, body):
            nftables.replace_table(*_TABLE, body, fresh=fresh)
            netns.set_sysctls(_LOOSE)

    @staticmethod
    def _remove_stale(host: Netlink, present: Mapping[str, Link], wanted: list[_Wanted]) -> None:
        devices = {port.device for port in wanted}
        for tap in _taps(name for name in present if name not in devices):
            host.delete_link(tap)

    @staticmethod
    def _plug(host: Netlink, inside: Mapping[str, Link], namespace: str, wanted: _Wanted) -> _Present:
        """Make the veth pair in its bridge, shut or open as its group is; or mend what is there."""
        bridge = Netlink.index(wanted.bridge)
        tap = host.link(wanted.tap) if wanted.device in inside else None
        if tap is None:
            host.delete_link(wanted.tap)
            host.add_veth(
                wanted.tap,
                group=wanted.group,
                master=bridge,
                peer=wanted.device,
                peer_namespace=namespace,
                peer_mac=wanted.document.mac_address,
                mtu=wanted.mtu,
            )
            netns.set_sysctls(quiet(wanted.tap))
            return _Present(wanted, Netlink.index(wanted.tap), wanted.group, new=True)
        if tap.mtu != wanted.mtu:
            host.set_link(tap, mtu=wanted.mtu)
        if tap.master != bridge:
            host.set_link(tap, master=bridge)
        if not tap.up:
            host.set_link(tap, state="up")
        return _Present(wanted, tap.index, tap.group, new=False)

    @staticmethod
    def _configure(inside: Netlink, before: _Inside, indexes: Mapping[str, int], ports: list[_Present]) -> None:
        if "lo" not in before.links or not before.links["lo"].up:
            inside.set_up(indexes["lo"])
        for port in ports:
            index, document = indexes[port.wanted.device], port.wanted.document
            link = None if port.new else before.links[port.wanted.device]
            if link is not None and link.mac != document.mac_address:
                inside.set_link(link, address=document.mac_address)
            if link is not None and link.mtu != port.wanted.mtu:
                inside.set_link(link, mtu=port.wanted.mtu)
            wanted = {(index, ip.ip_address, ip.prefix_length) for ip in document.fixed_ips}
            here = set() if port.new else {address for address in before.addresses if address[0] == index}
            for address in sorted(wanted - here):
                inside.add_address(*address)
            for address in sorted(here - wanted):
                inside.delete_address(*address)
            if link is None or not link.up:
                inside.set_up(index)

    @staticmethod
    def _route(inside: Netlink, present: Collection[RouteEntry], wanted: set[RouteEntry]) -> None:
        """What is replaced keeps its destination all the time. A route that a port took along is made again."""
        destinations = {route.destination for route in wanted}
        for route in present:
            if route.destination not in destinations:
                inside.delete_route(route)
        for route in wanted - (inside.routes() if present else set()):
            inside.replace_route(route)

    @staticmethod
    def _regroup(host: Netlink, port: _Present, open_pairs: OpenPairsNow) -> _Present:
        """Move the port to its device group, unless that would interrupt something."""
        group = port.wanted.group
        if port.group == group or diff.must_wait(port.group, group, open_pairs()):
            return port
        host.set_group(port.tap_index, group)
        return replace(port, group=group)

    # -- removal and adoption ------------------------------------------------------------------

    def remove(self, router_id: str) -> None:
        """Remove the namespace; its ports go with it."""
        namespace = diff.namespace(router_id)
        if netns.exists(namespace):
            with Netlink.of(namespace) as inside:
                devices = inside.links()
            host = self._host()
            for tap in _taps(devices):
                host.delete_link(tap)
        netns.remove(namespace)

    @staticmethod
    def found() -> set[str]:
        """Ids of the routers that are on this host."""
        return {
            name.removeprefix(diff.NAMESPACE_PREFIX) for name in netns.names() if name.startswith(diff.NAMESPACE_PREFIX)
        }
