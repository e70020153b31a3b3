"""A router's document -> what is to be on this host. PURE: no I/O, no clock.

Knows names, ports, routes and what is announced of them; knows nothing of what is there already.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from haqn.agent import diff, names, ra
from haqn.documents import NetworkDocument, RouterDocument, RouterPort, ports_of
from haqn.exceptions import HostError, InvalidDocument
from haqn.linux.rtchanges import RouteEntry, is_link_local

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DEFAULT_ROUTES = {4: "0.0.0.0/0", 6: "::/0"}


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
    #: that lead through it: on the gateway port only
    floating_ips: tuple[str, ...] = ()

    @property
    def has_ipv6(self) -> bool:
        return any(_version(fixed_ip.ip_address) == 6 for fixed_ip in self.document.fixed_ips)


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def check(router: RouterDocument) -> None:
    """Raises InvalidDocument for values that must not reach the kernel."""
    try:
        for port in ports_of(router):
            if not _MAC.fullmatch(port.mac_address):
                raise ValueError(f"MAC address {port.mac_address!r}")
            for fixed_ip in port.fixed_ips:
                ipaddress.ip_interface(f"{fixed_ip.ip_address}/{fixed_ip.prefix_length}")
                for address in (*filter(None, [fixed_ip.gateway_ip]), *fixed_ip.dns_nameservers):
                    ipaddress.ip_address(address)
        for route in router.routes:
            ipaddress.ip_network(route.destination)
            ipaddress.ip_address(route.nexthop)
        for floating_ip in router.floating_ips:
            ipaddress.IPv4Address(floating_ip.floating_ip_address)
            ipaddress.IPv4Address(floating_ip.fixed_ip_address)
    except ValueError as error:
        raise InvalidDocument(f"cannot build router {router.router_id}: {error}") from error


def ports(
    router: RouterDocument, networks: Mapping[str, NetworkDocument], physical_networks: Mapping[str, str]
) -> list[PlannedPort]:
    """The ports, the gateway's last. Raises HostError when one's network is not on this host."""
    planned = []
    floating_ips = tuple(one.floating_ip_address for one in router.floating_ips)
    for port in ports_of(router):
        network = networks.get(port.network_id)
        if network is None:
            raise HostError(f"cannot plug port {port.port_id}: network {port.network_id} is not on this host")
        name = names.gateway_device if port is router.gateway else names.interface_device
        planned.append(
            PlannedPort(
                document=port,
                device=name(port.port_id),
                tap=names.tap(port.port_id),
                bridge=names.bridge(port.network_id),
                egress=names.egress(network, physical_networks),
                group=diff.group(router, port),
                mtu=min(port.mtu, network.mtu),
                floating_ips=floating_ips if port is router.gateway else (),
            )
        )
    return planned


def taps(devices: Iterable[str]) -> list[str]:
    """The host's ends of the router ports among the devices of a namespace."""
    parts = [device.partition("-") for device in devices]
    return ["tap" + short for prefix, _, short in parts if prefix in {"qr", "qg"}]


def routes(router: RouterDocument, gateway_index: int | None = None) -> set[RouteEntry]:
    """The routes that the router should have beside those of its own subnets. `gateway_index`: of the gateway's
    device, where next hops with link-local addresses are."""
    wanted = {RouteEntry(str(ipaddress.ip_network(route.destination)), route.nexthop) for route in router.routes}
    if router.gateway is not None:
        nexthops = [fixed_ip.gateway_ip for fixed_ip in router.gateway.fixed_ips if fixed_ip.gateway_ip]
        for version, everywhere in _DEFAULT_ROUTES.items():
            nexthop = next((nexthop for nexthop in nexthops if _version(nexthop) == version), None)
            if nexthop is not None and all(route.destination != everywhere for route in wanted):
                index = gateway_index if is_link_local(nexthop) else None
                wanted.add(RouteEntry(everywhere, nexthop, index))
    return wanted


def rules(router: RouterDocument) -> dict[str, object]:
    """What the template of the router's nftables table is filled in with."""
    gateway = router.gateway
    addresses = [] if gateway is None else [ip.ip_address for ip in gateway.fixed_ips if _version(ip.ip_address) == 4]
    return {
        "gateway_device": names.gateway_device(gateway.port_id) if gateway is not None and addresses else None,
        "gateway_address": addresses[0] if addresses else None,
        "enable_snat": router.enable_snat,
        "ipv6": any(_version(ip.ip_address) == 6 for port in ports_of(router) for ip in port.fixed_ips),
    }


def advertisements(planned: Iterable[PlannedPort], indexes: Mapping[str, int]) -> dict[int, bytes]:
    """Index of a device -> the router advertisement that it sends to hosts of IPv6. `indexes`: of the devices."""
    messages = {
        indexes[port.device]: ra.message(port.document.mac_address, port.mtu, port.document.fixed_ips)
        for port in planned
    }
    return {index: message for index, message in messages.items() if message is not None}


def announcement(port: PlannedPort, tap_index: int) -> list[tuple[str, str]]:
    """(address, line for the failover program, see haqn.failover.announce.Row): the first address of each IP version,
    by which switches learn where the port is, then the floating addresses."""
    egress, mac = port.egress or "-", port.document.mac_address
    first = {_version(ip.ip_address): ip.ip_address for ip in reversed(port.document.fixed_ips)}
    addresses = [*(first[version] for version in sorted(first)), *port.floating_ips]
    return [(address, f"{tap_index} {egress} {mac} {address}") for address in addresses]
