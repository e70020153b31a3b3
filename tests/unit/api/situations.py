"""Requests that are right in themselves and wrong as things are, for `test_refusals`, which makes the things."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

UNKNOWN = str(uuid.UUID(int=7))
POOL = {"start": "10.7.0.5", "end": "10.7.0.20"}


class Request(NamedTuple):
    """A request that must be refused. In `path`, `body` and `names`, words like `<router>` stand for ids."""

    method: str
    path: str
    body: Any
    status: int
    kind: str
    #: what the message must say
    names: tuple[str, ...] = ()


def port(**attributes):
    return {"port": {"network_id": "<network>", **attributes}}


def subnet(**attributes):
    return {"subnet": {"network_id": "<alone>", "cidr": "10.7.0.0/24", "ip_version": 4, **attributes}}


def gateway(**attributes):
    return {"router": {"external_gateway_info": {"network_id": "<external>", **attributes}}}


def routes(*pairs):
    return {"router": {"routes": [{"destination": where, "nexthop": by} for where, by in pairs]}}


def floating(**attributes):
    return {"floatingip": {"floating_network_id": "<external>", **attributes}}


def rule(**attributes):
    return {"security_group_rule": {"security_group_id": "<group>", "direction": "ingress", **attributes}}


def quota(**limits):
    return {"quota": limits}


SITUATIONS = [
    # networks
    Request(
        "POST", "networks", {"network": {"provider:network_type": "vlan"}}, 400, "HTTPBadRequest", ("network_type",)
    ),
    Request(
        *("POST", "networks", {"network": {"provider:network_type": "flat"}}, 400, "InvalidInput"),
        ("provider:physical_network",),
    ),
    Request(
        *("POST", "networks", {"network": {"provider:segmentation_id": 5, "provider:network_type": "local"}}),
        *(400, "InvalidInput", ("provider:segmentation_id",)),
    ),
    Request(
        *("POST", "networks", {"network": {"provider:network_type": "flat", "provider:physical_network": "ext"}}),
        *(409, "FlatNetworkInUse", ("Physical network ext",)),
    ),
    Request("POST", "networks", {"network": {"mtu": 9001}}, 400, "InvalidInput", ("mtu",)),
    Request("POST", "networks", {"networks": [{"name": "a"}, {"mtu": 9001}]}, 400, "InvalidInput", ("mtu",)),
    Request(
        *("PUT", "networks/<external>", {"network": {"router:external": False}}),
        *(409, "ExternalNetworkInUse", ("<external>",)),
    ),
    Request("DELETE", "networks/<network>", None, 409, "NetworkInUse", ("<network>", "<port>")),
    Request("DELETE", "networks/<unknown>", None, 404, "NetworkNotFound", ("<unknown>",)),
    # subnets
    Request("POST", "subnets", subnet(network_id=UNKNOWN), 404, "NetworkNotFound", (UNKNOWN,)),
    Request("POST", "subnets", subnet(cidr="10.3.0.128/25"), 400, "InvalidInput", ("cidr", "10.3.0.128/25")),
    Request("POST", "subnets", subnet(cidr="224.0.0.0/24"), 400, "InvalidInput", ("cidr",)),
    Request("POST", "subnets", subnet(ip_version=6), 400, "InvalidInput", ("cidr", "ip_version")),
    Request("POST", "subnets", subnet(gateway_ip="2001:db8::1"), 400, "InvalidInput", ("gateway_ip",)),
    Request("POST", "subnets", subnet(gateway_ip="10.7.0.255"), 400, "InvalidInput", ("gateway_ip",)),
    Request(
        *("POST", "subnets", subnet(gateway_ip="10.7.0.9", allocation_pools=[POOL]), 409),
        *("GatewayConflictWithAllocationPools", ("Gateway ip 10.7.0.9", "10.7.0.5-10.7.0.20")),
    ),
    Request(
        *("POST", "subnets", subnet(allocation_pools=[{"start": "10.7.0.9", "end": "10.7.0.2"}])),
        *(400, "InvalidAllocationPool", ("allocation pool",)),
    ),
    Request(
        *("POST", "subnets", subnet(allocation_pools=[{"start": "10.7.0.9", "end": "10.8.0.2"}])),
        *(400, "OutOfBoundsAllocationPool", ("allocation pool", "10.7.0.0/24")),
    ),
    Request(
        *("POST", "subnets", subnet(allocation_pools=[POOL, {"start": "10.7.0.20", "end": "10.7.0.30"}])),
        *(409, "OverlappingAllocationPools", ("allocation pools", "10.7.0.0/24")),
    ),
    Request("POST", "subnets", subnet(ipv6_ra_mode="slaac"), 400, "InvalidInput", ("ipv6_ra_mode",)),
    Request("POST", "subnets", subnet(cidr=None), 400, "BadRequest", ("cidr",)),
    Request("PUT", "subnets/<subnet>", {"subnet": {"gateway_ip": "10.2.0.9"}}, 409, "GatewayIpInUse", ("10.2.0.1",)),
    Request("DELETE", "subnets/<subnet>", None, 409, "SubnetInUse", ("<subnet>",)),
    Request("DELETE", "subnets/<unknown>", None, 404, "SubnetNotFound", ("<unknown>",)),
    # subnet pools
    Request("DELETE", "subnetpools/<pool>", None, 400, "SubnetPoolDeleteError", ("<pool>",)),
    Request("POST", "subnetpools", {"subnetpool": {"prefixes": []}}, 400, "EmptySubnetPoolPrefixList", ("prefix",)),
    Request(
        *("POST", "subnetpools", {"subnetpool": {"prefixes": ["10.0.0.0/8", "2001:db8::/32"]}}),
        *(400, "PrefixVersionMismatch", ("prefixes",)),
    ),
    Request(
        *("POST", "subnetpools", {"subnetpool": {"prefixes": ["10.0.0.0/8"], "min_prefixlen": 9, "max_prefixlen": 8}}),
        *(400, "IllegalSubnetPoolPrefixBounds", ("max_prefixlen", "min_prefixlen")),
    ),
    # ports
    Request("POST", "ports", port(network_id=UNKNOWN), 404, "NetworkNotFound", (UNKNOWN,)),
    Request("POST", "ports", port(mac_address="<mac>"), 409, "MacAddressInUse", ("mac address", "<mac>")),
    Request("POST", "ports", port(fixed_ips=[{"subnet_id": UNKNOWN}]), 400, "InvalidInput", ("fixed_ips", UNKNOWN)),
    Request("POST", "ports", port(fixed_ips=[{"ip_address": "1.2.3.4"}]), 400, "InvalidIpForNetwork", ("1.2.3.4",)),
    Request(
        *("POST", "ports", port(fixed_ips=[{"subnet_id": "<subnet>", "ip_address": "1.2.3.4"}])),
        *(400, "InvalidIpForSubnet", ("1.2.3.4",)),
    ),
    Request(
        *("POST", "ports", port(fixed_ips=[{"ip_address": "<address>"}])),
        *(409, "IpAddressAlreadyAllocated", ("<address>", "<subnet>")),
    ),
    Request("POST", "ports", port(security_groups=[UNKNOWN]), 404, "SecurityGroupNotFound", (UNKNOWN,)),
    Request("POST", "ports", port(device_owner="network:router_gateway"), 400, "InvalidInput", ("device_owner",)),
    Request("POST", "ports", {"ports": [port()["port"], port(network_id=UNKNOWN)["port"]]}, 404, "NetworkNotFound"),
    Request("PUT", "ports/<router_port>", {"port": {"fixed_ips": []}}, 409, "ServicePortInUse", ("<router_port>",)),
    Request("DELETE", "ports/<router_port>", None, 409, "ServicePortInUse", ("<router_port>",)),
    Request("DELETE", "ports/<gateway_port>", None, 409, "ServicePortInUse", ("<gateway_port>",)),
    # routers
    Request("POST", "routers", gateway(network_id=UNKNOWN), 404, "NetworkNotFound", (UNKNOWN,)),
    Request("POST", "routers", gateway(network_id="<network>"), 400, "BadRequest", ("<network>", "external network")),
    Request(
        *("POST", "routers", gateway(external_fixed_ips=[{"ip_address": "<floating_address>"}])),
        *(409, "IpAddressAlreadyAllocated", ("<floating_address>", "<external_subnet>")),
    ),
    Request(
        *("POST", "routers", gateway(external_fixed_ips=[{"subnet_id": "<subnet>"}])),
        *(400, "InvalidInput", ("<subnet>",)),
    ),
    Request(
        *("PUT", "routers/<router>", {"router": {"external_gateway_info": {}}}, 409),
        *("RouterExternalGatewayInUseByFloatingIp", ("<router>", "<external>")),
    ),
    Request(
        "PUT",
        "routers/<router>",
        gateway(enable_snat="x"),
        400,
        "HTTPBadRequest",
        ("external_gateway_info", "enable_snat"),
    ),
    Request("PUT", "routers/<router>", gateway(other=1), 400, "HTTPBadRequest", ("external_gateway_info", "other")),
    Request(
        "PUT", "routers/<router>", routes(("10.0.0.0/33", "10.2.0.9")), 400, "HTTPBadRequest", ("routes", "destination")
    ),
    Request("PUT", "routers/<router>", routes(("10.9.0.0/24", "1.2.3.4")), 400, "InvalidRoutes", ("routes", "1.2.3.4")),
    Request(
        "PUT", "routers/<router>", routes(("10.9.0.0/24", "10.2.0.1")), 400, "InvalidRoutes", ("routes", "10.2.0.1")
    ),
    Request("PUT", "routers/<router>", routes(("2001:db8::/64", "10.2.0.9")), 400, "InvalidRoutes", ("routes",)),
    Request("DELETE", "routers/<router>", None, 409, "RouterInUse", ("<router>",)),
    Request("DELETE", "routers/<unknown>", None, 404, "RouterNotFound", ("<unknown>",)),
    Request(
        *("PUT", "routers/<router>/add_router_interface", {"subnet_id": "<other_subnet>"}),
        *(400, "BadRequest", ("<other_subnet>", "<subnet>", "overlaps", "10.2.0.0/25")),
    ),
    Request(
        *("PUT", "routers/<router>/add_router_interface", {"subnet_id": "<subnet>"}),
        *(400, "BadRequest", ("<subnet>", "already")),
    ),
    Request(
        *("PUT", "routers/<router>/add_router_interface", {"subnet_id": "<no_gateway>"}),
        *(400, "BadRequest", ("<no_gateway>", "gateway_ip")),
    ),
    Request(
        *("PUT", "routers/<router>/add_router_interface", {"port_id": "<gateway_port>"}),
        *(409, "PortInUse", ("<gateway_port>", "<router>")),
    ),
    Request("PUT", "routers/<router>/add_router_interface", {"subnet_id": "x"}, 400, "HTTPBadRequest", ("subnet_id",)),
    Request("PUT", "routers/<router>/add_router_interface", {}, 400, "BadRequest", ("subnet_id", "port_id")),
    Request(
        *("PUT", "routers/<router>/add_router_interface", {"subnet_id": "<subnet>", "port_id": "<port>"}),
        *(400, "BadRequest", ("subnet", "port")),
    ),
    Request(
        *("PUT", "routers/<router>/remove_router_interface", {"subnet_id": "<subnet>"}),
        *(409, "RouterInterfaceInUseByRoute", ("<subnet>", "<router>")),
    ),
    Request(
        *("PUT", "routers/<router>/remove_router_interface", {"subnet_id": "<no_gateway>"}),
        *(404, "RouterInterfaceNotFoundForSubnet", ("<no_gateway>", "<router>")),
    ),
    Request(
        *("PUT", "routers/<router>/remove_router_interface", {"port_id": "<port>"}),
        *(404, "RouterInterfaceNotFound", ("<port>", "<router>")),
    ),
    Request(
        "PUT",
        "routers/<router>/add_extraroutes",
        routes(("10.9.0.0/24", "x")),
        400,
        "HTTPBadRequest",
        ("routes", "nexthop"),
    ),
    # floating IPs
    Request("POST", "floatingips", floating(floating_network_id=UNKNOWN), 404, "NetworkNotFound", (UNKNOWN,)),
    Request("POST", "floatingips", floating(floating_network_id="<network>"), 400, "BadRequest", ("<network>",)),
    Request("POST", "floatingips", floating(port_id=UNKNOWN), 404, "PortNotFound", (UNKNOWN,)),
    Request(
        *("POST", "floatingips", floating(floating_ip_address="<floating_address>")),
        *(409, "IpAddressAlreadyAllocated", ("<floating_address>",)),
    ),
    Request(
        "POST", "floatingips", floating(fixed_ip_address="10.2.0.9"), 400, "BadRequest", ("fixed_ip_address", "port_id")
    ),
    Request(
        *("POST", "floatingips", floating(port_id="<port>")),
        *(409, "FloatingIPPortAlreadyAssociated", ("<port>", "<address>")),
    ),
    Request(
        *("POST", "floatingips", floating(port_id="<member>", fixed_ip_address="10.2.0.250")),
        *(400, "BadRequest", ("<member>", "10.2.0.250")),
    ),
    Request("DELETE", "floatingips/<unknown>", None, 404, "FloatingIPNotFound", ("<unknown>",)),
    # agents
    Request("PUT", "agents/<agent>", {"agent": {"host": "net9"}}, 400, "HTTPBadRequest", ("host",)),
    Request("PUT", "agents/<agent>", {"agent": {"admin_state_up": []}}, 400, "HTTPBadRequest", ("admin_state_up",)),
    Request("DELETE", "agents/<agent>", None, 409, "AgentInUse", ("<agent>", "<router>")),
    Request("POST", "agents/<agent>/l3-routers", {"router_id": "x"}, 400, "HTTPBadRequest", ("router_id",)),
    Request("POST", "agents/<agent>/l3-routers", {"router_id": UNKNOWN}, 404, "RouterNotFound", (UNKNOWN,)),
    Request(
        *("PUT", "agents/<agent>/l3-routers/<router>", {"ha_chassis_priority": -1}),
        *(400, "HTTPBadRequest", ("ha_chassis_priority",)),
    ),
    Request("DELETE", "agents/<unknown>", None, 404, "AgentNotFound", ("<unknown>",)),
    # security groups
    Request(
        *("DELETE", "security-groups/<group>", None, 409, "SecurityGroupInUse", ("<group>", "<member>")),
    ),
    Request("DELETE", "security-groups/<default_group>", None, 409, "SecurityGroupCannotRemoveDefault", ("default",)),
    Request(
        *("PUT", "security-groups/<default_group>", {"security_group": {"name": "x"}}),
        *(409, "SecurityGroupCannotUpdateDefault", ("default",)),
    ),
    Request(
        *("POST", "security-groups", {"security_group": {"name": "default"}}),
        *(409, "SecurityGroupDefaultAlreadyExists", ("Default",)),
    ),
    Request("POST", "security-group-rules", rule(security_group_id=UNKNOWN), 404, "SecurityGroupNotFound", (UNKNOWN,)),
    Request("POST", "security-group-rules", rule(remote_group_id=UNKNOWN), 404, "SecurityGroupNotFound", (UNKNOWN,)),
    Request(
        *("POST", "security-group-rules", rule(security_group_id="<of_rule>"), 409),
        *("SecurityGroupRuleExists", ("<rule>",)),
    ),
    Request(
        *("POST", "security-group-rules", rule(protocol="tcp", port_range_min=9, port_range_max=1)),
        *(400, "SecurityGroupInvalidPortRange", ("port_range_min", "port_range_max")),
    ),
    Request(
        *("POST", "security-group-rules", rule(port_range_min=1, port_range_max=9)),
        *(400, "SecurityGroupProtocolRequiredWithPorts", ("protocol",)),
    ),
    Request(
        *("POST", "security-group-rules", rule(remote_group_id="<group>", remote_ip_prefix="10.0.0.0/8")),
        *(400, "SecurityGroupRemoteGroupAndRemoteIpPrefix", ("remote_ip_prefix", "remote_group_id")),
    ),
    Request(
        *("POST", "security-group-rules", rule(remote_ip_prefix="2001:db8::/32")),
        *(400, "SecurityGroupRuleParameterConflict", ("ethertype", "2001:db8::/32")),
    ),
    # quotas
    Request("PUT", "quotas/t", quota(network="x"), 400, "HTTPBadRequest", ("network",)),
    Request("PUT", "quotas/t", quota(network=-2), 400, "HTTPBadRequest", ("network",)),
    Request("PUT", "quotas/t", quota(elephants=1), 400, "HTTPBadRequest", ("elephants",)),
    Request("PUT", "quotas/t", quota(network=0, check_limit=True), 409, "InvalidQuotaValue", ("network",)),
    Request("PUT", "quotas/t", {"quota": 1}, 400, "HTTPBadRequest", ("quota",)),
]
