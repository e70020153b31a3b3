"""openstacksdk against the served API: what an operator does in a day, and what goes wrong."""

from __future__ import annotations

import uuid

import pytest
from openstack import exceptions

UNKNOWN = str(uuid.uuid4())


@pytest.fixture
def cleanup(network_client):
    """Delete what the test made, whatever happened, so that tests do not see each other's objects."""
    yield
    client = network_client
    for floating in client.ips():
        client.delete_ip(floating)
    for router in client.routers():
        client.update_router(router, routes=[])
        for port in client.ports(device_id=router.id):
            if port.device_owner != "network:router_gateway":
                client.remove_interface_from_router(router, port_id=port.id)
        client.delete_router(router)
    for port in client.ports():
        client.delete_port(port)
    for network in client.networks():
        client.delete_network(network)


pytestmark = [
    pytest.mark.usefixtures("cleanup"),
    # the SDK warns of its own use of what it has deprecated
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning"),
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK60Warning"),
]


@pytest.fixture
def external(network_client):
    network = network_client.create_network(
        name="public",
        is_router_external=True,
        provider_network_type="flat",
        provider_physical_network=f"ext-{uuid.uuid4().hex[:8]}",
    )
    network_client.create_subnet(network_id=network.id, ip_version=4, cidr="203.0.113.0/24", enable_dhcp=False)
    return network


