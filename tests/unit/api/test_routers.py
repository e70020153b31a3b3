"""Routers: gateways, interfaces, routes."""

from __future__ import annotations

import uuid

import pytest

UNKNOWN = str(uuid.uuid4())


@pytest.fixture
def outside(api):
    return api.external("203.0.113.0/24")


def add(api, router, status=200, /, **target):
    return api.act(f"routers/{router['id']}/add_router_interface", status, **target)


def remove(api, router, status=200, /, **target):
    return api.act(f"routers/{router['id']}/remove_router_interface", status, **target)


def test_a_router_says_what_it_is(api):
    router = api.post("routers", name="r", project_id="p1")
    assert router["status"] == "BUILD"
    assert (router["ha"], router["distributed"], router["admin_state_up"]) == (True, False, True)
    assert (router["external_gateway_info"], router["routes"]) == (None, [])
    assert api.get(f"routers/{router['id']}")["router"] == router
    assert api.post("routers", ha=False)["ha"] is False


def test_a_gateway_is_a_port_of_the_external_network(api, outside):
    network, subnet = outside
    router = api.post("routers", external_gateway_info={"network_id": network["id"]})
    info = router["external_gateway_info"]
    assert (info["network_id"], info["enable_snat"]) == (network["id"], True)
    assert [ip["subnet_id"] for ip in info["external_fixed_ips"]] == [subnet["id"]]
    (port,) = api.get("ports", device_id=router["id"])["ports"]
    assert port["device_owner"] == "network:router_gateway"
    assert port["fixed_ips"] == info["external_fixed_ips"]
    assert port["project_id"] == ""
    assert api.get(f"routers/{router['id']}")["router"] == router


def test_a_gateway_with_a_chosen_address_and_without_snat(api, outside):
    network, subnet = outside
    fixed_ip = {"subnet_id": subnet["id"], "ip_address": "203.0.113.77"}
    info = {"network_id": network["id"], "enable_snat": False, "external_fixed_ips": [fixed_ip]}
    router = api.post("routers", external_gateway_info=info)
    assert router["external_gateway_info"] == info
    taken = api.post("routers", 409, external_gateway_info=info)
    assert taken["type"] == "IpAddressAlreadyAllocated"
    assert len(api.get("routers")["routers"]) == 1


