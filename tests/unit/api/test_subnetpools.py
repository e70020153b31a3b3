"""Subnet pools: their rules, and subnets whose prefix comes from one."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haqn.db import prefixes

TENANT = {"X-Project-Id": "t", "X-Roles": "member"}


@pytest.fixture
def pool(api):
    return api.post("subnetpools", name="p", prefixes=["10.0.0.0/16"], default_prefixlen=24)


@pytest.fixture
def network_id(api):
    return api.post("networks")["id"]


def test_a_pool_has_neutrons_defaults(api):
    pool = api.post("subnetpools", name="p", prefixes=["10.0.1.0/24", "10.0.0.0/24", "192.0.2.0/24"])
    assert pool["prefixes"] == ["10.0.0.0/23", "192.0.2.0/24"]
    lengths = (pool["min_prefixlen"], pool["default_prefixlen"], pool["max_prefixlen"])
    assert (pool["ip_version"], *lengths) == (4, 8, 8, 32)
    assert (pool["shared"], pool["is_default"]) == (False, False)
    assert (pool["default_quota"], pool["address_scope_id"]) == (None, None)
    six = api.post("subnetpools", prefixes=["2001:db8::/48"])
    assert (six["ip_version"], six["min_prefixlen"], six["max_prefixlen"]) == (6, 64, 128)
    assert api.get("subnetpools", name="p")["subnetpools"] == [api.get(f"subnetpools/{pool['id']}")["subnetpool"]]


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"prefixes": []}, "EmptySubnetPoolPrefixList"),
        ({"prefixes": ["10.0.0.0/8", "2001:db8::/48"]}, "PrefixVersionMismatch"),
        ({"prefixes": ["10.0.0.0/8"], "min_prefixlen": 33}, "IllegalSubnetPoolPrefixBounds"),
        ({"prefixes": ["10.0.0.0/8"], "min_prefixlen": 24, "max_prefixlen": 20}, "IllegalSubnetPoolPrefixBounds"),
        ({"prefixes": ["10.0.0.0/8"], "min_prefixlen": 24, "default_prefixlen": 20}, "IllegalSubnetPoolPrefixBounds"),
        ({"prefixes": ["10.0.0.0/8"], "max_prefixlen": 24, "default_prefixlen": 26}, "IllegalSubnetPoolPrefixBounds"),
        ({"prefixes": ["10.0.0.0/99"]}, "HTTPBadRequest"),
        ({}, "HTTPBadRequest"),
    ],
)
def test_pools_that_cannot_be(api, attributes, error):
    assert api.post("subnetpools", 400, **attributes)["type"] == error


def test_a_pool_grows_and_never_shrinks(api, pool):
    path = f"subnetpools/{pool['id']}"
    assert api.put(path, prefixes=["10.0.0.0/16", "10.1.0.0/16"])["prefixes"] == ["10.0.0.0/15"]
    assert api.put(path, 400, prefixes=["10.0.0.0/16"])["type"] == "IllegalSubnetPoolPrefixUpdate"
    assert api.put(path, 400, default_prefixlen=4)["type"] == "IllegalSubnetPoolPrefixBounds"
    assert api.put(path, name="q", default_quota=512)["default_quota"] == 512


def test_one_default_pool_for_each_ip_version(api, pool, network_id):
    path = f"subnetpools/{pool['id']}"
    body = {"network_id": network_id, "ip_version": 4, "use_default_subnetpool": True}
    assert "No default subnetpool found for IPv4" in api.post("subnets", 400, **body)["message"]
    assert api.put(path, is_default=True)["is_default"] is True
    assert api.put(path, is_default=True)["is_default"] is True
    assert api.post("subnets", **body)["subnetpool_id"] == pool["id"]
    second = api.post("subnetpools", 400, prefixes=["192.0.2.0/24"], is_default=True)
    assert second["type"] == "InvalidInput"
    other = api.post("subnetpools", prefixes=["2001:db8::/48"], is_default=True)
    listed = api.get("subnetpools", is_default="true", sort_key="ip_version", sort_dir="asc")["subnetpools"]
    assert [each["id"] for each in listed] == [pool["id"], other["id"]]
    assert api.get("subnetpools", is_default="false")["subnetpools"] == []
    api.put(path, is_default=False)
    assert "No default subnetpool" in api.post("subnets", 400, **body)["message"]


def test_subnets_from_a_pool_do_not_overlap(api, pool, network_id):
    body = {"network_id": network_id, "ip_version": 4, "subnetpool_id": pool["id"]}
    first = api.post("subnets", **body)
    assert (first["cidr"], first["gateway_ip"], first["subnetpool_id"]) == ("10.0.0.0/24", "10.0.0.1", pool["id"])
    assert api.post("subnets", prefixlen=25, **body)["cidr"] == "10.0.1.0/25"
    assert api.post("subnets", cidr="10.0.3.0/24", **body)["cidr"] == "10.0.3.0/24"
    assert api.post("subnets", prefixlen=23, **body)["cidr"] == "10.0.4.0/23"
    assert api.post("subnets", prefixlen=25, **body)["cidr"] == "10.0.1.128/25"
    other = {**body, "network_id": api.post("networks")["id"]}
    taken = api.post("subnets", 409, cidr="10.0.3.0/25", **other)
    assert (taken["type"], "10.0.3.0/25" in taken["message"]) == ("SubnetAllocationError", True)
    assert api.post("subnets", 409, cidr="172.16.0.0/24", **other)["type"] == "SubnetAllocationError"
    assert api.get("subnets", subnetpool_id=pool["id"], cidr="10.0.4.0/23")["subnets"] != []
    assert api.delete(f"subnetpools/{pool['id']}", 400)["type"] == "SubnetPoolDeleteError"
    for subnet in api.get("subnets")["subnets"]:
        api.delete(f"subnets/{subnet['id']}")
    assert api.post("subnets", **body)["cidr"] == "10.0.0.0/24"
    api.delete(f"networks/{network_id}")
    api.delete(f"subnetpools/{pool['id']}")
    assert api.post("subnets", 404, **other)["type"] == "SubnetPoolNotFound"


def test_a_pool_has_an_end_and_bounds(api, network_id):
    pool = api.post("subnetpools", prefixes=["192.0.2.0/24"], min_prefixlen=24, max_prefixlen=26)
    body = {"network_id": network_id, "ip_version": 4, "subnetpool_id": pool["id"]}
    assert api.post("subnets", 400, prefixlen=23, **body)["type"] == "MinPrefixSubnetAllocationError"
    assert api.post("subnets", 400, prefixlen=27, **body)["type"] == "MaxPrefixSubnetAllocationError"
    assert api.post("subnets", 400, cidr="192.0.2.0/28", **body)["type"] == "MaxPrefixSubnetAllocationError"
    api.post("subnets", prefixlen=25, **body)
    assert "Insufficient prefix space" in api.post("subnets", 409, prefixlen=24, **body)["message"]


def test_what_does_not_fit_together(api, pool, network_id):
    body = {"network_id": network_id, "ip_version": 4}
    both = api.post("subnets", 400, subnetpool_id=pool["id"], use_default_subnetpool=True, **body)
    assert "cannot both be specified" in both["message"]
    assert (
        "must not be supplied together" in api.post("subnets", 400, cidr="10.0.0.0/24", prefixlen=24, **body)["message"]
    )
    assert "in the absence of a cidr" in api.post("subnets", 400, prefixlen=24, **body)["message"]
    assert "in the absence of a cidr" in api.post("subnets", 400, **body)["message"]
    pools = [{"start": "10.0.0.5", "end": "10.0.0.9"}]
    asked = api.post("subnets", 400, subnetpool_id=pool["id"], allocation_pools=pools, **body)
    assert "only for specific subnet requests" in asked["message"]
    six = api.post("subnetpools", prefixes=["2001:db8::/48"])["id"]
    assert "Cannot allocate IPv4" in api.post("subnets", 400, subnetpool_id=six, **body)["message"]
    api.post("subnets", cidr="172.16.0.0/24", **body)
    mixed = api.post("subnets", 400, subnetpool_id=pool["id"], **body)
    assert mixed["type"] == "NetworkSubnetPoolAffinityError"


def test_a_project_may_have_so_much_of_a_pool(api):
    pool = api.post("subnetpools", prefixes=["10.0.0.0/16"], default_prefixlen=25, default_quota=256, shared=True)
    network = api.post("networks", project_id="t")["id"]
    body = {"network_id": network, "ip_version": 4, "subnetpool_id": pool["id"], "project_id": "t"}
    api.post("subnets", **body)
    api.post("subnets", **body)
    assert api.post("subnets", 409, **body)["type"] == "SubnetPoolQuotaExceeded"
    api.post("subnets", **{**body, "project_id": "u"})


def test_tenants_use_their_own_pools_and_shared_ones(api, pool):
    own = api.post("subnetpools", 201, TENANT, prefixes=["10.0.0.0/16"], default_prefixlen=24)
    shared = api.post("subnetpools", shared=True, prefixes=["10.0.0.0/16"], default_prefixlen=24)
    seen = {each["id"] for each in api.get("subnetpools", 200, TENANT)["subnetpools"]}
    assert seen == {own["id"], shared["id"]}
    assert api.post("subnetpools", 403, TENANT, prefixes=["10.0.0.0/8"], shared=True)["type"] == "PolicyNotAuthorized"
    assert api.put(f"subnetpools/{own['id']}", 403, TENANT, is_default=True)["type"] == "PolicyNotAuthorized"
    assert api.put(f"subnetpools/{shared['id']}", 403, TENANT, name="x")["type"] == "PolicyNotAuthorized"
    api.put(f"subnetpools/{pool['id']}", 404, TENANT, name="x")

    def ask(status, **values):
        network = api.post("networks", 201, TENANT)["id"]
        return api.post("subnets", status, TENANT, network_id=network, ip_version=4, **values)

    for usable in (own, shared):
        assert ask(201, subnetpool_id=usable["id"])["cidr"] == "10.0.0.0/24"
    assert ask(404, subnetpool_id=pool["id"])["type"] == "SubnetPoolNotFound"
    api.put(f"subnetpools/{pool['id']}", is_default=True)
    assert "No default subnetpool" in ask(400, use_default_subnetpool=True)["message"]
    api.put(f"subnetpools/{pool['id']}", is_default=False)
    api.put(f"subnetpools/{shared['id']}", is_default=True)
    assert ask(201, use_default_subnetpool=True)["subnetpool_id"] == shared["id"]


CIDRS = st.builds(
    lambda number, length: ipaddress.ip_network((number >> (32 - length) << (32 - length), length)),
    st.integers(0x0A000000, 0x0A0000FF),
    st.integers(24, 30),
)


@given(st.lists(CIDRS, min_size=1, max_size=4), st.lists(CIDRS, max_size=8), st.integers(24, 31))
def test_the_first_free_prefix_is_the_first(pool, taken, length):
    own = prefixes.merged(map(str, pool))
    all_free = (
        candidate
        for prefix in own
        if prefix.prefixlen <= length
        for candidate in prefix.subnets(new_prefix=length)
        if not any(candidate.overlaps(other) for other in taken)
    )
    assert prefixes.first_free(own, taken, length) == next(all_free, None)
