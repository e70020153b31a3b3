"""A router's document -> what is to be on this host. PURE: no I/O, no clock.

Knows names, ports, routes and what is announced of them; knows nothing of what is there already.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from haqn.agent import diff
from haqn.documents import NetworkDocument, RouterDocument, RouterPort, ports_of
from haqn.exceptions import HostError, InvalidDocument
from haqn.linux.netlink import RouteEntry

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DEFAULT_ROUTE = "0.0.0.0/0"


@dataclass(frozen=True, slots=True)
class PlannedPort:
    """A port of the document with its names on this host."""

    document: RouterPort
    device: str
    tap: str
    bridge: str
    #: the device through which its network leaves the host
    egress: str | None
    group: int
    mtu: int


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


def ports(
    router: RouterDocument, networks: Mapping[str, NetworkDocument], physical_networks: Mapping[str, str]
) -> list[PlannedPort]:
    """The ports, the gateway's last. Raises HostError when one's network is not on this host."""
    planned = []
    for port in ports_of(router):
        network = networks.get(port.network_id)
        if network is None:
            raise HostError(f"cannot plug port {port.port_id}: network {port.network_id} is not on this host")
        name = diff.gateway_device if port is router.gateway else diff.interface_device
        planned.append(
            PlannedPort(
                document=port,
                device=name(port.port_id),
                tap=diff.tap(port.port_id),
                bridge=diff.bridge(port.network_id),
                egress=diff.egress(network, physical_networks),
                group=diff.group(router, port),
                mtu=min(port.mtu, network.mtu),
            )
        )
    return planned


def taps(devices: Iterable[str]) -> list[str]:
    """The host's ends of the router ports among the devices of a namespace."""
    parts = [device.partition("-") for device in devices]
    return ["tap" + short for prefix, _, short in parts if prefix in {"qr", "qg"}]


def routes(router: RouterDocument) -> set[RouteEntry]:
    """The routes that the router should have beside those of its own subnets."""
    wanted = {RouteEntry(str(ipaddress.IPv4Network(route.destination)), route.nexthop) for route in router.routes}
    if router.gateway is not None:
        nexthops = [fixed_ip.gateway_ip for fixed_ip in router.gateway.fixed_ips if fixed_ip.gateway_ip]
        if nexthops and all(route.destination != _DEFAULT_ROUTE for route in wanted):
            wanted.add(RouteEntry(_DEFAULT_ROUTE, nexthops[0]))
    return wanted


def rules(router: RouterDocument) -> dict[str, object]:
    """What the template of the router's nftables table is filled in with."""
    gateway = router.gateway if router.gateway is not None and router.gateway.fixed_ips else None
    return {
        "gateway_device": diff.gateway_device(gateway.port_id) if gateway else None,
        "gateway_address": gateway.fixed_ips[0].ip_address if gateway else None,
        "enable_snat": router.enable_snat,
    }


def announcement(port: PlannedPort, tap_index: int) -> list[str]:
    """Lines for the failover program about the port (see haqn.failover.announce.Row)."""
    egress, mac = port.egress or "-", port.document.mac_address
    return [f"{tap_index} {egress} {mac} {fixed_ip.ip_address}" for fixed_ip in port.document.fixed_ips[:1]]
