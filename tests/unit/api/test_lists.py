"""Filters, fields, sorting, pages."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest


@pytest.fixture
def networks(api):
    return [
        api.post("networks", name=name, description=description, **{"router:external": external})
        for name, description, external in (("b", "x", True), ("a", "y", False), ("c", "x", False), ("a", "x", False))
    ]


def names(answer):
    return [network["name"] for network in answer["networks"]]


def test_what_differs_in_case_is_different(api):
    small, capital = api.post("networks", name="net"), api.post("networks", name="Net")
    assert names(api.get("networks", name="Net")) == ["Net"]
    tags = f"networks/{capital['id']}/tags"
    assert api.call("PUT", tags, 200, {"tags": ["Red", "red"]}) == {"tags": ["Red", "red"]}
    assert names(api.get("networks", tags="RED")) == []
    api.get(f"networks/{small['id'].upper()}", 404)


@pytest.mark.parametrize("collection", ["subnetpools", "network-ip-availabilities", "subnets"])
def test_a_version_of_ip_is_4_or_6(api, collection):
    assert api.get(collection, 400, ip_version="1099511627776")["NeutronError"]["type"] == "InvalidInput"


def test_filters(api, networks):
    assert names(api.get("networks", name="a", description="y")) == ["a"]
    assert sorted(names(api.get("networks", name=["b", "c"]))) == ["b", "c"]
    for text in ("True", "true", "1"):
        assert names(api.get("networks", **{"router:external": text})) == ["b"]
    assert api.get("networks", id=networks[2]["id"])["networks"] == [networks[2]]
    assert len(api.get("networks", revision_number="1")["networks"]) == 4
    assert names(api.get("networks", **{"provider:physical_network": ""}, name="b")) == ["b"]
    assert api.get("networks", id="c")["networks"] == []
    assert names(api.get("networks", created_at=networks[0]["created_at"], name="b")) == ["b"]


@pytest.mark.parametrize(
    "query",
    [
        {"color": "red"},
        {"shared": "perhaps"},
        {"revision_number": "x"},
        {"provider:segmentation_id": "9" * 30},
        {"created_at": "yesterday"},
        {"name": "a\0"},
    ],
)
def test_filters_that_cannot_be(api, networks, query):
    (name,) = query
    error = api.get("networks", 400, **query)["NeutronError"]
    assert (error["type"], name in error["message"]) == ("InvalidInput", True)


def test_fields(api, networks):
    assert api.get("networks", fields=["name", "shared"], name="b")["networks"] == [{"name": "b", "shared": False}]
    path = f"networks/{networks[0]['id']}"
    assert api.get(path, fields=["id", "nothing"])["network"] == {"id": networks[0]["id"]}


def test_sorting(api, networks):
    assert names(api.get("networks", sort_key="name", sort_dir="asc")) == ["a", "a", "b", "c"]
    by_two = api.get("networks", sort_key=["description", "name"], sort_dir=["desc", "asc"])
    assert names(by_two) == ["a", "a", "b", "c"]
    assert [n["description"] for n in by_two["networks"]] == ["y", "x", "x", "x"]


@pytest.mark.parametrize(
    "query",
    [
        {"sort_key": "name"},
        {"sort_key": "subnets", "sort_dir": "asc"},
        {"sort_key": "color", "sort_dir": "asc"},
        {"sort_key": "name", "sort_dir": "up"},
        {"limit": "-1"},
        {"limit": "many"},
        {"page_reverse": "perhaps"},
    ],
)
def test_orders_and_pages_that_cannot_be(api, networks, query):
    assert api.get("networks", 400, **query)["NeutronError"]["type"] == "HTTPBadRequest"


@pytest.mark.parametrize(
    "order", [{}, {"sort_key": "name", "sort_dir": "desc"}, {"sort_key": "mtu", "sort_dir": "asc"}]
)
@pytest.mark.parametrize("by_null", [False, True])
def test_pages_are_walked_by_their_links(api, networks, order, by_null):
    if by_null:
        order = {"sort_key": "provider:physical_network", "sort_dir": "desc"}
        api.external()
    everything = [n["id"] for n in api.get("networks", **order)["networks"]]
    seen, back = [], []
    answer = api.get("networks", limit=2, **order)
    while True:
        seen += [n["id"] for n in answer["networks"]]
        links = {link["rel"]: link["href"] for link in answer.get("networks_links", ())}
        if "next" not in links:
            break
        answer = follow(api, links["next"])
    assert seen == everything
    answer = api.get("networks", marker=everything[-1], limit=2, page_reverse="true", **order)
    while answer["networks"]:
        back = [n["id"] for n in answer["networks"]] + back
        links = {link["rel"]: link["href"] for link in answer["networks_links"]}
        if "previous" not in links:
            break
        answer = follow(api, links["previous"])
    assert back == everything[:-1]


def follow(api, href):
    url = urlsplit(href)
    query = {}
    for name, value in parse_qsl(url.query):
        query.setdefault(name, []).append(value)
    return api.get(url.path.removeprefix("/v2.0/"), **query)


def test_links_are_only_given_with_a_limit(api, networks):
    assert "networks_links" not in api.get("networks")
    assert "networks_links" not in api.get("networks", limit=0)
    links = api.get("networks", limit=9)["networks_links"]
    assert [link["rel"] for link in links] == ["previous"]


def test_an_unknown_marker_is_not_found(api, networks):
    api.get("networks", 404, marker="nothing")
    api.get("networks", 404, marker="0" * 32)
