"""Filters by what is in lists, in other tables and in what etcd knows: SQL finds the rows, on every database."""

from __future__ import annotations

import pytest

from haqn.model import AgentType
from tests.unit.api.conftest import statements_of


@pytest.fixture
def found(api):
    """The names of what a list has, by its filters."""

    def names(collection, **query):
        return sorted(each["name"] for each in api.get(collection, **query)[collection])

    return names


def test_words_in_lists(api, add_agent, found):
    for zone in ("az1", "az2", "x'"):
        add_agent(f"net-{zone}", availability_zone=zone)
        add_agent(f"c-{zone}", AgentType.LINUX_BRIDGE, availability_zone=zone)
    for collection in ("routers", "networks"):
        api.post(collection, name="one", availability_zone_hints=["az1"])
        api.post(collection, name="two", availability_zone_hints=["az2", "az1"])
        api.post(collection, name="quoted", availability_zone_hints=["x'"])
        api.post(collection, name="none")
        assert found(collection, availability_zone_hints="az1") == ["one", "two"]
        assert found(collection, availability_zone_hints=["az2", "x'"]) == ["quoted", "two"]
        assert found(collection, availability_zone_hints="az1", name="two") == ["two"]
        for word in ("az", "AZ1", '"az1"', "%", "", "x", '["az1"]', '{"a": 1}', "1", "null", "\\"):
            assert found(collection, availability_zone_hints=word) == [], word


def test_what_subnets_have(api, found):
    network = api.post("networks", name="n1")
    other = api.post("networks", name="n2")
    routes = [
        {"destination": "10.9.0.0/24", "nexthop": "10.0.0.9"},
        {"destination": "10.8.0.0/24", "nexthop": "10.0.0.8"},
    ]
    one = api.post(
        "subnets",
        name="one",
        network_id=network["id"],
        ip_version=4,
        cidr="10.0.0.0/24",
        dns_nameservers=["9.9.9.9", "2001:db8::1"],
        host_routes=routes,
        allocation_pools=[{"start": "10.0.0.10", "end": "10.0.0.20"}, {"start": "10.0.0.30", "end": "10.0.0.40"}],
    )
    api.post(
        "subnets", name="two", network_id=other["id"], ip_version=4, cidr="10.0.0.0/24", dns_nameservers=["9.9.9.9"]
    )
    assert found("subnets", dns_nameservers="9.9.9.9") == ["one", "two"]
    assert found("subnets", dns_nameservers="2001:DB8:0::1") == ["one"]
    assert found("subnets", dns_nameservers="9.9.9") == []
    assert found("subnets", host_routes="nexthop=10.0.0.9") == ["one"]
    assert found("subnets", host_routes=["destination=10.8.0.0/24", "nexthop=10.0.0.8"]) == ["one"]
    assert found("subnets", host_routes=["destination=10.7.0.0/24", "nexthop=10.0.0.8"]) == []
    assert found("subnets", allocation_pools=["start=10.0.0.30", "end=10.0.0.40"]) == ["one"]
    assert found("subnets", allocation_pools=["start=10.0.0.10", "end=10.0.0.40"]) == []
    assert found("networks", subnets=one["id"]) == ["n1"]
    assert found("networks", subnets="nothing") == []
    pool = {"default_prefixlen": 24}
    api.post("subnetpools", name="p1", prefixes=["10.0.0.0/16", "10.2.0.0/16"], **pool)
    api.post("subnetpools", name="p2", prefixes=["10.4.0.0/16"], **pool)
    assert found("subnetpools", prefixes="10.2.0.0/16") == ["p1"]
    assert found("subnetpools", prefixes="10.3.0.0/16") == []


def test_what_routers_have(api, found, add_agent, bind):
    external, external_subnet = api.external()
    elsewhere, _ = api.external("198.51.100.0/24", "other")
    gateway = {"network_id": external["id"], "external_fixed_ips": [{"ip_address": "203.0.113.7"}]}
    one = api.post("routers", name="one", external_gateway_info=gateway)
    api.post("routers", name="two", external_gateway_info={"network_id": elsewhere["id"], "enable_snat": False})
    api.post("routers", name="inner")
    api.put(f"routers/{one['id']}", routes=[{"destination": "10.9.0.0/24", "nexthop": "203.0.113.9"}])
    assert found("routers", routes="destination=10.9.0.0/24") == ["one"]
    assert found("routers", routes=["nexthop=203.0.113.9", "nexthop=203.0.113.8"]) == ["one"]
    assert found("routers", routes="nexthop=203.0.113.8") == []

    def by_gateway(*values):
        return found("routers", external_gateway_info=list(values))

    assert by_gateway(f"network_id={external['id']}") == ["one"]
    assert by_gateway(f"network_id={external['id']}", f"network_id={elsewhere['id']}") == ["one", "two"]
    assert by_gateway("enable_snat=false") == ["two"]
    assert by_gateway("external_fixed_ips=ip_address=203.0.113.7") == ["one"]
    assert by_gateway(f"external_fixed_ips=subnet_id={external_subnet['id']}", "enable_snat=true") == ["one"]
    assert by_gateway("external_fixed_ips=ip_address=203.0.113.8") == []
    assert by_gateway("") == ["inner"]
    assert by_gateway("", "enable_snat=false") == ["inner", "two"]
    bind(one["id"], add_agent("net1", availability_zone="a"))
    assert found("routers", availability_zones="a") == ["one"]
    assert found("routers", availability_zones=["b", "c"]) == []


