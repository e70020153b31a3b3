"""What the fuzz sends: every path and method that is served, bodies that are nearly right, and odd values everywhere.

Knows the API's route table and attributes, so that what is added to them is fuzzed, too; knows no database.
"""

from __future__ import annotations

import json
import uuid
from urllib.parse import quote, urlencode

import falcon.inspect
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from haqn import conf as haqn_conf
from haqn.api.app import RESOURCES, create_app
from haqn.api.events import EVENT
from haqn.api.ha import ROUTER_OVERVIEW
from haqn.api.livestate import NoLiveState
from haqn.api.nudge import NoNudge
from haqn.api.operations import OPERATION
from haqn.db.session import Database

UNKNOWN = str(uuid.uuid5(uuid.NAMESPACE_DNS, "unknown"))
#: what has been wrong somewhere: characters that databases do not take, numbers out of their ranges, other alphabets
ODD_TEXTS = (
    *("", "\0", "a\0b", "\ud800", "\U0001f600", "'", '"', "%", "_", "\\", "%s", "é", "É", " ", "x" * 255, "x" * 300),
    *("0", "1", "-1", "1e400", "NaN", str(2**31), str(2**63 - 1), str(2**63), "9" * 30, "true", "null", "None"),
    *("10.0.0.0/24", "10.0.0.5", "10.0.0.255", "255.255.255.255", "0.0.0.0/0", "::/0", "::ffff:10.0.0.5", "fe80::1%1"),
    *("2001:db8::/64", "2001:db8::5", "slaac", "fa:16:3e:00:00:01", "ff:ff:ff:ff:ff:ff", "2026-01-02T03:04:05Z"),
    *("0001-01-01T00:00:00", "9999-12-31T23:59:59+23:59", "2026-02-30", "ip_address=\0", "subnet_id=" + UNKNOWN),
    *("ip_address_substr=%", UNKNOWN, UNKNOWN.upper(), UNKNOWN.replace("-", "")),
)
ODD_NUMBERS = (
    0,
    1,
    -1,
    4,
    6,
    2**31 - 1,
    2**31,
    -(2**31) - 1,
    2**53,
    2**63 - 1,
    2**63,
    -(2**63),
    2**64,
    10**30,
    0.5,
    1e300,
)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([*ODD_TEXTS, *ODD_NUMBERS])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CONTROLS = ("fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse", "tags", "tags-any", "not-tags-any")
_RESOURCES = {resource.path: resource for resource in RESOURCES} | {
    "haqn/operations": OPERATION,
    "haqn/events": EVENT,
    "haqn/routers": ROUTER_OVERVIEW,
}


def templates():
    """Method -> the URI templates that it is served for."""
    conf = haqn_conf.load([], api__auth_strategy="noauth")
    app = create_app(Database("sqlite:////nowhere"), NoLiveState(), NoNudge(), conf)
    found = {}
    for route in falcon.inspect.inspect_routes(app):
        for method in route.methods:
            if not method.internal:
                found.setdefault(method.method, []).append(route.path)
    return found


def populate(api, add_agent, bind):
    """One object of each kind, related to each other; ids by the names that URI templates and bodies call them."""
    network, subnet = api.external("10.1.0.0/16")
    inner, inner_subnet = api.network("10.2.0.0/24", project_id="t")
    pool = api.post("subnetpools", prefixes=["10.64.0.0/16"], default_prefixlen=24)
    router = api.post("routers", external_gateway_info={"network_id": network["id"]})
    api.act(f"routers/{router['id']}/add_router_interface", subnet_id=inner_subnet["id"])
    port = api.post("ports", network_id=inner["id"], project_id="t")
    floating = api.post("floatingips", floating_network_id=network["id"], port_id=port["id"])
    group = api.call("POST", "security-groups", 201, {"security_group": {"name": "g"}})["security_group"]
    rule = {"security_group_id": group["id"], "direction": "ingress"}
    rule = api.call("POST", "security-group-rules", 201, {"security_group_rule": rule})["security_group_rule"]
    agents = [add_agent(host) for host in ("net1", "net2", "net3")]
    bind(router["id"], *agents[:2])
    api.call("PUT", "quotas/t", 200, {"quota": {"network": 50}})
    for path in (f"networks/{network['id']}", f"ports/{port['id']}"):
        api.act(f"{path}/tags", tags=["red"])
    operation = {"kind": "drain", "agent_id": agents[2]}
    operation = api.call("POST", "haqn/operations", 201, {"operation": operation})["operation"]
    return {
        **{"networks": network["id"], "subnets": subnet["id"], "subnetpools": pool["id"], "ports": port["id"]},
        **{"routers": router["id"], "floatingips": floating["id"], "agents": agents[0], "network-ip": network["id"]},
        **{"security-groups": group["id"], "security-group-rules": rule["id"], "operations": operation["id"]},
        **{
            "network_id": inner["id"],
            "port_id": port["id"],
            "router_id": router["id"],
            "subnet_id": inner_subnet["id"],
        },
        **{"project_id": "t", "tenant_id": "t", "agent_id": agents[1], "tag": "red", "alias": "router"},
    }


