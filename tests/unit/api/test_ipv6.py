"""IPv6: modes of subnets, addresses that hosts make themselves, and routers with both IP versions."""

from __future__ import annotations

import ipaddress
import itertools

import pytest

SLAAC = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
MAC = "fa:16:3e:11:22:33"
#: what a host with that MAC makes of 2001:db8::/64
OWN = "2001:db8::f816:3eff:fe11:2233"
MODES = ("slaac", "dhcpv6-stateless", "dhcpv6-stateful", None)


def subnet6(api, network, cidr="2001:db8::/64", status=201, /, **attributes):
    return api.post("subnets", status, network_id=network["id"], ip_version=6, cidr=cidr, **attributes)


def addresses(port):
    return [ip["ip_address"] for ip in port["fixed_ips"]]


@pytest.mark.parametrize(("ra_mode", "address_mode"), list(itertools.product(MODES, MODES)))
def test_modes_that_go_together(api, ra_mode, address_mode):
    network = api.post("networks")
    modes = {"ipv6_ra_mode": ra_mode, "ipv6_address_mode": address_mode}
    if ra_mode and address_mode and ra_mode != address_mode:
        error = subnet6(api, network, "2001:db8::/64", 400, **modes)
        assert "must be the same value" in error["message"]
        return
    subnet = subnet6(api, network, **modes)
    assert {name: subnet[name] for name in modes} == modes
    assert (subnet["gateway_ip"], subnet["cidr"]) == ("2001:db8::1", "2001:db8::/64")
    assert subnet["allocation_pools"] == [{"start": "2001:db8::2", "end": "2001:db8::ffff:ffff:ffff:ffff"}]
    port = api.post("ports", network_id=network["id"], mac_address=MAC)
    automatic = {"slaac", "dhcpv6-stateless"} & {ra_mode, address_mode}
    assert (addresses(port) == [OWN]) == bool(automatic)
    assert len(addresses(port)) == 1
    router = api.post("routers")
    status = 400 if ra_mode is None and address_mode is not None else 200
    answer = api.act(f"routers/{router['id']}/add_router_interface", status, subnet_id=subnet["id"])
    if status == 400:
        assert "RAs from an external router" in answer["message"]
    for name, value in modes.items():
        assert [found["id"] for found in api.get("subnets", **{name: value or ""})["subnets"]] == [subnet["id"]]


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"enable_dhcp": False, "ipv6_ra_mode": "slaac"}, "enable_dhcp is set to False"),
        ({"ip_version": 4, "cidr": "10.0.0.0/24", "ipv6_address_mode": "slaac"}, "when ip_version is 4"),
        ({"cidr": "2001:db8::/56", "ipv6_ra_mode": "slaac"}, "requires the prefix to be /64"),
        ({"ip_version": 4}, "does not match the ip_version '4'"),
        ({"cidr": "10.0.0.0/24"}, "does not match the ip_version '6'"),
        ({"gateway_ip": "10.0.0.1"}, "does not match the ip_version '6'"),
        ({"gateway_ip": "2001:db8::"}, "not an address of a host"),
        ({"gateway_ip": "2001:db9::1"}, "not an address of a host"),
        ({"gateway_ip": "fe80::1%eth0"}, "not a valid IP address"),
        ({"allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.2"}]}, "does not match the ip_version '6'"),
        ({"host_routes": [{"destination": "10.0.0.0/8", "nexthop": "2001:db8::5"}]}, "does not match"),
        ({"cidr": "2001:db8::/127"}, "prefix of 1 to 126"),
        ({"cidr": "fe80::/64"}, "not made of addresses"),
        ({"cidr": "ff02::/64"}, "not made of addresses"),
        ({"ipv6_ra_mode": "dhcp"}, "ipv6_ra_mode"),
        ({"ip_version": 5}, "ip_version"),
    ],
)
def test_subnets_that_cannot_be(api, attributes, words):
    network = api.post("networks")
    wanted = {"network_id": network["id"], "ip_version": 6, "cidr": "2001:db8::/64", **attributes}
    assert words in api.post("subnets", 400, **wanted)["message"]


def test_modes_stay(api):
    subnet = subnet6(api, api.post("networks"), **SLAAC)
    assert "ipv6 attributes" in api.put(f"subnets/{subnet['id']}", 400, enable_dhcp=False)["message"]
    assert "read-only" in api.put(f"subnets/{subnet['id']}", 400, ipv6_ra_mode="slaac")["message"]
    changed = api.put(f"subnets/{subnet['id']}", gateway_ip="fe80::1", dns_nameservers=["2001:db8::53", "192.0.2.53"])
    assert changed["gateway_ip"] == "fe80::1"


