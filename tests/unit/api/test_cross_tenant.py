"""Every operation of the API on another project's objects, and every reference to them.

The operations are those that the application has routes for, so that a new one is tested before anybody thinks of it.
"""

from __future__ import annotations

import itertools

import pytest

from haqn.api import app as api_app
from haqn.api import extensions, quantum_v1
from haqn.api.kinds import Only
from haqn.api.policies import OPEN
from haqn.api.services import Services
from haqn.db.settings import Settings
from tests.unit.api.test_tenancy import ALICE, BOB, NOBODY, external, gateway, interface, make  # noqa: F401 a fixture

METHODS = ("GET", "POST", "PUT", "DELETE")
#: A reader of one's own project, and a member and a nobody of others.
CAROL = {"X-User-Id": "carol", "X-Project-Id": "a", "X-Roles": "reader"}

#: operations that are not about one tenant's object -> what a stranger gets
ELSEWHERE = {
    # lists have nothing of others, which test_tenancy looks at; what there is of quotas is one's own
    ("GET", "/v2.0/quotas"): 403,
    ("GET", "/v2.0/availability_zones"): 200,
    # one may create things for oneself; an empty body is no object
    **{
        ("POST", f"/v2.0/{collection}"): 400
        for collection in (
            *("networks", "subnets", "subnetpools", "ports", "routers", "floatingips"),
            *("security-groups", "security-group-rules"),
        )
    },
}
#: collections whose objects nobody but admins sees
ADMINS = ("agents", "network-ip-availabilities")


def operations(database, conf, live_state, nudge):
    services = Services(database=database, settings=Settings.from_conf(conf), live_state=live_state, nudge=nudge)
    added = extensions.load()
    for template, endpoint in api_app.routes(services, api_app.RESOURCES, added).items():
        for method in METHODS:
            # v1's /detail shares its endpoint with what may be written, and is only read
            is_read_only = template.endswith("/detail") and method != "GET"
            if hasattr(endpoint, f"on_{method.lower()}") and template not in OPEN and not is_read_only:
                yield method, template, endpoint


def expected(method, template, endpoint):
    """The statuses that are right for a stranger."""
    if template.startswith("/v1."):
        return {401}
    if (method, template) in ELSEWHERE:
        return {ELSEWHERE[method, template]}
    collection = template.split("/")[2]
    if template.startswith("/v2.0/quotas/") or collection == "haqn":
        # resources of operators: their lists may be empty, and their objects may not exist
        return {403} if collection == "quotas" else {403, 404} | ({200} if method == "GET" else set())
    if "{object_id}" in template:
        is_item = template.endswith("{object_id}") or "/tags" in template
        return {404} if collection not in ADMINS or is_item else {403}
    return {200} if method == "GET" else {403}


@pytest.fixture
def all_of_alice(api, external, add_agent):  # noqa: F811 it is the fixture
    mine = make(api, ALICE)
    api.put(f"routers/{mine['routers']['id']}", 200, ALICE, external_gateway_info=gateway(external))
    interface(api, ALICE, mine, subnet_id=mine["subnets"]["id"])
    floating = {"floating_network_id": external["networks"]["id"], "port_id": mine["ports"]["id"]}
    pool = api.post("subnetpools", 201, ALICE, prefixes=["10.64.0.0/16"], name="p")
    group = api.call("POST", "security-groups", 201, {"security_group": {"name": "g"}}, ALICE)["security_group"]
    rule = {"security_group_rule": {"security_group_id": group["id"], "direction": "ingress"}}
    return {
        **mine,
        "floatingips": api.post("floatingips", 201, ALICE, **floating),
        "subnetpools": pool,
        "security-groups": group,
        "security-group-rules": api.call("POST", "security-group-rules", 201, rule, ALICE)["security_group_rule"],
        "agents": {"id": add_agent("net1")},
    }


def world(api, all_of_alice):
    """All that Alice has, as admins see it; without what time alone changes."""
    return {
        collection: api.get(f"{collection}/{row['id']}")
        for collection, row in all_of_alice.items()
        if collection != "agents"
    }


