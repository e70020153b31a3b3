"""Floating IPs: addresses, associations, and what they keep from being taken away."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from haqn.db import tables

UNKNOWN = str(uuid.uuid4())


class World:
    """An external network, a router, and a network with a port behind it."""

    def __init__(self, api):
        self.external, self.external_subnet = api.external()
        self.network, self.subnet = api.network("10.0.0.0/24")
        self.router = api.post("routers", external_gateway_info={"network_id": self.external["id"]})
        api.act(f"routers/{self.router['id']}/add_router_interface", subnet_id=self.subnet["id"])
        # chosen, as chance might give it one that a test asks for
        self.port = api.post("ports", network_id=self.network["id"], name="vm", fixed_ips=[{"ip_address": "10.0.0.20"}])
        self.address = self.port["fixed_ips"][0]["ip_address"]


@pytest.fixture
def world(api):
    return World(api)


def make(api, world, status=201, /, **attributes):
    return api.post("floatingips", status, floating_network_id=world.external["id"], **attributes)


def outbox_of(database, kind):
    with database.read() as connection:
        lines = sa.select(tables.outbox.c.object_id).where(tables.outbox.c.kind == kind)
        return list(connection.scalars(lines))


def test_an_address_that_leads_nowhere(api, world):
    floating = make(api, world, project_id="p1", description="spare")
    assert floating["floating_ip_address"].startswith("203.0.113.")
    assert (floating["port_id"], floating["fixed_ip_address"], floating["router_id"]) == (None, None, None)
    assert (floating["status"], floating["port_details"], floating["project_id"]) == ("DOWN", None, "p1")
    assert api.get(f"floatingips/{floating['id']}")["floatingip"] == floating
    (holder,) = api.get("ports", device_id=floating["id"])["ports"]
    assert (holder["device_owner"], holder["project_id"]) == ("network:floatingip", "")
    assert api.delete(f"ports/{holder['id']}", 409)["type"] == "ServicePortInUse"
    api.delete(f"floatingips/{floating['id']}")
    api.get(f"ports/{holder['id']}", 404)


def test_an_address_that_leads_to_a_port(api, world, database):
    floating = make(api, world, port_id=world.port["id"])
    assert (floating["fixed_ip_address"], floating["router_id"]) == (world.address, world.router["id"])
    assert (floating["port_details"]["name"], floating["port_details"]["status"]) == ("vm", "DOWN")
    assert outbox_of(database, "router")[-1] == world.router["id"]
    lines = len(outbox_of(database, "router"))
    path = f"floatingips/{floating['id']}"
    assert api.put(path, description="x")["port_id"] == world.port["id"]
    assert len(outbox_of(database, "router")) == lines
    freed = api.put(path, port_id=None)
    assert (freed["port_id"], freed["fixed_ip_address"], freed["router_id"]) == (None, None, None)
    assert len(outbox_of(database, "router")) == lines + 1
    assert api.put(path, port_id=world.port["id"], fixed_ip_address=world.address)["router_id"] == world.router["id"]
    api.delete(path)
    assert len(outbox_of(database, "router")) == lines + 3


def test_a_chosen_address(api, world):
    taken = {ip["ip_address"] for port in api.get("ports")["ports"] for ip in port["fixed_ips"]}
    address = min({"203.0.113.50", "203.0.113.51", "203.0.113.52", "203.0.113.53"} - taken)
    chosen = make(api, world, floating_ip_address=address, subnet_id=world.external_subnet["id"])
    assert chosen["floating_ip_address"] == address
    assert "subnet_id" not in chosen
    assert make(api, world, 409, floating_ip_address=address)["type"] == "IpAddressAlreadyAllocated"
    assert make(api, world, 400, floating_ip_address="192.0.2.1")["type"] == "InvalidIpForNetwork"
    assert make(api, world, 400, subnet_id=UNKNOWN)["type"] == "InvalidInput"


def test_what_cannot_be(api, world):
    assert api.post("floatingips", 400, floating_network_id=world.network["id"])["type"] == "BadRequest"
    assert api.post("floatingips", 404, floating_network_id=UNKNOWN)["type"] == "NetworkNotFound"
    assert "floating_network_id" in api.post("floatingips", 400)["message"]
    bare = api.post("networks", **{"router:external": True})
    assert "subnet" in api.post("floatingips", 400, floating_network_id=bare["id"])["message"]
    assert make(api, world, 404, port_id=UNKNOWN)["type"] == "PortNotFound"
    assert "port_id" in make(api, world, 400, fixed_ip_address=world.address)["message"]
    wrong = make(api, world, 400, port_id=world.port["id"], fixed_ip_address="10.0.0.250")
    assert "does not have fixed ip" in wrong["message"]
    without = api.post("ports", network_id=world.network["id"], fixed_ips=[])
    assert "no fixed IPv4" in make(api, world, 400, port_id=without["id"])["message"]
    two = api.post("ports", network_id=world.network["id"], fixed_ips=[{"ip_address": "10.0.0.8"}, {}][:1])
    api.put(f"ports/{two['id']}", fixed_ips=[{"ip_address": "10.0.0.8"}, {"ip_address": "10.0.0.9"}])
    assert "multiple fixed" in make(api, world, 400, port_id=two["id"])["message"]
    assert make(api, world, port_id=two["id"], fixed_ip_address="10.0.0.9")["fixed_ip_address"] == "10.0.0.9"
    lonely, _ = api.network("10.9.0.0/24")
    unreachable = api.post("ports", network_id=lonely["id"])
    assert make(api, world, 404, port_id=unreachable["id"])["type"] == "ExternalGatewayForFloatingIPNotFound"
    make(api, world, port_id=world.port["id"])
    again = make(api, world, 409, port_id=world.port["id"])
    assert again["type"] == "FloatingIPPortAlreadyAssociated"
    holders = [p for p in api.get("ports")["ports"] if p["device_owner"] == "network:floatingip"]
    assert len(holders) == len(api.get("floatingips")["floatingips"]) == 2


def test_what_a_floating_ip_needs_stays(api, world):
    floating = make(api, world, port_id=world.port["id"])
    router, port = f"routers/{world.router['id']}", f"ports/{world.port['id']}"
    other, _ = api.external("198.51.100.0/24", "ext2")
    removal = f"{router}/remove_router_interface"
    assert api.act(removal, 409, subnet_id=world.subnet["id"])["type"] == "RouterInterfaceInUseByFloatingIP"
    for info in (None, {"network_id": other["id"]}):
        refused = api.put(router, 409, external_gateway_info=info)
        assert refused["type"] == "RouterExternalGatewayInUseByFloatingIp"
    assert world.address in api.put(port, 400, fixed_ips=[{"ip_address": "10.0.0.99"}])["message"]
    assert api.put(f"networks/{world.external['id']}", 409, **{"router:external": False})
    kept = [{"ip_address": world.address}, {"ip_address": "10.0.0.99"}]
    assert len(api.put(port, fixed_ips=kept)["fixed_ips"]) == 2
    assert api.put(router, external_gateway_info={"network_id": world.external["id"], "enable_snat": False})
    api.put(f"floatingips/{floating['id']}", port_id=None)
    api.act(removal, subnet_id=world.subnet["id"])
    api.put(router, external_gateway_info=None)


def test_a_deleted_port_frees_its_floating_ip(api, world, database):
    floating = make(api, world, port_id=world.port["id"])
    api.delete(f"ports/{world.port['id']}")
    freed = api.get(f"floatingips/{floating['id']}")["floatingip"]
    assert (freed["port_id"], freed["fixed_ip_address"], freed["router_id"]) == (None, None, None)
    assert freed["revision_number"] > floating["revision_number"]
    assert outbox_of(database, "router")[-1] == world.router["id"]


def test_floating_ips_are_found(api, world):
    bound, free = make(api, world, port_id=world.port["id"]), make(api, world)

    def found(**query):
        return {f["id"] for f in api.get("floatingips", **query)["floatingips"]}

    assert found() == {bound["id"], free["id"]}
    assert found(port_id=world.port["id"], fixed_ip_address=world.address) == {bound["id"]}
    assert found(router_id=world.router["id"]) == {bound["id"]}
    assert found(floating_ip_address=free["floating_ip_address"]) == {free["id"]}
    assert found(floating_network_id=UNKNOWN) == set()