def test_what_networks_and_ports_have(api, found, add_agent, bind):
    network, subnet = api.network(name="plain")
    plugged, _ = api.network("10.1.0.0/24", name="plugged")
    add_agent("c1", AgentType.LINUX_BRIDGE, availability_zone="a")
    pairs = [{"ip_address": "10.0.0.99"}, {"ip_address": "10.0.0.0/28", "mac_address": "fa:16:3e:00:00:01"}]
    api.post("ports", name="free", network_id=network["id"], allowed_address_pairs=pairs)
    api.post("ports", name="bound", network_id=plugged["id"], **{"binding:host_id": "c1"})
    router = api.post("routers")
    api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])
    assert found("ports", allowed_address_pairs="ip_address=10.0.0.99") == ["free"]
    assert found("ports", allowed_address_pairs="mac_address=fa:16:3e:00:00:01") == ["free"]
    assert found("ports", allowed_address_pairs="ip_address=10.0.0.9") == []
    assert found("ports", **{"binding:vif_type": "unbound"}) == ["", "free"]
    assert found("ports", **{"binding:vif_type": "bridge"}) == ["bound"]
    assert found("ports", **{"binding:vif_type": ["ovs", "x"]}) == []
    assert found("networks", availability_zones="a") == ["plugged"]
    bind(router["id"], add_agent("net1", availability_zone="b"))
    assert found("ports", **{"binding:vif_type": "bridge"}) == ["", "bound"]
    assert found("networks", availability_zones=["a", "b"]) == ["plain", "plugged"]
    shown = {port["name"]: port["binding:vif_type"] for port in api.get("ports")["ports"]}
    assert shown == {"": "bridge", "bound": "bridge", "free": "unbound"}


def test_what_all_objects_have_alike(api, found):
    api.post("routers", name="r")
    api.post("networks", name="n")
    assert found("routers", distributed="false", flavor_id="") == ["r"]
    assert found("routers", distributed="true") == found("routers", flavor_id="x") == []
    assert found("networks", is_default="0", qos_policy_id="") == ["n"]
    assert found("networks", is_default="True") == []
    assert "is_default" in api.get("networks", 400, is_default="perhaps")["NeutronError"]["message"]


@pytest.mark.parametrize(
    ("collection", "name"),
    [
        *(("ports", name) for name in ("binding:profile", "binding:vif_details", "extra_dhcp_opts")),
        ("floatingips", "port_details"),
        ("agents", "configurations"),
        ("security-groups", "security_group_rules"),
    ],
)
def test_objects_within_objects_are_no_filters(api, collection, name):
    error = api.get(collection, 400, **{name: "x"})["NeutronError"]
    assert f"['{name}'] is invalid attribute for filtering" in error["message"]


@pytest.mark.parametrize("value", ["nexthop", "color=red", "=", "network_id"])
def test_members_that_there_are_not(api, value):
    for name in ("routes", "external_gateway_info"):
        assert api.get("routers", 400, **{name: value})["NeutronError"]["type"] == "InvalidInput"


def test_zones_are_a_list_like_others(api, add_agent, live_state, database):
    living = [add_agent("net1", availability_zone="a"), add_agent("net2", availability_zone="c")]
    bridge = add_agent("c1", AgentType.LINUX_BRIDGE, availability_zone="a")
    add_agent("net3", availability_zone="b")
    live_state.alive_agents = dict.fromkeys([*living, bridge], True)

    def listed(**query):
        answer = api.get("availability_zones", **query)
        zones = [(zone["name"], zone["resource"], zone["state"]) for zone in answer["availability_zones"]]
        return zones, {link["rel"]: link["href"] for link in answer.get("availability_zones_links", ())}

    dead = ("b", "router", "unavailable")
    everything = [("a", "router", "available"), dead, ("c", "router", "available")]
    everything = [("a", "network", "available"), *everything]
    by_name = {"sort_key": ["name", "resource"], "sort_dir": ["asc", "asc"]}
    assert listed(**by_name)[0] == everything
    assert listed(sort_key="name", sort_dir="desc")[0][0] == everything[-1]
    assert listed(state="unavailable")[0] == [dead]
    assert listed(state="available", name=["b", "c"])[0] == everything[-1:]
    seen, (page, links) = [], listed(limit=1, **by_name)
    while "next" in links:
        seen += page
        marker = links["next"].rpartition("marker=")[2].replace("%3A", ":")
        page, links = listed(limit=1, marker=marker, **by_name)
    assert seen + page == everything
    assert api.get("availability_zones", fields="state", name="b")["availability_zones"] == [{"state": "unavailable"}]
    assert (
        api.get("availability_zones", 404, marker="router:nothing")["NeutronError"]["type"]
        == "AvailabilityZoneNotFound"
    )
    api.get("availability_zones", 400, sort_key="state")
    api.get("availability_zones", 400, limit="-1")
    live_state.alive_agents = {}
    assert {zone[2] for zone in listed()[0]} == {"available"}
    with statements_of(database) as statements:
        listed(state="available")
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 1


def test_who_is_alive_is_asked_in_sql_page_by_page(api, add_agent, live_state):
    agents = sorted(add_agent(f"net{number}") for number in range(6))
    live_state.alive_agents = {agent: number % 2 == 0 for number, agent in enumerate(agents)}

    def page(**query):
        return [agent["id"] for agent in api.get("agents", **query)["agents"]]

    assert page(alive="true", limit=2) == agents[0:4:2]
    assert page(alive="true", limit=2, marker=agents[2]) == agents[4:5]
    assert page(alive="false", limit=2, marker=agents[1]) == agents[3:6:2]
    assert page(alive=["true", "false"]) == agents
    live_state.alive_agents = {}
    assert (page(alive="true"), page(alive="false")) == ([], agents)
