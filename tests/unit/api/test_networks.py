"""Networks and subnets: what is stored, what is refused, and how."""

from __future__ import annotations

import uuid

import pytest

from haqn import conf as haqn_conf
from haqn.api.app import create_app
from tests.unit.api.conftest import Api

UNKNOWN = str(uuid.uuid4())


def test_a_network_says_what_it_is(api):
    network = api.post("networks", name="blue", tenant_id="p1")
    assert network["name"] == "blue"
    assert network["tenant_id"] == network["project_id"] == "p1"
    assert network["status"] == "ACTIVE"
    assert network["provider:network_type"] == "vxlan"
    assert 1 <= network["provider:segmentation_id"] <= 65535
    assert network["mtu"] == 1450
    assert (network["admin_state_up"], network["shared"], network["router:external"]) == (True, False, False)
    assert network["revision_number"] == 1
    assert network["created_at"].endswith("Z")
    assert api.get(f"networks/{network['id']}") == {"network": network}


def test_a_network_is_changed_in_part(api):
    network = api.post("networks", name="blue")
    changed = api.put(f"networks/{network['id']}", name="green", admin_state_up="False")
    assert changed["revision_number"] == 2
    assert (changed["name"], changed["admin_state_up"]) == ("green", False)
    assert changed["provider:segmentation_id"] == network["provider:segmentation_id"]


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"name": 5}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"admin_state_up": "maybe"}, "admin_state_up"),
        ({"mtu": 9000}, "mtu"),
        ({"mtu": True}, "mtu"),
        ({"provider:network_type": "gre"}, "provider:network_type"),
        ({"provider:network_type": "flat"}, "provider:physical_network"),
        ({"provider:physical_network": "ext"}, "provider:physical_network"),
        ({"provider:network_type": "local", "provider:segmentation_id": 4}, "provider:segmentation_id"),
        ({"provider:segmentation_id": 2**24}, "provider:segmentation_id"),
        ({"status": "ACTIVE"}, "status"),
        ({"color": "red"}, "color"),
        ({"tenant_id": "a", "project_id": "b"}, "tenant_id"),
    ],
)
def test_what_is_wrong_is_named(api, attributes, named):
    error = api.post("networks", 400, **attributes)
    assert named in error["message"]
    assert error["type"] in ("HTTPBadRequest", "InvalidInput")
    assert api.get("networks") == {"networks": []}


@pytest.mark.parametrize("body", [None, [], {}, {"network": None}, {"net": {}}, {"network": {}, "networks": []}, "x"])
def test_bodies_of_the_wrong_shape_are_refused(api, body):
    assert api.call("POST", "networks", 400, body)["NeutronError"]["type"] == "HTTPBadRequest"


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"network":' + b"[" * 100000])
def test_what_is_not_json_is_refused(api, text):
    result = api.client.simulate_post("/v2.0/networks", body=text)
    assert (result.status_code, result.json["NeutronError"]["type"]) == (400, "HTTPBadRequest")


@pytest.mark.parametrize("depth", [31, 700, *range(900, 990, 20)])
@pytest.mark.parametrize("attribute", ["name", "tags"])
def test_what_is_nested_too_deeply_is_refused(api, attribute, depth):
    """However near to what Python or the decoder can bear."""
    body = f'{{"network": {{"{attribute}": {"[" * depth}{"]" * depth}}}}}'
    result = api.client.simulate_post("/v2.0/networks", body=body)
    assert (result.status_code, result.json["NeutronError"]["type"]) == (400, "HTTPBadRequest")
    assert "32 levels" in result.json["NeutronError"]["message"] or depth > 900


def test_a_body_that_is_too_large_is_refused(api):
    result = api.client.simulate_post("/v2.0/networks", body=b" " * (1048576 + 1))
    assert result.status_code == 413
    assert result.json["NeutronError"]["type"]


