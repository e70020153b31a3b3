"""Zones, how full networks are, subnet pools, DHCP agents, routes one by one, and ports' smaller attributes."""

from __future__ import annotations

import uuid

import pytest

from haqn.model import AgentType

UNKNOWN = str(uuid.uuid4())


def zones(api, **query):
    listed = api.get("availability_zones", **query)["availability_zones"]
    return {(zone["name"], zone["resource"], zone["state"]) for zone in listed}


def test_zones_are_where_agents_are(api, add_agent, live_state):
    assert zones(api) == set()
    one = add_agent("net1", availability_zone="a")
    down = add_agent("net2", availability_zone="b", admin_state_up=False)
    dead = add_agent("net3", availability_zone="c")
    bridge = add_agent("c1", AgentType.LINUX_BRIDGE, availability_zone="a")
    live_state.alive_agents = {one: True, down: True, dead: False, bridge: True}
    a = ("a", "router", "available")
    assert zones(api) == {
        a,
        ("a", "network", "available"),
        ("b", "router", "unavailable"),
        ("c", "router", "unavailable"),
    }
    assert zones(api, name="a", resource="router") == {a}
    assert zones(api, state="available", resource=["router", "network"]) == {a, ("a", "network", "available")}
    api.get("availability_zones", 400, colour="red")


def test_hints_name_zones_that_there_are(api, add_agent):
    add_agent("net1", availability_zone="a")
    add_agent("c1", AgentType.LINUX_BRIDGE, availability_zone="n")
    assert api.post("routers", availability_zone_hints=["a"])["availability_zone_hints"] == ["a"]
    assert api.post("routers", 404, availability_zone_hints=["n"])["type"] == "AvailabilityZoneNotFound"
    assert api.post("networks", availability_zone_hints=["n"])["availability_zone_hints"] == ["n"]
    assert api.post("networks", 404, availability_zone_hints=["a"])["type"] == "AvailabilityZoneNotFound"


def test_routers_and_networks_are_in_the_zones_of_their_hosts(api, add_agent, bind):
    one, two = add_agent("net1", availability_zone="a"), add_agent("net2", availability_zone="b")
    add_agent("c1", AgentType.LINUX_BRIDGE, availability_zone="c")
    network, subnet = api.network()
    router = api.post("routers")
    assert (router["availability_zones"], network["availability_zones"]) == ([], [])
    api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])
    bind(router["id"], one, two)
    api.post("ports", network_id=network["id"], **{"binding:host_id": "c1"})
    assert api.get(f"routers/{router['id']}")["router"]["availability_zones"] == ["a", "b"]
    assert api.get(f"networks/{network['id']}")["network"]["availability_zones"] == ["a", "b", "c"]


def test_how_full_networks_are(api):
    network, subnet = api.network("10.0.0.0/24", name="n", project_id="p1")
    api.post("ports", network_id=network["id"])
    api.post("subnets", network_id=network["id"], cidr="10.1.0.0/29", allocation_pools=[])
    api.post("networks")
    shown = api.get(f"network-ip-availabilities/{network['id']}")["network_ip_availability"]
    assert (shown["network_name"], shown["project_id"]) == ("n", "p1")
    assert (shown["total_ips"], shown["used_ips"]) == (253 + 8, 1)
    entries = {entry["subnet_id"]: entry for entry in shown["subnet_ip_availability"]}
    assert entries[subnet["id"]] == {
        "subnet_id": subnet["id"],
        "subnet_name": "",
        "cidr": "10.0.0.0/24",
        "ip_version": 4,
        "total_ips": 253,
        "used_ips": 1,
    }
    listed = api.get("network-ip-availabilities", ip_version=4)["network_ip_availabilities"]
    assert {entry["network_id"]: entry["total_ips"] for entry in listed} == {network["id"]: 261}
    assert api.get("network-ip-availabilities", ip_version=6)["network_ip_availabilities"] == []
    (named,) = api.get("network-ip-availabilities", network_name="n", fields="used_ips")["network_ip_availabilities"]
    assert named == {"used_ips": 1}
    assert api.get(f"network-ip-availabilities/{UNKNOWN}", 404)["NeutronError"]["type"] == "NetworkNotFound"
    api.call("POST", "network-ip-availabilities", 405, {"network_ip_availability": {}})


