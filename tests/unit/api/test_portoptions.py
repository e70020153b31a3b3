"""DHCP options and security of ports: records that clients write and read back."""

from __future__ import annotations

import pytest

TENANT = {"X-Project-Id": "t", "X-Roles": "member"}


@pytest.fixture
def subnetted(api):
    return api.network()[0]["id"]


def opt(name, value, ip_version=4):
    return {"opt_name": name, "opt_value": value, "ip_version": ip_version}


def test_dhcp_options_are_added_replaced_and_taken_away(api, subnetted):
    given = [{"opt_name": "bootfile-name", "opt_value": "a"}, {"opt_name": "router", "opt_value": ""}]
    port = api.post("ports", network_id=subnetted, extra_dhcp_opts=[*given, opt("mtu", None)])
    assert port["extra_dhcp_opts"] == [opt("bootfile-name", "a"), opt("router", "")]
    path = f"ports/{port['id']}"
    changed = api.put(path, extra_dhcp_opts=[opt("bootfile-name", "b"), opt("bootfile-name", "c", 6)])
    wanted = [opt("bootfile-name", "b"), opt("router", ""), opt("bootfile-name", "c", 6)]
    assert changed["extra_dhcp_opts"] == wanted == api.get(path)["port"]["extra_dhcp_opts"]
    assert api.put(path, name="x")["extra_dhcp_opts"] == wanted
    assert api.put(path, extra_dhcp_opts=None)["extra_dhcp_opts"] == wanted
    assert api.put(path, extra_dhcp_opts=[opt("router", None)])["extra_dhcp_opts"] == [wanted[0], wanted[2]]


@pytest.mark.parametrize(
    "option",
    [
        {"opt_name": "mtu"},
        opt("", "1"),
        opt("mtu", ""),
        opt("mtu", " "),
        opt("m\ntu", "1"),
        opt("mtu", "1\n2"),
        opt("mtu", "1", 5),
        opt("x" * 65, "1"),
        opt("mtu", "x" * 256),
        "mtu",
        [],
    ],
)
def test_dhcp_options_that_cannot_be(api, subnetted, option):
    assert "extra_dhcp_opts" in api.post("ports", 400, network_id=subnetted, extra_dhcp_opts=[option])["message"]


def test_a_port_has_its_projects_default_group_unless_it_says_otherwise(api):
    network = api.post("networks", 201, TENANT)
    port = api.post("ports", 201, TENANT, network_id=network["id"])
    (default,) = api.get("security-groups", 200, TENANT)["security_groups"]
    assert (default["name"], default["project_id"]) == ("default", "t")
    assert (port["security_groups"], port["port_security_enabled"]) == ([default["id"]], True)
    assert api.post("ports", 201, TENANT, network_id=network["id"])["security_groups"] == [default["id"]]
    assert api.post("ports", 201, TENANT, network_id=network["id"], security_groups=[])["security_groups"] == []
    others = api.post("ports", network_id=network["id"], project_id="u")["security_groups"]
    assert len(others) == 1
    assert others != port["security_groups"]
    assert api.put(f"ports/{port['id']}", 404, TENANT, security_groups=others)["type"] == "SecurityGroupNotFound"
    refused = api.post("ports", 404, TENANT, network_id=network["id"], security_groups=others)
    assert refused["type"] == "SecurityGroupNotFound"


def test_ports_follow_their_networks_port_security(api):
    network, _ = api.network(port_security_enabled=False)
    assert network["port_security_enabled"] is False
    port = api.post("ports", network_id=network["id"])
    assert (port["port_security_enabled"], port["security_groups"]) == (False, [])
    secured = api.post("ports", network_id=network["id"], port_security_enabled=True)
    assert (secured["port_security_enabled"], len(secured["security_groups"])) == (True, 1)
    assert api.put(f"networks/{network['id']}", port_security_enabled=True)["port_security_enabled"] is True
    assert api.post("ports", network_id=network["id"])["port_security_enabled"] is True
    assert api.get("ports", port_security_enabled="false")["ports"] == [port]


def test_what_needs_port_security(api, subnetted):
    pairs = [{"ip_address": "192.0.2.1"}]
    body = {"network_id": subnetted, "port_security_enabled": False}
    secured = api.post("ports", network_id=subnetted, allowed_address_pairs=pairs)
    groups, path = secured["security_groups"], f"ports/{secured['id']}"
    refused = api.post("ports", 400, security_groups=groups, **body)
    assert refused["type"] == "PortSecurityAndIPRequiredForSecurityGroups"
    assert api.post("ports", 409, allowed_address_pairs=pairs, **body)["type"] == "AddressPairAndPortSecurityRequired"

    assert api.put(path, 409, port_security_enabled=False)["type"] == "PortSecurityPortHasSecurityGroup"
    refused = api.put(path, 409, port_security_enabled=False, security_groups=[])
    assert refused["type"] == "AddressPairAndPortSecurityRequired"
    changed = api.put(path, port_security_enabled=False, security_groups=None, allowed_address_pairs=[])
    assert (changed["port_security_enabled"], changed["security_groups"]) == (False, [])
    refused = api.put(path, 400, security_groups=groups)
    assert refused["type"] == "PortSecurityAndIPRequiredForSecurityGroups"
    assert api.put(path, security_groups=groups, port_security_enabled=True)["security_groups"] == groups


def test_ports_of_the_network_service_are_trusted(api):
    _, subnet = api.network()
    router = api.post("routers")
    port_id = api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])["port_id"]
    port = api.get(f"ports/{port_id}")["port"]
    assert (port["port_security_enabled"], port["security_groups"]) == (False, [])
