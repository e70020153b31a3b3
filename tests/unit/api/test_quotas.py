"""Quotas: limits, usage, and that nothing is left of what exceeded them."""

from __future__ import annotations

import pytest

P = {"X-Project-Id": "p", "X-Roles": "member"}
DEFAULTS = {
    **{"network": 100, "subnet": 100, "port": 500, "router": 10, "floatingip": 50},
    **{"subnetpool": -1, "security_group": 10, "security_group_rule": 100},
}


def set_quota(api, status=200, project="p", headers=None, **limits):
    return api.call("PUT", f"quotas/{project}", status, {"quota": limits}, headers)


def test_defaults_come_from_the_configuration(api, conf):
    assert api.get("quotas/p") == api.get("quotas/p/default") == {"quota": DEFAULTS}
    assert api.get("quotas") == {"quotas": []}


def test_a_project_has_limits_of_its_own_until_they_are_deleted(api):
    assert set_quota(api, network=3, port=-1) == {"quota": DEFAULTS | {"network": 3, "port": -1}}
    assert set_quota(api, network="4") == {"quota": DEFAULTS | {"network": 4, "port": -1}}
    assert api.get("quotas/p/default") == {"quota": DEFAULTS}
    assert api.get("quotas/q") == {"quota": DEFAULTS}
    own = {"project_id": "p", "tenant_id": "p", **DEFAULTS, "network": 4, "port": -1}
    assert api.get("quotas") == {"quotas": [own]}
    api.delete("quotas/p")
    assert api.get("quotas/p") == {"quota": DEFAULTS}
    api.delete("quotas/p")


def test_details_tell_what_is_used(api):
    network = api.post("networks", 201, P)
    api.post("subnets", 201, P, network_id=network["id"], cidr="10.0.0.0/24")
    api.post("networks", 201, {"X-Project-Id": "q", "X-Roles": "member"})
    details = api.get("quotas/p/details.json")["quota"]
    assert details["network"] == {"limit": 100, "used": 1, "reserved": 0}
    assert {name: detail["used"] for name, detail in details.items() if detail["used"]} == {"network": 1, "subnet": 1}


@pytest.mark.parametrize("collection", ["networks", "routers"])
def test_no_more_than_the_limit(api, collection):
    set_quota(api, **{collection[:-1]: 2})
    made = [api.post(collection, 201, P) for _ in range(2)]
    error = api.post(collection, 409, P)
    assert (error["type"], collection[:-1] in error["message"]) == ("OverQuota", True)
    assert api.post(collection, 409, None, project_id="p")["type"] == "OverQuota"
    assert len(api.get(collection, project_id="p")[collection]) == 2
    api.post(collection, 201, None, project_id="q")
    api.post(collection, 201)
    api.delete(f"{collection}/{made[0]['id']}")
    api.post(collection, 201, P)


def test_a_bulk_create_is_all_or_nothing(api):
    set_quota(api, network=3)
    api.call("POST", "networks", 409, {"networks": [{}] * 4}, P)
    assert api.get("networks", 200, P)["networks"] == []
    api.call("POST", "networks", 201, {"networks": [{}] * 3}, P)


def test_an_interface_is_a_port_of_the_project(api):
    network = api.post("networks", 201, P)
    subnet = api.post("subnets", 201, P, network_id=network["id"], cidr="10.0.0.0/24")
    router = api.post("routers", 201, P)
    set_quota(api, port=0)
    path = f"routers/{router['id']}/add_router_interface"
    error = api.call("PUT", path, 409, {"subnet_id": subnet["id"]}, P)
    assert error["NeutronError"]["type"] == "OverQuota"
    set_quota(api, port=1)
    api.call("PUT", path, 200, {"subnet_id": subnet["id"]}, P)


def test_a_limit_below_the_usage_stops_only_new_objects(api):
    network = api.post("networks", 201, P)
    error = set_quota(api, 409, network=0, check_limit=True)
    assert error["NeutronError"]["type"] == "InvalidQuotaValue"
    set_quota(api, network=0, force=True)
    api.post("networks", 409, P)
    api.put(f"networks/{network['id']}", 200, P, name="still")


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"quota": None},
        {"quota": {"color": 1}},
        {"quota": {"network": -2}},
        {"quota": {"network": 2**31}},
        {"quota": {"network": "many"}},
        {"quota": {"network": None}},
    ],
)
def test_limits_that_cannot_be(api, body):
    assert api.call("PUT", "quotas/p", 400, body)["NeutronError"]["type"] == "HTTPBadRequest"


def test_a_project_sees_its_own_quotas_and_sets_none(api):
    for path in ("quotas/p", "quotas/p/default", "quotas/p/details"):
        api.get(path, 200, P)
    for path in ("quotas", "quotas/q", "quotas/q/default", "quotas/q/details"):
        assert api.get(path, 403, P)["NeutronError"]["type"] == "PolicyNotAuthorized"
    set_quota(api, 403, headers=P, network=1000)
    api.call("DELETE", "quotas/p", 403, None, P)