def test_a_router_with_everything(network_client, external):
    client = network_client
    network = client.create_network(name="private", description="of a project")
    subnet = client.create_subnet(
        network_id=network.id,
        name="private-v4",
        ip_version=4,
        cidr="10.0.0.0/24",
        dns_nameservers=["192.0.2.53"],
        allocation_pools=[{"start": "10.0.0.50", "end": "10.0.0.60"}],
    )
    assert subnet.gateway_ip == "10.0.0.1"
    router = client.create_router(name="r1", external_gateway_info={"network_id": external.id}, is_ha=True)
    assert (router.status, router.is_ha) == ("BUILD", True)
    assert router.external_gateway_info["enable_snat"] is True
    added = client.add_interface_to_router(router, subnet_id=subnet.id)
    assert added["subnet_ids"] == [subnet.id]

    vm = client.create_port(network_id=network.id, device_id="vm", binding_host_id="c1", device_owner="compute:nova")
    assert vm.fixed_ips[0]["ip_address"] in {f"10.0.0.{n}" for n in range(50, 61)}
    client.create_port(network_id=network.id, fixed_ips=[{"subnet_id": subnet.id, "ip_address": "10.0.0.9"}])

    assert client.find_router("r1").id == router.id
    assert client.find_network("private").subnet_ids == [subnet.id]
    assert client.find_subnet("no such subnet") is None
    assert [port.id for port in client.ports(device_id="vm")] == [vm.id]
    assert [n.id for n in client.networks(is_router_external=True)] == [external.id]

    route = {"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}
    assert client.update_router(router, routes=[route], name="r2").routes == [route]
    assert client.update_network(network, name="renamed").name == "renamed"
    assert client.update_subnet(subnet, is_dhcp_enabled=False).is_dhcp_enabled is False
    assert client.update_port(vm, name="eth0", is_admin_state_up=False).is_admin_state_up is False
    assert list(client.routers_hosting_l3_agents(router)) == []
    assert list(client.agents()) == []

    client.update_router(router, routes=[], external_gateway_info={})
    assert client.get_router(router).external_gateway_info is None
    client.remove_interface_from_router(router, subnet_id=subnet.id)
    client.delete_router(router, ignore_missing=False)
    with pytest.raises(exceptions.NotFoundException, match="could not be found"):
        client.get_router(router.id)


def test_what_goes_wrong_has_its_reason(network_client):
    client = network_client
    network = client.create_network()
    subnet = client.create_subnet(network_id=network.id, ip_version=4, cidr="10.0.0.0/24")
    other = client.create_network()
    overlapping = client.create_subnet(network_id=other.id, ip_version=4, cidr="10.0.0.0/25")
    router = client.create_router()
    client.add_interface_to_router(router, subnet_id=subnet.id)

    with pytest.raises(exceptions.BadRequestException, match="overlaps with cidr"):
        client.add_interface_to_router(router, subnet_id=overlapping.id)
    with pytest.raises(exceptions.ConflictException, match="still has ports"):
        client.delete_router(router)
    with pytest.raises(exceptions.ConflictException, match="IP allocation"):
        client.delete_subnet(subnet)
    with pytest.raises(exceptions.ConflictException, match="ports still in use"):
        client.delete_network(network)
    with pytest.raises(exceptions.BadRequestException, match="cidr"):
        client.create_subnet(network_id=network.id, ip_version=4, cidr="10.0.0.0/99")
    with pytest.raises(exceptions.NotFoundException, match=UNKNOWN):
        client.create_port(network_id=UNKNOWN)
    with pytest.raises(exceptions.BadRequestException, match="external"):
        client.create_router(external_gateway_info={"network_id": network.id})
    with pytest.raises(exceptions.NotFoundException):
        client.get_agent(UNKNOWN)


def test_floating_ips_and_tags(network_client, external):
    client = network_client
    network = client.create_network(name="private")
    subnet = client.create_subnet(network_id=network.id, ip_version=4, cidr="10.0.0.0/24")
    vm = client.create_port(network_id=network.id)
    with pytest.raises(exceptions.NotFoundException, match="not reachable from subnet"):
        client.create_ip(floating_network_id=external.id, port_id=vm.id)
    router = client.create_router(external_gateway_info={"network_id": external.id})
    client.add_interface_to_router(router, subnet_id=subnet.id)
    floating = client.create_ip(floating_network_id=external.id, port_id=vm.id)
    assert (floating.fixed_ip_address, floating.router_id) == (vm.fixed_ips[0]["ip_address"], router.id)
    assert floating.port_details["mac_address"] == vm.mac_address
    assert client.find_ip(floating.floating_ip_address).id == floating.id
    client.set_tags(floating, ["red"])
    assert [ip.id for ip in client.ips(tags="red")] == [floating.id]
    assert list(client.ips(not_tags="red")) == []
    with pytest.raises(exceptions.ConflictException, match="floating IPs"):
        client.update_router(router, external_gateway_info={})
    assert client.update_ip(floating, port_id=None).port_id is None
    availability = client.get_network_ip_availability(network.id)
    assert (availability.total_ips, availability.used_ips) == (253, 2)
    stale = client.get_network(network.id).revision_number
    client.update_network(network, description="newer")
    with pytest.raises(exceptions.PreconditionFailedException):
        client.update_network(network.id, description="older", if_revision=stale)
    client.delete_ip(floating, ignore_missing=False)


def by_id_and_by_name(client, network):
    """The SDK's word for a resource -> what makes one of the name."""
    return {
        "network": lambda name: client.create_network(name=name),
        "subnet": lambda name: client.create_subnet(
            name=name, network_id=client.create_network().id, ip_version=4, cidr="10.0.0.0/24"
        ),
        "subnet_pool": lambda name: client.create_subnet_pool(name=name, prefixes=["10.64.0.0/16"]),
        "port": lambda name: client.create_port(name=name, network_id=network.id),
        "router": lambda name: client.create_router(name=name),
        "security_group": lambda name: client.create_security_group(name=name),
    }


def test_each_resource_by_id_and_by_name(network_client):
    """Names are looked up by the client, which first tries whether it is an id; one that several have is refused."""
    client = network_client
    for kind, make in by_id_and_by_name(client, client.create_network()).items():
        find, get, update, delete = (getattr(client, f"{verb}_{kind}") for verb in ("find", "get", "update", "delete"))
        one, twins = make("one"), [make("twin"), make("twin")]
        assert find("one").id == find(one.id).id == get(one.id).id == one.id, kind
        assert update(find("one"), description="by name").description == "by name", kind
        assert update(one.id, description="by id").description == get(one.id).description == "by id", kind
        assert {each.id for each in getattr(client, f"{kind}s")(name="twin")} == {twin.id for twin in twins}, kind
        with pytest.raises(exceptions.DuplicateResource, match="twin"):
            find("twin")
        for act in (get, lambda name, kind=kind: getattr(client, f"update_{kind}")(name, description="x")):
            with pytest.raises(exceptions.NotFoundException):
                act("one")
        assert find("nobody") is None, kind
        with pytest.raises(exceptions.NotFoundException):
            find("nobody", ignore_missing=False)
        for each in (find("one"), twins[0].id, twins[1]):
            delete(each, ignore_missing=False)
        with pytest.raises(exceptions.NotFoundException):
            delete(one.id, ignore_missing=False)
        assert find("twin") is None, kind


def test_pages(network_client):
    made = {network_client.create_network(name=f"n{number}").id for number in range(7)}
    assert {network.id for network in network_client.networks(limit=3)} == made
    names = [n.name for n in network_client.networks(limit=2, sort_key="name", sort_dir="desc")]
    assert names == [f"n{number}" for number in range(6, -1, -1)]


def test_the_extensions_that_clients_ask_for(network_client):
    aliases = {extension.alias for extension in network_client.extensions()}
    assert {"router", "l3-ha", "agent", "l3_agent_scheduler", "extraroute"} <= aliases
    assert network_client.find_extension("l3-ha").alias == "l3-ha"


def test_a_network_with_both_ip_versions(network_client, external):
    client = network_client
    client.create_subnet(network_id=external.id, ip_version=6, cidr="2001:db8:e::/64", is_dhcp_enabled=False)
    network = client.create_network(name="dual")
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    four = client.create_subnet(network_id=network.id, ip_version=4, cidr="10.0.0.0/24")
    six = client.create_subnet(network_id=network.id, ip_version=6, cidr="2001:db8:1::/64", **modes)
    other = client.create_subnet(network_id=network.id, ip_version=6, cidr="2001:db8:2::/64", **modes)
    assert (six.ipv6_ra_mode, six.ipv6_address_mode, six.gateway_ip) == ("slaac", "slaac", "2001:db8:1::1")
    router = client.create_router(name="r6", external_gateway_info={"network_id": external.id})
    assert len(router.external_gateway_info["external_fixed_ips"]) == 2
    added = [client.add_interface_to_router(router, subnet_id=subnet.id)["port_id"] for subnet in (four, six, other)]
    assert added[0] != added[1] == added[2]
    vm = client.create_port(network_id=network.id, mac_address="fa:16:3e:11:22:33")
    assert {ip["subnet_id"] for ip in vm.fixed_ips} == {four.id, six.id, other.id}
    (found,) = client.ports(fixed_ips="ip_address=2001:db8:1::f816:3eff:fe11:2233")
    assert found.id == vm.id
    assert {subnet.id for subnet in client.subnets(network_id=network.id, ip_version=6)} == {six.id, other.id}
    client.remove_interface_from_router(router, subnet_id=six.id)
    assert [ip["subnet_id"] for ip in client.get_port(added[1]).fixed_ips] == [other.id]
    with pytest.raises(exceptions.BadRequestException, match="same value"):
        client.create_subnet(
            network_id=network.id,
            ip_version=6,
            cidr="2001:db8:3::/64",
            ipv6_ra_mode="slaac",
            ipv6_address_mode="dhcpv6-stateful",
        )
