"""Ports: addresses, MACs, bindings."""

from __future__ import annotations

import ipaddress
import uuid

import pytest

from haqn.model import VrrpState

UNKNOWN = str(uuid.uuid4())


def addresses(port):
    return [ip["ip_address"] for ip in port["fixed_ips"]]


def test_a_port_gets_an_address_and_a_mac(api):
    network, subnet = api.network("10.0.0.0/24")
    port = api.post("ports", network_id=network["id"], **{"binding:host_id": "c1"})
    assert port["fixed_ips"][0]["subnet_id"] == subnet["id"]
    assert ipaddress.ip_address(addresses(port)[0]) in ipaddress.ip_network("10.0.0.0/24")
    assert port["mac_address"].startswith("fa:16:3e:")
    assert (port["status"], port["binding:vif_type"]) == ("DOWN", "bridge")
    assert api.get(f"ports/{port['id']}") == {"port": port}


def test_all_addresses_are_given_once_and_then_there_is_none(api):
    network, _ = api.network("10.0.0.0/26")
    given = [address for _ in range(61) for address in addresses(api.post("ports", network_id=network["id"]))]
    assert sorted(map(ipaddress.ip_address, given)) == list(ipaddress.ip_network("10.0.0.0/26").hosts())[1:]
    assert api.post("ports", 409, network_id=network["id"])["type"] == "IpAddressGenerationFailure"


def test_the_next_subnet_helps_when_one_is_full(api):
    network, _ = api.network("10.0.0.0/30")
    second = api.post("subnets", network_id=network["id"], cidr="10.0.1.0/30")
    found = {api.post("ports", network_id=network["id"])["fixed_ips"][0]["subnet_id"] for _ in range(2)}
    assert second["id"] in found
    assert len(found) == 2


def test_a_network_without_subnets_gives_no_address(api):
    network = api.post("networks")
    assert api.post("ports", network_id=network["id"])["fixed_ips"] == []
    assert api.post("ports", network_id=network["id"], fixed_ips=[])["fixed_ips"] == []


