"""What the parts of desired state are called on a host. PURE.

Names of devices and namespaces are Neutron's Linux bridge and L3 agents' names, so that an operator finds them.
"""

from __future__ import annotations

from collections.abc import Mapping

from haqn.documents import NetworkDocument
from haqn.model import NetworkType

NAMESPACE_PREFIX = "qrouter-"
BRIDGE_PREFIX = "brq"
VXLAN_PREFIX = "vxlan-"
_SHORT = 11


def namespace(router_id: str) -> str:
    """The network namespace of a router."""
    return NAMESPACE_PREFIX + router_id


def tap(port_id: str) -> str:
    """The device of a port on the host's side."""
    return "tap" + port_id[:_SHORT]


def gateway_device(port_id: str) -> str:
    """The device of a gateway port in the router's namespace."""
    return "qg-" + port_id[:_SHORT]


def interface_device(port_id: str) -> str:
    """The device of a router interface in the router's namespace."""
    return "qr-" + port_id[:_SHORT]


def bridge(network_id: str) -> str:
    """The bridge of a network."""
    return BRIDGE_PREFIX + network_id[:_SHORT]


def egress(network: NetworkDocument, physical_networks: Mapping[str, str]) -> str | None:
    """The device through which frames of the network leave the host; None for a network that does not."""
    if network.network_type is NetworkType.VXLAN:
        return f"{VXLAN_PREFIX}{network.segmentation_id}"
    if network.network_type is NetworkType.FLAT:
        return physical_networks.get(network.physical_network or "")
    return None