def test_a_port_has_an_address_of_each_version_and_of_each_automatic_subnet(api):
    network, subnet4 = api.network("10.0.0.0/24")
    stateful = [subnet6(api, network, cidr) for cidr in ("2001:db8:1::/64", "2001:db8:2::/48")]
    automatic = [
        subnet6(api, network, "2001:db8::/64", **SLAAC),
        subnet6(api, network, "2001:db8:3::/64", ipv6_address_mode="dhcpv6-stateless"),
    ]
    port = api.post("ports", network_id=network["id"], mac_address=MAC)
    subnets = [ip["subnet_id"] for ip in port["fixed_ips"]]
    assert subnets[0] == subnet4["id"]
    assert subnets[1] in {subnet["id"] for subnet in stateful}
    assert set(subnets[2:]) == {subnet["id"] for subnet in automatic}
    assert set(addresses(port)[2:]) == {OWN, "2001:db8:3:0:f816:3eff:fe11:2233"}
    chosen = api.post("ports", network_id=network["id"], fixed_ips=[{"subnet_id": subnet4["id"]}])
    assert [ip["subnet_id"] for ip in chosen["fixed_ips"]] == [subnet4["id"], *subnets[2:]]
    explicit = [{"subnet_id": automatic[0]["id"], "ip_address": "2001:db8::99"}]
    refused = api.post("ports", 400, network_id=network["id"], fixed_ips=explicit)
    assert refused["type"] == "AllocationOnAutoAddressSubnet"
    for text, found in (("2001:db8::", 2), ("f816:3eff", 4)):
        listed = api.get("ports", fixed_ips=f"ip_address_substr={text}")["ports"]
        assert sum(text in address for each in listed for address in addresses(each)) == found
    (same,) = api.get("ports", fixed_ips=f"ip_address={OWN.upper()}")["ports"]
    assert same["id"] == port["id"]


def test_an_automatic_address_follows_the_mac_and_comes_and_goes_with_the_subnet(api):
    network, subnet4 = api.network("10.0.0.0/24")
    port = api.post("ports", network_id=network["id"], mac_address="fa:16:3e:00:00:01")
    gateway = api.post("routers")
    subnet = subnet6(api, network, **SLAAC)
    api.act(f"routers/{gateway['id']}/add_router_interface", subnet_id=subnet["id"])
    later = api.get(f"ports/{port['id']}")["port"]
    assert addresses(later)[1:] == ["2001:db8::f816:3eff:fe00:1"]
    assert later["revision_number"] > port["revision_number"]
    moved = api.put(f"ports/{port['id']}", mac_address=MAC)
    assert addresses(moved) == [addresses(port)[0], OWN]
    kept = api.put(f"ports/{port['id']}", fixed_ips=[{"subnet_id": subnet4["id"], "ip_address": "10.0.0.77"}])
    assert sorted(addresses(kept)) == ["10.0.0.77", OWN]
    assert api.delete(f"subnets/{subnet['id']}", 409)["type"] == "SubnetInUse"
    api.act(f"routers/{gateway['id']}/remove_router_interface", subnet_id=subnet["id"])
    api.delete(f"subnets/{subnet['id']}")
    assert addresses(api.get(f"ports/{port['id']}")["port"]) == ["10.0.0.77"]


def test_small_ranges_are_used_up_and_large_ones_are_not_counted_through(api):
    network = api.post("networks")
    pool = [{"start": "2001:db8::ffff", "end": "2001:db8::1:1"}]
    subnet6(api, network, "2001:db8::/32", allocation_pools=pool)
    given = {address for _ in range(3) for address in addresses(api.post("ports", network_id=network["id"]))}
    assert given == {"2001:db8::ffff", "2001:db8::1:0", "2001:db8::1:1"}
    assert api.post("ports", 409, network_id=network["id"])["type"] == "IpAddressGenerationFailure"
    wide = api.post("networks")
    subnet6(api, wide, "2001:db8::/32")
    found = [ipaddress.ip_address(addresses(api.post("ports", network_id=wide["id"]))[0]) for _ in range(3)]
    assert len(set(found)) == 3
    assert all(address in ipaddress.ip_network("2001:db8::/32") for address in found)
    subnet6(api, wide, "2001:db9::/64")
    shown = api.get(f"network-ip-availabilities/{wide['id']}")["network_ip_availability"]
    assert shown["total_ips"] == 2**96 - 2 + 2**64 - 2
    assert {subnet["total_ips"] for subnet in shown["subnet_ip_availability"]} == {2**96 - 2, 2**64 - 2}