def test_chosen_addresses(api):
    network, subnet = api.network("10.0.0.0/24")
    port = api.post(
        "ports",
        network_id=network["id"],
        fixed_ips=[{"ip_address": "10.0.0.9"}, {"subnet_id": subnet["id"]}, {"subnet_id": subnet["id"]}],
    )
    assert addresses(port)[0] == "10.0.0.9"
    assert len(set(addresses(port))) == 3
    taken = api.post("ports", 409, network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.9"}])
    assert taken["type"] == "IpAddressAlreadyAllocated"


@pytest.mark.parametrize(
    ("fixed_ips", "kind"),
    [
        ([{"ip_address": "10.0.1.1"}], "InvalidIpForNetwork"),
        ([{"ip_address": "10.0.0.255"}], "InvalidIpForNetwork"),
        ([{"subnet_id": UNKNOWN}], "InvalidInput"),
        ([{"subnet_id": "SUBNET", "ip_address": "10.0.1.1"}], "InvalidIpForSubnet"),
        ([{}], "HTTPBadRequest"),
        ([{"ip": "10.0.0.1"}], "HTTPBadRequest"),
        ("10.0.0.1", "HTTPBadRequest"),
        ([{"ip_address": "10.0.0.001"}], "HTTPBadRequest"),
    ],
)
def test_addresses_that_cannot_be(api, fixed_ips, kind):
    network, subnet = api.network("10.0.0.0/24")
    if isinstance(fixed_ips, list):
        fixed_ips = [{k: subnet["id"] if v == "SUBNET" else v for k, v in ip.items()} for ip in fixed_ips]
    assert api.post("ports", 400, network_id=network["id"], fixed_ips=fixed_ips)["type"] == kind
    assert api.get("ports")["ports"] == []


def test_a_mac_is_unique_in_its_network(api):
    network, _ = api.network()
    other, _ = api.network()
    port = api.post("ports", network_id=network["id"], mac_address="FA-16-3E-00-00-01")
    assert port["mac_address"] == "fa:16:3e:00:00:01"
    error = api.post("ports", 409, network_id=network["id"], mac_address="fa:16:3e:00:00:01")
    assert error["type"] == "MacAddressInUse"
    api.post("ports", network_id=other["id"], mac_address="fa:16:3e:00:00:01")
    api.post("ports", 400, network_id=other["id"], mac_address="01:00:5e:00:00:01")


def test_addresses_are_replaced_and_the_old_ones_are_free_again(api):
    network, _ = api.network("10.0.0.0/24")
    port = api.post("ports", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.5"}])
    wanted = [{"ip_address": "10.0.0.6"}, {"ip_address": "10.0.0.7"}]
    changed = api.put(f"ports/{port['id']}", fixed_ips=wanted)
    assert addresses(changed) == ["10.0.0.6", "10.0.0.7"]
    again = api.put(f"ports/{port['id']}", fixed_ips=[{"ip_address": "10.0.0.7"}], name="kept")
    assert addresses(again) == ["10.0.0.7"]
    api.post("ports", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.6"}])


def test_a_router_port_belongs_to_its_router(api):
    _, subnet = api.network()
    router = api.post("routers")
    port_id = api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])["port_id"]
    assert api.delete(f"ports/{port_id}", 409)["type"] == "ServicePortInUse"
    for changes in ({"device_owner": ""}, {"device_id": "x"}, {"fixed_ips": []}, {"mac_address": "fa:16:3e:0:0:1"}):
        assert api.put(f"ports/{port_id}", 409 if "mac_address" not in changes else 400, **changes)
    assert api.put(f"ports/{port_id}", name="uplink")["name"] == "uplink"


def test_nobody_makes_a_router_port_by_hand(api):
    network, _ = api.network()
    error = api.post("ports", 400, network_id=network["id"], device_owner="network:router_gateway")
    assert "device_owner" in error["message"]


def test_ports_are_found_by_address_device_and_host(api):
    network, subnet = api.network("10.0.0.0/24")
    one = api.post("ports", network_id=network["id"], device_id="vm1", fixed_ips=[{"ip_address": "10.0.0.21"}])
    two = api.post("ports", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.22"}])

    def found(**query):
        return {port["id"] for port in api.get("ports", **query)["ports"]}

    assert found(fixed_ips="ip_address=10.0.0.21") == {one["id"]}
    assert found(fixed_ips=f"subnet_id={subnet['id']}") == {one["id"], two["id"]}
    assert found(fixed_ips=[f"subnet_id={subnet['id']}", "ip_address=10.0.0.22"]) == {two["id"]}
    assert found(fixed_ips="ip_address_substr=0.2") == {one["id"], two["id"]}
    assert found(fixed_ips="ip_address_substr=%") == set()
    assert found(device_id="vm1") == {one["id"]}
    assert found(device_id="") == {two["id"]}
    api.get("ports", 400, fixed_ips="10.0.0.21")


def test_a_router_port_is_where_its_router_forwards(api, add_agent, bind, live_state):
    _, subnet = api.network()
    router = api.post("routers")
    port_id = api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])["port_id"]

    def host():
        return api.get(f"ports/{port_id}")["port"]["binding:host_id"]

    assert host() == ""
    bind(router["id"], add_agent("net1"), add_agent("net2"))
    assert host() == "net1"
    live_state.pair_states = {("net1", 65536): VrrpState.BACKUP, ("net2", 65536): VrrpState.MASTER}
    assert host() == "net2"
    live_state.pair_states = {("net1", 65536): VrrpState.MASTER, ("net2", 65536): VrrpState.MASTER}
    assert host() == "net1"
    assert api.get("ports", fields="binding:host_id")["ports"] == [{"binding:host_id": "net1"}]


def test_the_profile_of_a_binding_is_kept_as_it_is(api):
    network, _ = api.network()
    profile = {"pci": {"slot": "0000:03:10.1", "n": [1, 2.5, None, True]}}
    port = api.post("ports", network_id=network["id"], **{"binding:profile": profile})
    assert api.get(f"ports/{port['id']}")["port"]["binding:profile"] == profile
    deep = {}
    for _ in range(30):
        deep = {"a": deep}
    api.put(f"ports/{port['id']}", 400, **{"binding:profile": deep})
    api.put(f"ports/{port['id']}", 400, **{"binding:profile": {"n": 2**70}})
