"""Neutron's contract as one table: what each resource answers with, and which extensions clients look for."""

from __future__ import annotations

import pytest

from haqn.api.discovery import EXTENSIONS
from haqn.model import AgentType

_PROJECT = frozenset({"project_id", "tenant_id"})
_STANDARD = _PROJECT | {"id", "description", "created_at", "updated_at", "revision_number", "tags"}
#: collection -> what each of its objects has in Neutron's API, for an admin
CONTRACT = {
    "networks": _STANDARD
    | {"name", "admin_state_up", "status", "shared", "router:external", "subnets", "mtu", "availability_zone_hints"}
    | {"provider:network_type", "provider:physical_network", "provider:segmentation_id", "availability_zones"}
    | {"port_security_enabled", "ipv4_address_scope", "ipv6_address_scope", "is_default", "qos_policy_id"},
    "subnets": _STANDARD
    | {"name", "network_id", "ip_version", "cidr", "gateway_ip", "enable_dhcp", "allocation_pools", "dns_nameservers"}
    | {"host_routes", "ipv6_ra_mode", "ipv6_address_mode", "subnetpool_id", "service_types", "segment_id"},
    "ports": _STANDARD
    | {"name", "network_id", "mac_address", "fixed_ips", "device_id", "device_owner", "admin_state_up", "status"}
    | {"security_groups", "allowed_address_pairs", "port_security_enabled", "extra_dhcp_opts", "qos_policy_id"}
    | {"binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details", "binding:vnic_type"},
    "routers": _STANDARD
    | {"name", "admin_state_up", "status", "external_gateway_info", "ha", "distributed", "routes", "flavor_id"}
    | {"availability_zone_hints", "availability_zones", "service_type_id"},
    "floatingips": _STANDARD
    | {"floating_ip_address", "floating_network_id", "port_id", "fixed_ip_address", "router_id", "status"}
    | {"port_details", "qos_policy_id"},
    "subnetpools": _STANDARD
    | {"name", "prefixes", "ip_version", "default_prefixlen", "min_prefixlen", "max_prefixlen", "default_quota"}
    | {"shared", "is_default", "address_scope_id"},
    "security-groups": _STANDARD | {"name", "security_group_rules", "stateful", "shared"},
    "security-group-rules": _STANDARD
    | {"security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max"}
    | {"remote_ip_prefix", "remote_group_id"},
    "network-ip-availabilities": _PROJECT
    | {"network_id", "network_name", "subnet_ip_availability", "total_ips", "used_ips"},
    "agents": frozenset()
    | {"id", "agent_type", "binary", "topic", "host", "admin_state_up", "alive", "created_at", "started_at"}
    | {"heartbeat_timestamp", "configurations", "description", "availability_zone", "resources_synced"}
    | {"resource_versions"},
    "availability_zones": {"name", "resource", "state"},
    "quotas": _PROJECT
    | {"network", "subnet", "subnetpool", "port", "router", "floatingip", "security_group", "security_group_rule"},
}
#: what haqn's objects have beyond it, each by an extension of haqn's own
ADDED = {
    "routers": {"redundancy", "redundancy_since", "redundancy_reason"},
    "agents": {"liveness"},
    "security-group-rules": {"remote_address_group_id"},
}
#: attributes that come with an extension which is not reported, and with nothing else
ABSENT = {
    "dns-integration": {"dns_name", "dns_domain", "dns_assignment"},
    "expose-port-forwarding-in-fip": {"port_forwardings"},
}
#: the aliases that clients decide by
ALIASES = {
    *("agent", "l3_agent_scheduler", "dhcp_agent_scheduler", "router", "l3-ha", "ext-gw-mode", "extraroute"),
    *("external-net", "provider", "binding", "quotas", "quota_details", "availability_zone"),
    *("network_availability_zone", "router_availability_zone", "standard-attr-description"),
    *("standard-attr-timestamp", "standard-attr-revisions", "standard-attr-tag", "project-id", "pagination"),
    *("sorting", "fip-port-details", "net-mtu", "availability_zone_filter", "revision-if-match"),
    *("filter-validation", "sort-key-validation", "empty-string-filtering", "extraroute-atomic"),
    *("agent-resources-synced", "security-group", "port-security", "allowed-address-pairs", "extra_dhcp_opt"),
    *("network-ip-availability", "subnet_allocation", "default-subnetpools"),
    *("l3-agent-scheduler-ha-chassis-priority", "ip-substring-filtering", "agent-sort-key"),
}


@pytest.fixture
def everything(api, add_agent, bind):
    """At least one object of each kind."""
    net1 = add_agent("net1")
    add_agent("c1", AgentType.LINUX_BRIDGE)
    external, _ = api.external()
    network, subnet = api.network()
    router = api.post("routers", external_gateway_info={"network_id": external["id"]})
    api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])
    bind(router["id"], net1)
    port = api.post("ports", network_id=network["id"])
    api.post("floatingips", floating_network_id=external["id"], port_id=port["id"])
    api.post("subnetpools", name="pool", prefixes=["10.64.0.0/16"])
    api.call("PUT", "quotas/a-project", 200, {"quota": {"router": 1}})
    return {"routers": router, "networks": network, "subnets": subnet, "ports": port}


@pytest.mark.parametrize("collection", CONTRACT)
def test_objects_have_the_attributes_of_the_contract_and_no_others(api, everything, collection):
    listed = api.get(collection)[collection.replace("-", "_")]
    assert listed
    for each in listed:
        assert set(each) == CONTRACT[collection] | ADDED.get(collection, set())
        assert ("project_id" not in each) or each["project_id"] == each["tenant_id"]
    for alias, names in ABSENT.items():
        assert (alias in EXTENSIONS, set(listed[0]) & names) == (False, set())


@pytest.mark.parametrize("collection", ["networks", "subnets", "ports", "routers"])
def test_one_object_has_what_lists_show_of_it(api, everything, collection):
    object_id = everything[collection]["id"]
    (listed,) = api.get(collection, id=object_id)[collection]
    assert api.get(f"{collection}/{object_id}")[collection[:-1]] == listed
    assert set(everything[collection]) == set(listed)


def test_clients_find_the_extensions_that_they_decide_by(api):
    listed = {extension["alias"] for extension in api.get("extensions")["extensions"]}
    assert listed >= ALIASES
    for extension in api.get("extensions")["extensions"]:
        assert set(extension) >= {"alias", "name", "description", "links", "updated"}


def test_details_of_a_quota_and_agents_of_a_router(api, everything):
    details = api.get("quotas/a-project/details.json")["quota"]
    assert set(details) == CONTRACT["quotas"] - _PROJECT
    assert set(details["router"]) == {"limit", "used", "reserved"}
    (agent,) = api.get(f"routers/{everything['routers']['id']}/l3-agents")["agents"]
    assert set(agent) == CONTRACT["agents"] | ADDED["agents"] | {"ha_state", "ha_chassis_priority"}
