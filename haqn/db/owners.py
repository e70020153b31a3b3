"""Neutron's `device_owner` words for ports that belong to the network service itself."""

from __future__ import annotations

import enum


class DeviceOwner(enum.StrEnum):
    ROUTER_GATEWAY = "network:router_gateway"
    #: interface of a router without a standby
    ROUTER_INTERFACE = "network:router_interface"
    #: interface of a router with a standby
    HA_ROUTER_INTERFACE = "network:ha_router_replicated_interface"
    #: holds the address of a floating IP
    FLOATING_IP = "network:floatingip"


INTERFACE_OWNERS = (DeviceOwner.ROUTER_INTERFACE, DeviceOwner.HA_ROUTER_INTERFACE)
ROUTER_OWNERS = (DeviceOwner.ROUTER_GATEWAY, *INTERFACE_OWNERS)
#: ports that only the rules of what they belong to may write
SERVICE_OWNERS = (*ROUTER_OWNERS, DeviceOwner.FLOATING_IP)


def interface_owner(ha: bool) -> DeviceOwner:
    """What a router's interface says, as Neutron's clients expect."""
    return DeviceOwner.HA_ROUTER_INTERFACE if ha else DeviceOwner.ROUTER_INTERFACE