def test_there_are_no_dhcp_agents(api, add_agent):
    network, agent = api.post("networks"), add_agent("net1")
    assert api.get(f"networks/{network['id']}/dhcp-agents") == {"agents": []}
    assert api.get(f"networks/{UNKNOWN}/dhcp-agents", 404)["NeutronError"]["type"] == "NetworkNotFound"
    path = f"agents/{agent}/dhcp-networks"
    assert api.get(path) == {"networks": []}
    refused = api.call("POST", path, 404, {"network_id": network["id"]})
    assert refused["NeutronError"]["type"] == "InvalidDHCPAgent"
    assert api.delete(f"{path}/{network['id']}", 409)["type"] == "NetworkNotHostedByDhcpAgent"
    assert api.delete(f"agents/{UNKNOWN}/dhcp-networks/{network['id']}", 404)["type"] == "AgentNotFound"


def test_routes_are_added_and_removed_one_by_one(api):
    _, subnet = api.network("10.0.0.0/24")
    router = api.post("routers")
    path = f"routers/{router['id']}"
    api.act(f"{path}/add_router_interface", subnet_id=subnet["id"])
    one, two = ({"destination": f"192.0.{n}.0/24", "nexthop": "10.0.0.9"} for n in (2, 3))

    def change(verb, *routes, status=200):
        answer = api.call("PUT", f"{path}/{verb}_extraroutes", status, {"router": {"routes": list(routes)}})
        return answer["router"]["routes"] if status == 200 else answer["NeutronError"]["type"]

    assert change("add", one) == [one]
    assert change("add", one, two) == [one, two]
    assert change("add", {"destination": "192.0.9.0/24", "nexthop": "172.16.0.1"}, status=400) == "InvalidRoutes"
    assert change("remove", one, {"destination": "192.0.9.0/24", "nexthop": "10.0.0.9"}) == [two]
    assert api.get(path)["router"]["routes"] == [two]
    assert api.call("PUT", f"{path}/add_extraroutes", 400, {"routes": []})["NeutronError"]["type"] == "HTTPBadRequest"
    api.call("PUT", f"routers/{UNKNOWN}/add_extraroutes", 404, {"router": {"routes": []}})


def test_what_nova_sends_to_ports(api):
    network, _ = api.network()
    pairs = [{"ip_address": "10.0.0.77"}, {"ip_address": "10.9.0.0/16", "mac_address": "fa:16:3e:00:00:01"}]
    port = api.post("ports", network_id=network["id"], allowed_address_pairs=pairs, **{"binding:host_id": "c1"})
    assert (port["allowed_address_pairs"], port["binding:vif_details"]) == (pairs, {"port_filter": False})
    unbound = api.put(f"ports/{port['id']}", device_id="", **{"binding:host_id": None, "binding:profile": None})
    assert (unbound["binding:host_id"], unbound["binding:profile"], unbound["binding:vif_type"]) == ("", {}, "unbound")
    assert api.put(f"ports/{port['id']}", allowed_address_pairs=[])["allowed_address_pairs"] == []
    bad = [{"mac_address": "fa:16:3e:00:00:01"}]
    assert "allowed_address_pairs" in api.put(f"ports/{port['id']}", 400, allowed_address_pairs=bad)["message"]


def test_ports_are_found_by_their_host(api, add_agent, bind):
    one, two = add_agent("net1"), add_agent("net2")
    network, subnet = api.network()
    router = api.post("routers")
    added = api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])
    bind(router["id"], one, two)
    vm = api.post("ports", network_id=network["id"], **{"binding:host_id": "net1"})

    def found(host):
        return {port["id"] for port in api.get("ports", **{"binding:host_id": host})["ports"]}

    assert found("net1") == {added["port_id"], vm["id"]}
    assert found("net2") == set()


@pytest.mark.parametrize("collection", ["networks", "routers", "ports"])
def test_what_changed_lately(api, collection):
    network = api.post("networks")
    if collection != "networks":
        api.post(collection, **({"network_id": network["id"]} if collection == "ports" else {}))
    assert len(api.get(collection, changed_since="2020-01-01T00:00:00Z")[collection]) == 1
    assert api.get(collection, changed_since="2100-01-01T00:00:00Z")[collection] == []
    api.get(collection, 400, changed_since="yesterday")