def uri(template, all_of_alice):
    collection = template.split("/")[2]
    known = {
        **{
            "object_id": all_of_alice.get(collection, all_of_alice["networks"])["id"],
            "project_id": "a",
            "tenant_id": "a",
        },
        **{"tag": "t", "alias": "router", "router_id": all_of_alice["routers"]["id"]},
        **{"network_id": all_of_alice["networks"]["id"], "port_id": all_of_alice["ports"]["id"]},
    }
    return template.format_map(known)


def test_every_operation_on_anothers_objects(api, all_of_alice, database, conf, live_state, nudge):
    before, wrong, seen = world(api, all_of_alice), [], 0
    tried = list(operations(database, conf, live_state, nudge))
    for (method, template, endpoint), stranger in itertools.product(tried, (BOB, NOBODY)):
        answer = api.client.simulate_request(method, uri(template, all_of_alice), headers=stranger, json={})
        allowed = expected(method, template, endpoint)
        if stranger is NOBODY:
            # without a project there is nothing to be a stranger with
            allowed |= {403} | ({404} if method == "GET" else set())
        if answer.status_code not in allowed:
            wrong.append((method, template, stranger["X-User-Id"], answer.status_code, allowed))
        if any(
            row["id"] in answer.text and row["id"] not in uri(template, all_of_alice) for row in all_of_alice.values()
        ):
            wrong.append((method, template, "shows", answer.text))
        seen += 1
    assert wrong == []
    assert seen > 2 * 70
    assert world(api, all_of_alice) == before


def test_a_reader_changes_nothing_of_its_own_project(api, all_of_alice, database, conf, live_state, nudge):
    before, wrong = world(api, all_of_alice), []
    for method, template, _ in operations(database, conf, live_state, nudge):
        answer = api.client.simulate_request(method, uri(template, all_of_alice), headers=CAROL, json={})
        # an object of admins does not exist
        refused = {401} if template.startswith("/v1.") else {403, 404}
        if method != "GET" and answer.status_code not in refused:
            wrong.append((method, template, answer.status_code))
    assert wrong == []
    for collection in set(all_of_alice) - {"agents"}:
        api.get(f"{collection}/{all_of_alice[collection]['id']}", 200, CAROL)
    assert world(api, all_of_alice) == before


def references(all_of_alice, bobs, outer):
    """(method, path, body) of Bob, each naming one thing of Alice's, and what he may be answered."""
    network, subnet, port = (all_of_alice[name]["id"] for name in ("networks", "subnets", "ports"))
    group, pool = all_of_alice["security-groups"]["id"], all_of_alice["subnetpools"]["id"]
    own, own_port, own_router = (bobs[name]["id"] for name in ("networks", "ports", "routers"))
    own_group = bobs["security-groups"]["id"]
    theirs = f"routers/{all_of_alice['routers']['id']}"
    yield "POST", "subnets", {"subnet": {"network_id": network, "cidr": "10.5.0.0/24", "ip_version": 4}}, {404}
    yield "POST", "subnets", {"subnet": {"network_id": own, "subnetpool_id": pool, "ip_version": 4}}, {404}
    yield "POST", "ports", {"port": {"network_id": network}}, {404}
    yield "POST", "ports", {"port": {"network_id": own, "fixed_ips": [{"subnet_id": subnet}]}}, {400, 404}
    yield "POST", "ports", {"port": {"network_id": own, "security_groups": [group]}}, {404}
    yield "PUT", f"ports/{own_port}", {"port": {"fixed_ips": [{"subnet_id": subnet}]}}, {400, 404}
    yield "PUT", f"ports/{own_port}", {"port": {"security_groups": [group]}}, {404}
    yield "POST", "routers", {"router": {"external_gateway_info": {"network_id": network}}}, {404}
    yield "PUT", f"routers/{own_router}", {"router": {"external_gateway_info": {"network_id": network}}}, {404}
    for target in ({"subnet_id": subnet}, {"port_id": port}):
        yield "PUT", f"routers/{own_router}/add_router_interface", target, {404}
        yield "PUT", f"routers/{own_router}/remove_router_interface", target, {404}
    for target in ({"subnet_id": bobs["subnets"]["id"]}, {"port_id": own_port}):
        yield "PUT", f"{theirs}/add_router_interface", target, {404}
        yield "PUT", f"{theirs}/remove_router_interface", target, {404}
    for action in ("add", "remove"):
        route = {"router": {"routes": [{"destination": "10.99.0.0/24", "nexthop": "10.0.0.9"}]}}
        yield "PUT", f"{theirs}/{action}_extraroutes", route, {404}
    yield "POST", "floatingips", {"floatingip": {"floating_network_id": network}}, {404}
    yield "POST", "floatingips", {"floatingip": {"floating_network_id": outer, "port_id": port}}, {404}
    inner = {"floating_network_id": outer, "subnet_id": subnet}
    yield "POST", "floatingips", {"floatingip": inner}, {400, 404}
    yield "PUT", f"floatingips/{bobs['floatingips']['id']}", {"floatingip": {"port_id": port}}, {404}
    stolen = {"device_id": all_of_alice["routers"]["id"], "device_owner": "network:router_interface"}
    yield "POST", "ports", {"port": {"network_id": own, **stolen}}, {400, 403, 404, 409}
    yield "PUT", f"ports/{own_port}", {"port": stolen}, {400, 403, 404, 409}
    rule = {"direction": "ingress"}
    yield "POST", "security-group-rules", {"security_group_rule": {**rule, "security_group_id": group}}, {404}
    remote = {**rule, "security_group_id": own_group, "remote_group_id": group}
    yield "POST", "security-group-rules", {"security_group_rule": remote}, {404}