def lonely(api):
    """The same, of objects that nothing else needs, so that they can be deleted."""
    network, subnet = api.network("10.3.0.0/24")
    group = api.call("POST", "security-groups", 201, {"security_group": {"name": "lonely"}})["security_group"]
    made = {
        "subnets": subnet["id"],
        "networks": api.post("networks")["id"],
        "subnetpools": api.post("subnetpools", prefixes=["10.96.0.0/16"])["id"],
        "ports": api.post("ports", network_id=network["id"])["id"],
        "routers": api.post("routers")["id"],
        "security-groups": group["id"],
    }
    for collection, object_id in made.items():
        api.act(f"{collection}/{object_id}/tags", tags=["red"])
    return made


def explore(api, ids, method, template, *, examples):
    """Send so many requests of the method to the path; returns the statuses, none of which is a 5xx."""
    statuses = []

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.data())
    def send(data):
        path = data.draw(_paths(template, ids))
        body = data.draw(_bodies(template, ids)) if method in ("POST", "PUT") else None
        query = data.draw(_queries(template)) if method == "GET" else ""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", **data.draw(_headers())}
        result = api.client.simulate_request(method, path, query_string=query, headers=headers, body=content)
        check(result, template, (method, path, query, body, headers))
        statuses.append(result.status_code)

    send()
    return statuses


def check(result, template, sent):
    """Never an error of the server; and errors say what they are."""
    is_error = result.status_code >= 400
    if template in ("/readyz", "/metrics"):
        assert result.status_code in (200, 503), sent
    elif result.status_code >= 500:
        # Neutron's own answer where no VXLAN id is left
        assert result.json["NeutronError"]["type"] == "NoNetworkAvailable", (sent, result.text)
    elif is_error and template.startswith("/v2"):
        error = result.json["NeutronError"]
        assert error["type"], sent
        assert error["message"], sent


def _paths(template, ids):
    """Mostly with the ids of what is there."""

    def part(word):
        if not word.startswith("{"):
            return st.just(word)
        name = word.strip("{}")
        own = ids[
            next((key for key in ids if key == name or (name == "object_id" and f"/{key}" in template)), "agents")
        ]
        odd = st.sampled_from([*ids.values(), *ODD_TEXTS]) | st.text(max_size=8)
        return (st.just(own) | st.just(own) | odd).map(lambda text: quote(text.encode(errors="replace"), safe=""))

    return st.tuples(*(part(word) for word in template.split("/"))).map("/".join)


def _queries(template):
    resource = _RESOURCES.get(_collection(template))
    names = [attribute.name for attribute in resource.attributes.members] if resource else ["since", "until", "by"]
    values = st.sampled_from([*ODD_TEXTS, *names, "asc", "desc"]) | st.text(max_size=8)
    pairs = st.lists(st.tuples(st.sampled_from([*names, *CONTROLS]) | st.text(max_size=5), values), max_size=3)
    return pairs.map(lambda found: urlencode(found, errors="replace"))


def _headers():
    odd = st.sampled_from(["", "t", "x" * 300, "é", "1", "revision_number=0", "revision_number=" + "9" * 40])
    names = st.sampled_from(["X-Project-Id", "X-Roles", "X-User-Id", "If-Match", "Content-Type"])
    return st.just({}) | st.dictionaries(names, odd, max_size=1)