def test_no_two_networks_have_a_vxlan_id(api):
    first = api.post("networks", **{"provider:segmentation_id": 77})
    assert first["provider:segmentation_id"] == 77
    assert api.post("networks", 409, **{"provider:segmentation_id": 77})["type"] == "TunnelIdInUse"


def test_a_physical_network_carries_one_flat_network(api):
    api.external()
    flat = {"provider:network_type": "flat", "provider:physical_network": "ext"}
    assert api.post("networks", 409, **flat)["type"] == "FlatNetworkInUse"


def test_every_vxlan_id_is_found_and_then_there_is_none(database, live_state, nudge):
    conf = haqn_conf.load([], api__auth_strategy="noauth", api__vni_min=5, api__vni_max=44)
    api = Api(create_app(database, live_state, nudge, conf))
    found = {api.post("networks")["provider:segmentation_id"] for _ in range(40)}
    assert found == set(range(5, 45))
    assert api.post("networks", 503)["type"] == "NoNetworkAvailable"


def test_local_networks_have_no_segment(api):
    for _ in range(2):
        network = api.post("networks", **{"provider:network_type": "local"})
        assert network["provider:segmentation_id"] is None


def test_a_network_goes_with_its_subnets_but_not_with_ports(api):
    network, subnet = api.network()
    port = api.post("ports", network_id=network["id"])
    assert api.delete(f"networks/{network['id']}", 409)["type"] == "NetworkInUse"
    api.delete(f"ports/{port['id']}")
    api.delete(f"networks/{network['id']}")
    api.get(f"subnets/{subnet['id']}", 404)
    assert api.delete(f"networks/{network['id']}", 404)["type"] == "NetworkNotFound"


def test_a_network_with_gateways_stays_external(api):
    network, _ = api.external()
    api.post("routers", external_gateway_info={"network_id": network["id"]})
    assert api.put(f"networks/{network['id']}", 409, **{"router:external": False})["type"] == "ExternalNetworkInUse"


def test_many_networks_are_made_at_once_or_not_at_all(api):
    made = api.call("POST", "networks", 201, {"networks": [{"name": "a"}, {"name": "b"}]})["networks"]
    assert [network["name"] for network in made] == ["a", "b"]
    twice = [{"provider:segmentation_id": 9}, {"provider:segmentation_id": 9}]
    api.call("POST", "networks", 409, {"networks": twice})
    assert len(api.get("networks")["networks"]) == 2


def test_a_subnet_has_defaults_as_in_neutron(api):
    network, subnet = api.network("192.168.5.77/24")
    assert subnet["cidr"] == "192.168.5.0/24"
    assert subnet["gateway_ip"] == "192.168.5.1"
    assert subnet["allocation_pools"] == [{"start": "192.168.5.2", "end": "192.168.5.254"}]
    assert (subnet["enable_dhcp"], subnet["dns_nameservers"], subnet["host_routes"]) == (True, [], [])
    assert api.get(f"networks/{network['id']}")["network"]["subnets"] == [subnet["id"]]
    assert api.get(f"subnets/{subnet['id']}")["subnet"] == subnet


def test_a_gateway_in_the_middle_splits_the_pool(api):
    network = api.post("networks")
    subnet = api.post("subnets", network_id=network["id"], cidr="10.0.0.0/29", gateway_ip="10.0.0.3")
    assert subnet["allocation_pools"] == [
        {"start": "10.0.0.1", "end": "10.0.0.2"},
        {"start": "10.0.0.4", "end": "10.0.0.6"},
    ]
    bare = api.post("subnets", network_id=network["id"], cidr="10.0.1.0/30", gateway_ip=None)
    assert (bare["gateway_ip"], bare["allocation_pools"]) == (None, [{"start": "10.0.1.1", "end": "10.0.1.2"}])


def pool(start, end):
    return {"start": f"10.0.0.{start}", "end": f"10.0.0.{end}"}


