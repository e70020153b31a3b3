"""Security groups as records."""

from __future__ import annotations

import uuid

import pytest

UNKNOWN = str(uuid.uuid4())
MEMBER = {"X-Roles": "member", "X-Project-Id": "p1"}


def groups(api, headers=MEMBER):
    return api.get("security-groups", 200, headers)["security_groups"]


def make(api, status=201, /, **attributes):
    answer = api.call("POST", "security-groups", status, {"security_group": {"project_id": "p1", **attributes}})
    return answer["security_group"] if status == 201 else answer["NeutronError"]


def rule(api, status=201, /, **attributes):
    body = {"security_group_rule": {"direction": "ingress", "project_id": "p1", **attributes}}
    answer = api.call("POST", "security-group-rules", status, body)
    return answer["security_group_rule"] if status == 201 else answer["NeutronError"]


def test_a_project_has_a_default_group(api):
    (group,) = groups(api)
    assert (group["name"], group["project_id"]) == ("default", "p1")
    assert groups(api) == [group]
    described = sorted((r["direction"], r["ethertype"], r["remote_group_id"]) for r in group["security_group_rules"])
    assert described == [
        ("egress", "IPv4", None),
        ("egress", "IPv6", None),
        ("ingress", "IPv4", group["id"]),
        ("ingress", "IPv6", group["id"]),
    ]
    path = f"security-groups/{group['id']}"
    assert api.delete(path, 409)["type"] == "SecurityGroupCannotRemoveDefault"
    refused = api.call("PUT", path, 409, {"security_group": {"name": "x"}})["NeutronError"]
    assert refused["type"] == "SecurityGroupCannotUpdateDefault"
    assert make(api, 409, name="default")["type"] == "SecurityGroupDefaultAlreadyExists"


def test_groups_and_rules(api):
    group = make(api, name="web", description="servers")
    assert {r["direction"] for r in group["security_group_rules"]} == {"egress"}
    assert {g["name"] for g in groups(api)} == {"default", "web"}
    http = rule(api, security_group_id=group["id"], protocol="TCP", port_range_min=80, port_range_max=80)
    assert (http["protocol"], http["ethertype"], http["remote_ip_prefix"]) == ("tcp", "IPv4", None)
    path = f"security-group-rules/{http['id']}"
    assert api.get(path)["security_group_rule"] == http
    shown = api.get(f"security-groups/{group['id']}")["security_group"]
    assert http in shown["security_group_rules"]
    assert [r["id"] for r in api.get("security-group-rules", protocol="tcp")["security_group_rules"]] == [http["id"]]
    changed = api.call("PUT", f"security-groups/{group['id']}", 200, {"security_group": {"name": "www"}})
    assert changed["security_group"]["name"] == "www"
    api.delete(path)
    api.get(path, 404)
    api.delete(f"security-groups/{group['id']}")
    assert api.get("security-group-rules", security_group_id=group["id"])["security_group_rules"] == []


@pytest.mark.parametrize(
    ("values", "status", "kind"),
    [
        ({"port_range_min": 1, "port_range_max": 2}, 400, "SecurityGroupProtocolRequiredWithPorts"),
        ({"protocol": "udp", "port_range_min": 3, "port_range_max": 2}, 400, "SecurityGroupInvalidPortRange"),
        ({"protocol": "gopher"}, 400, "HTTPBadRequest"),
        ({"ethertype": "IPX"}, 400, "HTTPBadRequest"),
        ({"direction": "up"}, 400, "HTTPBadRequest"),
        ({"remote_ip_prefix": "2001:db8::/32"}, 400, "SecurityGroupRuleParameterConflict"),
        ({"remote_ip_prefix": "x"}, 400, "HTTPBadRequest"),
        ({"remote_group_id": UNKNOWN}, 404, "SecurityGroupNotFound"),
        (
            {"remote_group_id": UNKNOWN, "remote_ip_prefix": "10.0.0.0/8"},
            400,
            "SecurityGroupRemoteGroupAndRemoteIpPrefix",
        ),
        ({"security_group_id": UNKNOWN}, 404, "SecurityGroupNotFound"),
    ],
)
def test_rules_that_cannot_be(api, values, status, kind):
    group = make(api, name="web")
    assert rule(api, status, **{"security_group_id": group["id"], **values})["type"] == kind


def test_a_rule_is_there_once(api):
    group = make(api, name="web")
    values = {"security_group_id": group["id"], "protocol": "icmp", "remote_ip_prefix": "10.0.0.0/8"}
    first = rule(api, **values)
    again = rule(api, 409, **values)
    assert (again["type"], first["id"] in again["message"]) == ("SecurityGroupRuleExists", True)


def test_ports_have_groups(api):
    group, other = make(api, name="web"), make(api, name="db")
    network, _ = api.network()
    port = api.post("ports", network_id=network["id"], security_groups=[group["id"]])
    assert port["security_groups"] == [group["id"]]
    assert [p["id"] for p in api.get("ports", security_groups=group["id"])["ports"]] == [port["id"]]
    assert api.delete(f"security-groups/{group['id']}", 409)["type"] == "SecurityGroupInUse"
    assert api.put(f"ports/{port['id']}", security_groups=[other["id"]])["security_groups"] == [other["id"]]
    refused = api.put(f"ports/{port['id']}", 404, security_groups=[UNKNOWN])
    assert refused["type"] == "SecurityGroupNotFound"
    api.delete(f"security-groups/{group['id']}")
    api.delete(f"ports/{port['id']}")
    api.delete(f"security-groups/{other['id']}")
