"""No body, path or query ever gives a 5xx."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haqn.api.app import RESOURCES

KNOWN = {name: str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in ("a", "b")}
IPV6 = ("2001:db8::/64", "2001:db8::5", "fe80::1%1", "::/0", "slaac", 6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [*KNOWN.values(), "10.0.0.0/24", "10.0.0.5", *IPV6, "fa:16:3e:00:00:01", "\0", "x" * 300, 2**64, -1]
    )
)
MEMBERS = st.sampled_from(
    [
        "network_id",
        "subnet_id",
        "ip_address",
        "start",
        "end",
        "destination",
        "nexthop",
        "external_fixed_ips",
        "enable_snat",
        "mac_address",
        "routes",
        "tags",
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS | st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FUZZ = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def ids(api):
    network, subnet = api.external("10.0.0.0/16")
    router = api.post("routers")
    port = api.post("ports", network_id=network["id"])
    tenant = api.post("networks", project_id="t")["id"]
    attached = api.post("ports", network_id=tenant, project_id="t")["id"]
    return {
        "of t": f"{tenant}/ports/{attached}",
        "networks": network["id"],
        "subnets": subnet["id"],
        "routers": router["id"],
        "ports": port["id"],
    }


def bodies(resource):
    """Objects with the resource's own attributes and values of any kind, often under the right name."""
    names = st.sampled_from([attribute.name for attribute in resource.attributes.members]) | st.text(max_size=5)
    objects = st.dictionaries(names, VALUES, max_size=5)
    return st.builds(lambda value: {resource.name: value}, objects | VALUES) | VALUES


@FUZZ
@given(st.data())
def test_writes(api, ids, data):
    resource = data.draw(st.sampled_from(RESOURCES))
    known = ids.get(resource.collection, KNOWN["a"])
    method, path = data.draw(
        st.sampled_from(
            [
                ("POST", resource.path),
                ("PUT", f"{resource.path}/{known}"),
                ("PUT", f"{resource.path}/{known}/tags"),
                ("PUT", f"routers/{ids['routers']}/add_extraroutes"),
                ("PUT", f"agents/{KNOWN['a']}/l3-routers/{ids['routers']}"),
                ("PUT", f"routers/{ids['routers']}/add_router_interface"),
                ("PUT", f"routers/{ids['routers']}/remove_router_interface"),
                ("POST", f"agents/{KNOWN['a']}/l3-routers"),
            ]
        )
    )
    body = data.draw(bodies(resource))
    if isinstance(body, dict) and isinstance(body.get(resource.name), dict) and data.draw(st.booleans()):
        body[resource.name] |= {"network_id": ids["networks"]}
    check(api, api.client.simulate_request(method, f"/v2.0/{path}", json=body), (method, path, body))


@FUZZ
@given(st.data())
def test_reads(api, ids, data):
    resource = data.draw(st.sampled_from(RESOURCES))
    names = st.sampled_from(
        [attribute.name for attribute in resource.attributes.members]
        + ["fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse", "tags", "not-tags-any"]
    )
    texts = st.text(max_size=12) | st.sampled_from(
        ["", "asc", "name", "id", "1", "True", "ip_address=10.0.0.1", "ip_address_substr=%", *ids.values()]
    )
    query = data.draw(st.dictionaries(names | st.text(max_size=5), texts | st.lists(texts, min_size=1), max_size=3))
    path = f"/v2.0/{resource.path}"
    check(api, api.client.simulate_get(path, params=query, params_csv=False), query)


@FUZZ
@given(body=st.binary(max_size=30))
def test_bytes(api, body):
    check(api, api.client.simulate_post("/v2.0/networks", body=body), body)


@FUZZ
@given(st.data())
def test_quantum_v1(api, ids, data):
    root = "/v1.0/tenants/t/networks"
    name = data.draw(st.sampled_from(["network", "port", "attachment"]))
    port = f"/{ids['of t']}"
    network = port.partition("/ports")[0]
    path = data.draw(
        st.sampled_from(["", network, f"{network}/ports", port, f"{port}/attachment"])
        | st.text(max_size=5).map(lambda text: "/" + quote(text, safe=""))
    )
    inner = st.dictionaries(st.sampled_from(["name", "state", "id"]), VALUES, max_size=2) | VALUES
    body = data.draw(st.builds(lambda value: {name: value}, inner) | VALUES)
    method = data.draw(st.sampled_from(["POST", "PUT", "GET", "DELETE"]))
    result = api.client.simulate_request(method, root + path, json=body)
    assert result.status_code < 500, (method, path, body, result.text)


def check(api, result, sent):
    assert result.status_code < 500 or result.json["NeutronError"]["type"] == "NoNetworkAvailable", (sent, result.text)
    if result.status_code >= 400:
        error = result.json["NeutronError"]
        assert error["type"]
        assert error["message"]
