"""Routers on a host: a namespace each, with ports, addresses, routes, forwarding and source NAT.

The same on both members of a pair; whether frames pass is the gate's business. `apply` reads the kernel and changes
only what differs, so creating, updating and adopting after a restart are one thing. Called from several threads, one
router at a time each.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jinja2

from haqn.agent import diff
from haqn.agent.networks import quiet
from haqn.documents import NetworkDocument, RouterDocument, RouterPort, ports_of
from haqn.exceptions import HostError, InvalidDocument
from haqn.linux import netns, nftables
from haqn.linux.netlink import Link, Netlink, RouteEntry

_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
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
class _Port:
    """A port of the document with its names on this host."""

    document: RouterPort
    device: str
    tap: str
    bridge: str
    egress: str | None
    group: int
    mtu: int


def check(router: RouterDocument) -> None:
    """Raises InvalidDocument for values that must not reach the kernel."""
    try:
        for port in ports_of(router):
            if not _MAC.match(port.mac_address):
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


class Routers:
    """The routers of this host."""

    def __init__(self, templates: jinja2.Environment, physical_networks: Mapping[str, str]) -> None:
        self._ruleset = templates.get_template("router.nft.j2")
        self._physical_networks = physical_networks

    def apply(self, router: RouterDocument, networks: Mapping[str, NetworkDocument], open_pairs: OpenPairsNow) -> Built:
        """Build the router as the document says. `open_pairs()`: what diff.must_wait asks for, at the moment of asking.

        Raises HostError, InvalidDocument, or MustWait (all but the change of device group is done then).
        """
        check(router)
        ports = self._ports(router, networks)
        namespace = diff.namespace(router.router_id)
        if not netns.exists(namespace):
            netns.create(namespace)
        self._prepare(namespace, router)
        with Netlink() as host, Netlink.of(namespace) as inside:
            present = inside.links()
            self._remove_stale(host, present, ports)
            new = [port for port in ports if self._plug(host, present, namespace, port)]
            if new:
                present = inside.links()
            self._configure(inside, present, ports, router)
            waiting = self._regroup(host, ports, open_pairs())
            rows = self._rows(host, ports)
            if waiting:
                raise MustWait(f"pair {router.pair_id} is not open here yet")
        return Built(rows, {group: tuple(lines) for group, lines in self._of_ports(rows, new).items()})

    # -- parts of apply ------------------------------------------------------------------------

    def _ports(self, router: RouterDocument, networks: Mapping[str, NetworkDocument]) -> list[_Port]:
        ports = []
        named = [(diff.interface_device(port.port_id), port) for port in router.interfaces]
        if router.gateway is not None:
            named.append((diff.gateway_device(router.gateway.port_id), router.gateway))
        for device, port in named:
            network = networks.get(port.network_id)
            if network is None:
                raise HostError(f"cannot plug port {port.port_id}: network {port.network_id} is not on this host")
            ports.append(
                _Port(
                    document=port,
                    device=device,
                    tap=diff.tap(port.port_id),
                    bridge=diff.bridge(port.network_id),
                    egress=diff.egress(network, self._physical_networks),
                    group=diff.group(router, port),
                    mtu=min(port.mtu, network.mtu),
                )
            )
        return ports

    def _prepare(self, namespace: str, router: RouterDocument) -> None:
        """Forwarding and rules are there before the first port is."""
        gateway = router.gateway
        body = self._ruleset.render(
            gateway_device=diff.gateway_device(gateway.port_id) if gateway and gateway.fixed_ips else None,
            gateway_address=gateway.fixed_ips[0].ip_address if gateway and gateway.fixed_ips else None,
            enable_snat=router.enable_snat,
        )
        with netns.entered(namespace):
            netns.set_sysctls(_SYSCTLS)
            if nftables.table_comments().get(_TABLE) != nftables.digest(body):
                nftables.replace_table(*_TABLE, body)
                netns.set_sysctls(_LOOSE)

    @staticmethod
    def _remove_stale(host: Netlink, present: Mapping[str, Link], ports: list[_Port]) -> None:
        wanted = {port.device for port in ports}
        for name in present:
            prefix, _, short = name.partition("-")
            if prefix in {"qr", "qg"} and name not in wanted:
                host.delete_link("tap" + short)

    @staticmethod
    def _plug(host: Netlink, present: Mapping[str, Link], namespace: str, port: _Port) -> bool:
        """Make the veth pair and put it into its bridge, shut or open as its group is. True: it is new."""
        tap = host.link(port.tap)
        new = tap is None or port.device not in present
        if new:
            host.delete_link(port.tap)
            host.add_veth(
                port.tap,
                group=port.group,
                peer=port.device,
                peer_namespace=namespace,
                peer_mac=port.document.mac_address,
                mtu=port.mtu,
            )
            netns.set_sysctls(quiet(port.tap))
            tap = host.need(port.tap)
        if tap is None:
            raise HostError(f"cannot find network device {port.tap}")
        bridge = host.need(port.bridge)
        if tap.mtu != port.mtu:
            host.set_link(tap, mtu=port.mtu)
        if tap.master != bridge.index:
            host.set_link(tap, master=bridge.index)
        if not tap.up:
            host.set_link(tap, state="up")
        return new

    @staticmethod
    def _configure(inside: Netlink, present: Mapping[str, Link], ports: list[_Port], router: RouterDocument) -> None:
        loopback = present["lo"]
        if not loopback.up:
            inside.set_link(loopback, state="up")
        found = inside.addresses()
        for port in ports:
            link = present[port.device]
            if link.mac != port.document.mac_address:
                inside.set_link(link, address=port.document.mac_address)
            if link.mtu != port.mtu:
                inside.set_link(link, mtu=port.mtu)
            if not link.up:
                inside.set_link(link, state="up")
            wanted = {(link.index, ip.ip_address, ip.prefix_length) for ip in port.document.fixed_ips}
            here = {address for address in found if address[0] == link.index}
            for address in sorted(wanted - here):
                inside.add_address(*address)
            for address in sorted(here - wanted):
                inside.delete_address(*address)
        wanted_routes, present_routes = routes(router), inside.routes()
        destinations = {route.destination for route in wanted_routes}
        for route in present_routes - wanted_routes:
            if route.destination not in destinations:
                inside.delete_route(route)
        for route in wanted_routes - present_routes:
            inside.replace_route(route)

    @staticmethod
    def _regroup(host: Netlink, ports: list[_Port], open_pairs: diff.OpenPairs) -> bool:
        """Move ports to their device groups where that interrupts nothing. True: some must wait."""
        waiting = False
        for port in ports:
            tap = host.need(port.tap)
            if tap.group == port.group:
                continue
            if diff.must_wait(tap.group, port.group, open_pairs):
                waiting = True
            else:
                host.set_link(tap, group=port.group)
        return waiting

    @staticmethod
    def _rows(host: Netlink, ports: list[_Port]) -> dict[int, tuple[str, ...]]:
        rows: dict[int, list[str]] = {}
        for port in ports:
            tap = host.need(port.tap)
            for fixed_ip in port.document.fixed_ips[:1]:
                line = f"{tap.index} {port.egress or '-'} {port.document.mac_address} {fixed_ip.ip_address}"
                rows.setdefault(tap.group, []).append(line)
        return {group: tuple(lines) for group, lines in rows.items()}

    @staticmethod
    def _of_ports(rows: Mapping[int, tuple[str, ...]], ports: list[_Port]) -> dict[int, list[str]]:
        macs = {port.document.mac_address for port in ports}
        return {group: [line for line in lines if line.split()[2] in macs] for group, lines in rows.items()}

    # -- removal and adoption ------------------------------------------------------------------

    @staticmethod
    def remove(router_id: str) -> None:
        """Remove the namespace; its ports go with it."""
        namespace = diff.namespace(router_id)
        if netns.exists(namespace):
            with Netlink() as host, Netlink.of(namespace) as inside:
                for name in inside.links():
                    prefix, _, short = name.partition("-")
                    if prefix in {"qr", "qg"}:
                        host.delete_link("tap" + short)
        netns.remove(namespace)

    @staticmethod
    def found() -> set[str]:
        """Ids of the routers that are on this host."""
        return {
            name.removeprefix(diff.NAMESPACE_PREFIX) for name in netns.names() if name.startswith(diff.NAMESPACE_PREFIX)
        }