@pytest.mark.parametrize(
    ("attributes", "status", "kind"),
    [
        ({"cidr": "10.0.0.0"}, 400, "HTTPBadRequest"),
        ({"cidr": "2001:db8::/64"}, 400, "InvalidInput"),
        ({"cidr": "10.0.0.0/31"}, 400, "InvalidInput"),
        ({"cidr": "0.0.0.0/0"}, 400, "InvalidInput"),
        ({"cidr": "224.0.0.0/24"}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.0/16"}, 400, "InvalidInput"),
        ({"ip_version": 6}, 400, "InvalidInput"),
        ({"network_id": UNKNOWN}, 404, "NetworkNotFound"),
        ({"network_id": "here"}, 400, "HTTPBadRequest"),
        ({"gateway_ip": "10.1.0.1"}, 400, "InvalidInput"),
        ({"gateway_ip": "10.0.0.255"}, 400, "InvalidInput"),
        ({"allocation_pools": [{"start": "10.0.0.9"}]}, 400, "HTTPBadRequest"),
        ({"allocation_pools": [pool(9, 5)]}, 400, "InvalidAllocationPool"),
        ({"allocation_pools": [pool(9, 255)]}, 400, "OutOfBoundsAllocationPool"),
        ({"allocation_pools": [pool(5, 9), pool(9, 20)]}, 409, "OverlappingAllocationPools"),
        ({"allocation_pools": [pool(1, 9)]}, 409, "GatewayConflictWithAllocationPools"),
        ({"dns_nameservers": ["8.8.8.8", "8.8.8.8"]}, 400, "HTTPBadRequest"),
        ({"host_routes": [{"destination": "1.0.0.0/8"}]}, 400, "HTTPBadRequest"),
        ({"service_types": ["network:x"]}, 400, "HTTPBadRequest"),
    ],
)
def test_subnets_that_cannot_be(api, attributes, status, kind):
    network, _ = api.network("10.9.9.0/24")
    wanted = {"network_id": network["id"], "cidr": "10.0.0.0/24"} | attributes
    assert api.post("subnets", status, **wanted)["type"] == kind
    assert len(api.get("subnets")["subnets"]) == 1


def test_the_missing_attribute_is_named(api):
    assert "'network_id'" in api.post("subnets", 400, cidr="10.0.0.0/24")["message"]


def test_a_subnet_is_changed(api):
    _, subnet = api.network()
    pools = [{"start": "10.0.0.100", "end": "10.0.0.110"}]
    changed = api.put(
        f"subnets/{subnet['id']}",
        gateway_ip="10.0.0.254",
        allocation_pools=pools,
        dns_nameservers=["192.0.2.53"],
        service_types=[],
    )
    assert (changed["gateway_ip"], changed["allocation_pools"]) == ("10.0.0.254", pools)
    assert api.put(f"subnets/{subnet['id']}", 400, cidr="10.0.0.0/25")["message"].endswith("cidr")
    conflict = api.put(f"subnets/{subnet['id']}", 409, gateway_ip="10.0.0.105")
    assert conflict["type"] == "GatewayConflictWithAllocationPools"


def test_a_gateway_that_a_router_has_does_not_move(api):
    _, subnet = api.network()
    router = api.post("routers")
    api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])
    assert api.put(f"subnets/{subnet['id']}", 409, gateway_ip=None)["type"] == "GatewayIpInUse"


def test_a_subnet_in_use_stays(api):
    network, subnet = api.network()
    port = api.post("ports", network_id=network["id"])
    assert api.delete(f"subnets/{subnet['id']}", 409)["type"] == "SubnetInUse"
    api.delete(f"ports/{port['id']}")
    api.delete(f"subnets/{subnet['id']}")
    api.get(f"subnets/{subnet['id']}", 404)


def test_a_refused_word_is_answered_with_the_words_that_there_are(api):
    refused = api.post("networks", 400, **{"provider:network_type": "gre"})["message"]
    assert refused.endswith("'gre' is not in ['flat', 'vxlan', 'local'].")
