"""Networks on a host: one bridge each, with a VXLAN device or a physical interface as its way out.

Knows bridges; knows nothing of routers. `apply` reads the kernel and changes only what differs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from haqn.agent import names
from haqn.documents import NetworkDocument
from haqn.exceptions import HostError
from haqn.failover.announce import SWITCHES_ONLY
from haqn.linux import netns
from haqn.linux.netlink import Link, Netlink
from haqn.linux.rtnetlink import Rtnetlink
from haqn.model import NetworkType

_MAX_VNI = 2**24 - 1


def quiet(device: str) -> dict[str, str]:
    """Parameters that keep this host's own IPv6 stack (router solicitations, MLD) off a switched device."""
    return {f"net/ipv6/conf/{device}/disable_ipv6": "1"}


class Networks:
    """The bridges of this host."""

    def __init__(self, netlink: Netlink, tunnel_address: str, physical_networks: Mapping[str, str]) -> None:
        self._netlink = netlink
        self._tunnel_address = tunnel_address
        self._physical_networks = physical_networks

    def egress(self, network: NetworkDocument) -> str | None:
        return names.egress(network, self._physical_networks)

    def apply(self, network: NetworkDocument) -> None:
        """Make the network's bridge as the document says. Raises HostError."""
        name = names.bridge(network.network_id)
        bridge = self._netlink.link(name)
        if bridge is None:
            self._netlink.add_bridge(name, network.mtu)
            netns.set_sysctls(quiet(name))
            bridge = self._netlink.need(name)
            self._netlink.add_own_mac(bridge, SWITCHES_ONLY.hex(":"))
        if bridge.mtu != network.mtu:
            self._netlink.set_link(bridge, mtu=network.mtu)
        if network.network_type is NetworkType.VXLAN:
            self._apply_vxlan(network, bridge)
        elif network.network_type is NetworkType.FLAT:
            self._apply_flat(network, bridge)
        if bridge.up != network.admin_state_up:
            self._netlink.set_link(bridge, state="up" if network.admin_state_up else "down")

    def _apply_vxlan(self, network: NetworkDocument, bridge: Link) -> None:
        vni = network.segmentation_id
        if vni is None or not 1 <= vni <= _MAX_VNI:
            raise HostError(f"cannot make network {network.network_id}: VXLAN id {vni} is not in 1..{_MAX_VNI}")
        name = f"{names.VXLAN_PREFIX}{vni}"
        device = self._netlink.link(name)
        if device is not None and (device.vxlan_id, device.vxlan_local) != (vni, self._tunnel_address):
            self._netlink.delete_link(name)
            device = None
        if device is None:
            self._netlink.add_vxlan(name, vni=vni, local=self._tunnel_address, mtu=network.mtu)
            netns.set_sysctls(quiet(name))
            device = self._netlink.need(name)
        self._plug(device, bridge, network.mtu)
        wanted = {str(ipaddress.ip_address(address)) for address in network.flood} - {self._tunnel_address}
        with Rtnetlink() as handle:
            present = handle.flood(device.index)
        for address in sorted(wanted - present):
            self._netlink.append_flood(device, address)
        for address in sorted(present - wanted):
            self._netlink.delete_flood(device, address)

    def _apply_flat(self, network: NetworkDocument, bridge: Link) -> None:
        interface = self.egress(network)
        if interface is None:
            raise HostError(
                f"cannot make network {network.network_id}: this host has no interface for physical network "
                f"{network.physical_network} ([agent] physical_networks)"
            )
        self._plug(self._netlink.need(interface), bridge, None)

    def _plug(self, device: Link, bridge: Link, mtu: int | None) -> None:
        if mtu is not None and device.mtu != mtu:
            self._netlink.set_link(device, mtu=mtu)
        if device.master != bridge.index:
            self._netlink.set_link(device, master=bridge.index)
        if not device.up:
            self._netlink.set_link(device, state="up")

    def remove(self, network_id: str) -> None:
        """Remove the bridge and its VXLAN device; a physical interface is only taken out of it."""
        name = names.bridge(network_id)
        links = self._netlink.links()
        bridge = links.get(name)
        if bridge is None:
            return
        for link in links.values():
            if link.master == bridge.index and link.kind == "vxlan":
                self._netlink.delete_link(link.name)
        self._netlink.delete_link(name)

    def found(self) -> set[str]:
        """The bridges of haqn on this host, by the part of the network's id that is in their names."""
        links, prefix = self._netlink.links(), names.BRIDGE_PREFIX
        return {name.removeprefix(prefix) for name in links if name.startswith(prefix)}