def test_a_gateway_is_changed_moved_and_cleared(api, outside):
    network, _ = outside
    other, _ = api.external("198.51.100.0/24", "ext2")
    router = api.post("routers", external_gateway_info={"network_id": network["id"]})
    path = f"routers/{router['id']}"
    before = router["external_gateway_info"]

    kept = api.put(path, external_gateway_info={"network_id": network["id"], "enable_snat": False})
    assert kept["external_gateway_info"] == before | {"enable_snat": False}

    wanted = [{"ip_address": "203.0.113.99"}]
    changed = api.put(path, external_gateway_info={"network_id": network["id"], "external_fixed_ips": wanted})
    assert changed["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] == "203.0.113.99"

    moved = api.put(path, external_gateway_info={"network_id": other["id"]})
    assert moved["external_gateway_info"]["network_id"] == other["id"]
    assert [port["network_id"] for port in api.get("ports", device_id=router["id"])["ports"]] == [other["id"]]

    assert api.put(path, external_gateway_info={})["external_gateway_info"] is None
    assert api.get("ports")["ports"] == []


@pytest.mark.parametrize(
    ("info", "status", "kind"),
    [
        ({"network_id": UNKNOWN}, 404, "NetworkNotFound"),
        ({"network_id": "INTERNAL"}, 400, "BadRequest"),
        ({"enable_snat": True}, 400, "HTTPBadRequest"),
        ("x", 400, "HTTPBadRequest"),
        ({"network_id": UNKNOWN, "vendor": 1}, 400, "HTTPBadRequest"),
    ],
)
def test_gateways_that_cannot_be(api, info, status, kind):
    network, _ = api.network()
    if isinstance(info, dict) and info.get("network_id") == "INTERNAL":
        info = {"network_id": network["id"]}
    assert api.post("routers", status, external_gateway_info=info)["type"] == kind
    router = api.post("routers")
    assert api.put(f"routers/{router['id']}", status, external_gateway_info=info)["type"] == kind
    assert api.get("ports")["ports"] == []


@pytest.mark.parametrize(
    ("ha", "owner"), [(True, "network:ha_router_replicated_interface"), (False, "network:router_interface")]
)
def test_an_interface_by_subnet(api, ha, owner):
    network, subnet = api.network()
    router = api.post("routers", ha=ha, tenant_id="p1")
    added = add(api, router, subnet_id=subnet["id"])
    port = api.get(f"ports/{added['port_id']}")["port"]
    assert added == {
        "id": router["id"],
        "project_id": "p1",
        "tenant_id": "p1",
        "port_id": port["id"],
        "network_id": network["id"],
        "subnet_id": subnet["id"],
        "subnet_ids": [subnet["id"]],
    }
    assert (port["device_owner"], port["device_id"]) == (owner, router["id"])
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": subnet["gateway_ip"]}]
    assert api.get(f"routers/{router['id']}")["router"]["revision_number"] == 2
    assert api.delete(f"routers/{router['id']}", 409)["type"] == "RouterInUse"
    assert remove(api, router, subnet_id=subnet["id"]) == added
    assert api.get("ports")["ports"] == []
    api.delete(f"routers/{router['id']}")


def test_an_interface_by_port(api):
    network, subnet = api.network()
    router, other = api.post("routers"), api.post("routers")
    port = api.post("ports", network_id=network["id"])
    added = add(api, router, port_id=port["id"])
    assert (added["port_id"], added["subnet_ids"]) == (port["id"], [subnet["id"]])
    assert add(api, other, 409, port_id=port["id"])["type"] == "PortInUse"
    assert remove(api, other, 404, port_id=port["id"])["type"] == "RouterInterfaceNotFound"
    assert remove(api, router, 400, port_id=port["id"], subnet_id=UNKNOWN)["type"] == "SubnetMismatchForPort"
    remove(api, router, port_id=port["id"], subnet_id=subnet["id"])
    api.get(f"ports/{port['id']}", 404)


def test_interfaces_that_cannot_be(api):
    network, subnet = api.network("10.0.0.0/24")
    _, overlapping = api.network("10.0.0.128/25")
    router = api.post("routers")
    port = api.post("ports", network_id=network["id"])
    bare = api.post("ports", network_id=network["id"], fixed_ips=[])
    add(api, router, subnet_id=subnet["id"])

    assert "overlaps" in add(api, router, 400, subnet_id=overlapping["id"])["message"]
    assert subnet["id"] in add(api, router, 400, subnet_id=subnet["id"])["message"]
    assert subnet["id"] in add(api, router, 400, port_id=port["id"])["message"]
    assert "fixed IP" in add(api, router, 400, port_id=bare["id"])["message"]
    assert "subnet_id" in add(api, router, 400)["message"]
    assert add(api, router, 400, subnet_id=subnet["id"], port_id=port["id"])["type"] == "BadRequest"
    assert "subnet_id" in add(api, router, 400, subnet_id="here")["message"]
    assert add(api, router, 404, subnet_id=UNKNOWN)["type"] == "SubnetNotFound"
    assert add(api, router, 404, port_id=UNKNOWN)["type"] == "PortNotFound"
    assert add(api, {"id": UNKNOWN}, 404, subnet_id=subnet["id"])["type"] == "RouterNotFound"
    second = api.post("routers")
    assert add(api, second, 409, subnet_id=subnet["id"])["type"] == "IpAddressAlreadyAllocated"
    no_gateway = api.post("subnets", network_id=network["id"], cidr="10.1.0.0/24", gateway_ip=None)
    assert "gateway" in add(api, second, 400, subnet_id=no_gateway["id"])["message"]
    assert api.get("ports", device_id=second["id"])["ports"] == []


def test_an_interface_does_not_overlap_the_gateway(api, outside):
    network, _ = outside
    _, inside = api.network("203.0.113.0/25")
    router = api.post("routers", external_gateway_info={"network_id": network["id"]})
    add(api, router, 400, subnet_id=inside["id"])
    other = api.post("routers")
    add(api, other, subnet_id=inside["id"])
    refused = api.put(f"routers/{other['id']}", 400, external_gateway_info={"network_id": network["id"]})
    assert "overlaps" in refused["message"]


def test_interfaces_that_are_not_there(api):
    _, subnet = api.network()
    router = api.post("routers")
    assert remove(api, router, 404, subnet_id=subnet["id"])["type"] == "RouterInterfaceNotFoundForSubnet"
    assert remove(api, router, 404, subnet_id=UNKNOWN)["type"] == "SubnetNotFound"
    assert remove(api, router, 404, port_id=UNKNOWN)["type"] == "RouterInterfaceNotFound"


def test_routes_go_to_neighbours(api):
    _, subnet = api.network("10.0.0.0/24")
    router = api.post("routers")
    path = f"routers/{router['id']}"
    route = {"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}
    assert api.put(path, 400, routes=[route])["type"] == "InvalidRoutes"
    add(api, router, subnet_id=subnet["id"])
    assert api.put(path, routes=[route])["routes"] == [route]
    assert "nexthop" in api.put(path, 400, routes=[route | {"nexthop": "10.0.0.1"}])["message"]
    assert "routes" in api.put(path, 400, routes=[route, route])["message"]
    assert "routes" in api.put(path, 400, routes=[{"destination": "192.0.2.0/24"}])["message"]
    assert remove(api, router, 409, subnet_id=subnet["id"])["type"] == "RouterInterfaceInUseByRoute"
    assert api.put(path, routes=[])["routes"] == []
    remove(api, router, subnet_id=subnet["id"])


def test_the_gateway_that_a_route_needs_stays(api, outside):
    network, _ = outside
    router = api.post("routers", external_gateway_info={"network_id": network["id"]})
    path = f"routers/{router['id']}"
    api.put(path, routes=[{"destination": "192.0.2.0/24", "nexthop": "203.0.113.1"}])
    assert api.put(path, 400, external_gateway_info=None)["type"] == "InvalidRoutes"
    assert api.get(path)["router"]["external_gateway_info"] is not None


def test_a_router_changes_between_ha_and_not(api):
    _, subnet = api.network()
    router = api.post("routers", ha=False)
    port_id = add(api, router, subnet_id=subnet["id"])["port_id"]
    assert api.put(f"routers/{router['id']}", ha=True)["ha"] is True
    assert api.get(f"ports/{port_id}")["port"]["device_owner"] == "network:ha_router_replicated_interface"


def test_a_deleted_router_is_gone_with_its_gateway(api, outside):
    network, _ = outside
    router = api.post("routers", external_gateway_info={"network_id": network["id"]})
    api.delete(f"routers/{router['id']}")
    api.get(f"routers/{router['id']}", 404)
    assert api.delete(f"routers/{router['id']}", 404)["type"] == "RouterNotFound"
    assert api.get("ports")["ports"] == []


def test_what_only_an_admin_may(api):
    member = {"X-Roles": "member, reader", "X-Project-Id": "p1"}
    refused = api.post("routers", 403, member, ha=False)
    assert (refused["type"], "ha" in refused["message"]) == ("PolicyNotAuthorized", True)
    router = api.post("routers", 201, member, name="mine")
    assert router["project_id"] == "p1"
    assert "ha" not in router
    assert "ha" in api.get(f"routers/{router['id']}", 200, {"X-Roles": "Admin"})["router"]