def _bodies(template, ids):
    """A body that is right but for a part, something that is no body at all, or no JSON."""
    right = st.sampled_from(_right_bodies(template, ids))
    return right | right | right.flatmap(lambda body: _spoiled(body, template)) | VALUES | st.binary(max_size=20)


def _spoiled(body, template):
    ((outer, inner),) = list(body.items())[:1]
    resource = _RESOURCES.get(_collection(template))
    kinds = {each.name: _of_schema(each.kind.schema()) for each in resource.attributes.members} if resource else {}
    known = [*kinds, *inner] if isinstance(inner, dict) else []
    names = st.sampled_from(known) if known else st.text(max_size=5)

    def value_of(name):
        return st.tuples(st.just(name), (kinds.get(name, VALUES)) | VALUES)

    changes = st.lists(names.flatmap(value_of), min_size=1, max_size=3).map(dict)
    if not isinstance(inner, dict):
        return VALUES.map(lambda value: {outer: value})
    one = changes.map(lambda changed: {outer: {**inner, **changed}})
    many = changes.map(lambda changed: {f"{outer}s": [{**inner, **changed}, inner]})
    return one | one | many | changes.map(lambda changed: {**body, **changed})


def _of_schema(schema):
    """Values that the schema allows, and that are at its edges."""
    if "anyOf" in schema:
        return st.one_of([_of_schema(each) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum"))
    if kind == "array":
        return st.lists(_of_schema(schema.get("items", {})), max_size=3)
    if kind == "object":
        return st.fixed_dictionaries(
            {}, optional={name: _of_schema(each) for name, each in schema.get("properties", {}).items()}
        )
    return st.sampled_from(ODD_TEXTS) | st.text(max_size=30) if kind == "string" else VALUES


def _collection(template):
    parts = template.split("/")
    return "/".join(parts[2:4]) if "/haqn/" in template else parts[2] if len(parts) > 2 else ""


def _right_bodies(template, ids):
    last = template.rpartition("/")[2]
    route = {"destination": "192.0.2.0/24", "nexthop": "10.2.0.9"}
    actions = {
        "add_router_interface": [{"subnet_id": ids["subnet_id"]}, {"port_id": ids["port_id"]}],
        "remove_router_interface": [{"subnet_id": ids["subnet_id"]}, {"port_id": ids["port_id"]}],
        "add_extraroutes": [{"router": {"routes": [route]}}],
        "remove_extraroutes": [{"router": {"routes": [route]}}],
        "l3-routers": [{"router_id": ids["routers"]}],
        "{router_id}": [{"ha_chassis_priority": 2}],
        "dhcp-networks": [{"network_id": ids["networks"]}],
        "tags": [{"tags": ["red"]}],
        "attachment": [{"attachment": {"id": "vif"}}],
        "monitor": [{"monitor": {"release": True, "seconds": 60, "agents": [ids["agents"]]}}],
    }
    if last in actions:
        return actions[last]
    if template.startswith("/v1."):
        return [{"port": {"state": "ACTIVE"}} if "/ports" in template else {"network": {"name": "n"}}]
    collection = _collection(template)
    resource = _RESOURCES.get(collection)
    name = "quota" if collection == "quotas" else resource.name if resource else "object"
    if last == "{object_id}":
        changes = {"agents": {"admin_state_up": True}, "haqn/operations": {"state": "cancelled"}}
        return [{name: changes.get(collection, {"description": "d"})}]
    objects = {
        "networks": {"name": "n"},
        "subnets": {"network_id": ids["network_id"], "cidr": "10.9.0.0/24", "ip_version": 4},
        "subnetpools": {"prefixes": ["10.80.0.0/16"]},
        "ports": {"network_id": ids["network_id"], "fixed_ips": [{"subnet_id": ids["subnet_id"]}]},
        "routers": {"external_gateway_info": {"network_id": ids["networks"]}},
        "floatingips": {"floating_network_id": ids["networks"]},
        "security-groups": {"name": "g"},
        "security-group-rules": {"security_group_id": ids["security-groups"], "direction": "egress"},
        "haqn/operations": {"kind": "rebuild", "router_id": ids["routers"]},
        "quotas": {"port": 7, "check_limit": True},
    }
    return [{name: objects.get(collection, {})}]