def test_subnets_of_ipv6_share_a_port_of_the_router(api):
    network, subnet4 = api.network("10.0.0.0/24")
    first, second = (subnet6(api, network, cidr, **SLAAC) for cidr in ("2001:db8:1::/64", "2001:db8:2::/64"))
    router = api.post("routers")
    path = f"routers/{router['id']}"
    added = [api.act(f"{path}/add_router_interface", subnet_id=each["id"]) for each in (subnet4, first, second)]
    assert added[0]["port_id"] != added[1]["port_id"] == added[2]["port_id"]
    assert added[2]["subnet_ids"] == [second["id"]]
    port = api.get(f"ports/{added[1]['port_id']}")["port"]
    assert addresses(port) == ["2001:db8:1::1", "2001:db8:2::1"]
    again = api.act(f"{path}/add_router_interface", 400, subnet_id=second["id"])
    assert "already has a port" in again["message"]
    other = api.post("ports", network_id=network["id"], fixed_ips=[{"subnet_id": subnet4["id"]}])
    api.act(f"{path}/remove_router_interface", subnet_id=subnet4["id"])
    refused = api.act(f"{path}/add_router_interface", 400, port_id=other["id"])
    assert "Router already" in refused["message"]
    routes = [{"destination": "2001:db8:ff::/48", "nexthop": "2001:db8:2::9"}]
    assert api.put(path, routes=routes)["routes"] == routes
    needed = api.act(f"{path}/remove_router_interface", 409, subnet_id=second["id"])
    assert needed["type"] == "RouterInterfaceInUseByRoute"
    removed = api.act(f"{path}/remove_router_interface", subnet_id=first["id"])
    assert (removed["port_id"], removed["subnet_ids"]) == (port["id"], [first["id"]])
    assert addresses(api.get(f"ports/{port['id']}")["port"]) == ["2001:db8:2::1"]
    mixed = [{"destination": "10.9.0.0/16", "nexthop": "2001:db8:2::9"}]
    assert api.put(path, 400, routes=mixed)["type"] == "InvalidRoutes"
    api.put(path, routes=[])
    api.act(f"{path}/remove_router_interface", subnet_id=second["id"])
    api.get(f"ports/{port['id']}", 404)


def test_a_gateway_has_an_address_of_each_version(api):
    network, subnet4 = api.external("203.0.113.0/24")
    stateful = subnet6(api, network, "2001:db8:1::/64", gateway_ip="fe80::1")
    router = api.post("routers", external_gateway_info={"network_id": network["id"]})
    fixed_ips = router["external_gateway_info"]["external_fixed_ips"]
    assert [ip["subnet_id"] for ip in fixed_ips] == [subnet4["id"], stateful["id"]]
    wanted = [{"subnet_id": subnet4["id"], "ip_address": "203.0.113.9"}, {"ip_address": "2001:db8:1::9"}]
    info = {"network_id": network["id"], "external_fixed_ips": wanted}
    changed = api.put(f"routers/{router['id']}", external_gateway_info=info)["external_gateway_info"]
    assert [ip["ip_address"] for ip in changed["external_fixed_ips"]] == ["203.0.113.9", "2001:db8:1::9"]


def test_floating_ips_are_of_ipv4(api):
    external, _ = api.external("203.0.113.0/24")
    outside = subnet6(api, external, "2001:db8:1::/64", **SLAAC)
    network, subnet = api.network("10.0.0.0/24")
    inside = subnet6(api, network, **SLAAC)
    router = api.post("routers", external_gateway_info={"network_id": external["id"]})
    for each in (subnet, inside):
        api.act(f"routers/{router['id']}/add_router_interface", subnet_id=each["id"])
    port = api.post("ports", network_id=network["id"])
    assert len(port["fixed_ips"]) == 2
    floating = api.post("floatingips", floating_network_id=external["id"], port_id=port["id"])
    assert floating["fixed_ip_address"] == addresses(port)[0]
    assert ipaddress.ip_address(floating["floating_ip_address"]).version == 4
    body = {"floating_network_id": external["id"], "subnet_id": outside["id"]}
    assert "IPv4" in api.post("floatingips", 400, **body)["message"]