def test_every_reference_to_anothers_objects(api, external, all_of_alice):  # noqa: F811 it is the fixture
    outer = external["networks"]["id"]
    bobs = make(api, BOB, "10.1.0.0/24")
    bobs["floatingips"] = api.post("floatingips", 201, BOB, floating_network_id=outer)
    bobs["security-groups"] = api.call("POST", "security-groups", 201, {"security_group": {"name": "g"}}, BOB)[
        "security_group"
    ]
    before = world(api, all_of_alice), world(api, bobs)
    wrong = []
    for method, path, body, allowed in references(all_of_alice, bobs, outer):
        answer = api.client.simulate_request(method, f"/v2.0/{path}", headers=BOB, json=body)
        if answer.status_code not in allowed:
            wrong.append((method, path, body, answer.status_code, answer.text))
    assert wrong == []
    assert (world(api, all_of_alice), world(api, bobs)) == before


#: attributes that name other objects in another way than by `..._id`
STRUCTURED = {"fixed_ips", "security_groups", "external_gateway_info"}


def naming(resource):
    """(method, attribute) of a resource by which a request can name another object, from the API's own tables."""
    for attribute in resource.attributes.members:
        named = attribute.name in STRUCTURED or attribute.name.endswith(("_id", "_ids"))
        # a kind that takes one value only names nothing; whose an object is to be is test_tenancy's
        fixed = type(attribute.kind) is Only or attribute.name in {"project_id", "tenant_id"}
        if named and not fixed and not attribute.admin_only:
            yield from [("POST", attribute.name)] * attribute.post + [("PUT", attribute.name)] * attribute.put


def test_references_are_all_that_the_api_knows(all_of_alice, external):  # noqa: F811 it is the fixture
    tried = {
        (method, path.partition("/")[0], attribute)
        for method, path, body, _ in references(all_of_alice, all_of_alice, external["networks"]["id"])
        for attribute in (next(iter(body.values())) if isinstance(next(iter(body.values())), dict) else body)
    }
    known = {(method, one.path, attribute) for one in api_app.RESOURCES for method, attribute in naming(one)}
    assert len(known) > 12
    assert sorted(known - tried) == []


def test_filters_find_nothing_of_others(api, all_of_alice):
    for collection, row in all_of_alice.items():
        for query in ({"id": row["id"]}, {"project_id": "a"}, {"tenant_id": "a"}, {"name": row.get("name") or "p"}):
            for stranger in (BOB, NOBODY):
                answer = api.client.simulate_get(f"/v2.0/{collection}", params=query, headers=stranger)
                found = [] if answer.status_code in (400, 403) else next(iter(answer.json.values()))
                assert [one for one in found if one["id"] == row["id"]] == [], (collection, query)


def test_v1_is_about_the_tenants_in_the_path(api, all_of_alice):
    for version in quantum_v1.VERSIONS:
        path = f"/{version}/tenants/b/networks/{all_of_alice['networks']['id']}"
        answer = api.client.simulate_get(path, headers=BOB)
        assert answer.status_code == (420 if version == "v1.0" else 404)
