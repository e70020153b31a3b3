"""The backend of Linux bridges: one for each network, with VXLAN devices or physical interfaces."""

from __future__ import annotations

from haqn.agent.backend import Backend, BackendSettings
from haqn.agent.networks import Networks
from haqn.agent.ports import Ports
from haqn.linux.netlink import Netlink


def make(settings: BackendSettings) -> Backend:
    """Raises HostError: an interface of a physical network is not there."""
    with Netlink() as netlink:
        for interface in settings.physical_networks.values():
            netlink.need(interface)
    netlink = Netlink()
    return Backend(
        networks=Networks(netlink, settings.tunnel_address, settings.physical_networks),
        ports=Ports(netlink),
        in_kernel=True,
    )
