"""What a project may not do to another one from its own place: create for it, and change its things by v1."""

from __future__ import annotations

import pytest

from haqn.api import app as api_app
from tests.unit.api.test_cross_tenant import operations
from tests.unit.api.test_tenancy import ALICE, BOB, external, make  # noqa: F401 a fixture


def having_all(api, owner, cidr):
    group = api.call("POST", "security-groups", 201, {"security_group": {"name": "g"}}, owner)["security_group"]
    return {**make(api, owner, cidr), "security-groups": group}


def world(api, objects):
    """As admins see it; without what time alone changes."""
    return {collection: api.get(f"{collection}/{row['id']}") for collection, row in objects.items()}


@pytest.fixture
def all_alices(api):
    return having_all(api, ALICE, "10.0.0.0/24")


@pytest.fixture
def all_bobs(api):
    return having_all(api, BOB, "10.1.0.0/24")


def of_bob(all_bobs, outer):
    """A body that creates something for Bob, by collection."""
    network, group = all_bobs["networks"]["id"], all_bobs["security-groups"]["id"]
    return {
        "networks": {},
        "subnets": {"network_id": network, "cidr": "10.7.0.0/24", "ip_version": 4},
        "subnetpools": {"name": "p", "prefixes": ["10.8.0.0/16"]},
        "ports": {"network_id": network},
        "routers": {},
        "floatingips": {"floating_network_id": outer},
        "security-groups": {"name": "h"},
        "security-group-rules": {"security_group_id": group, "direction": "ingress"},
    }


#: (attribute, value) that name Alice's project, or nobody's
OWNERS = [(name, value) for name in ("project_id", "tenant_id") for value in ("a", "")]


def test_nobody_creates_anything_for_another_project(api, external, all_bobs):  # noqa: F811 it is the fixture
    bodies = of_bob(all_bobs, external["networks"]["id"])
    creatable = {one.path: one for one in api_app.RESOURCES if one.create is not None}
    assert set(bodies) == set(creatable)
    before = {path: api.get(path) for path in creatable}
    for path, body in bodies.items():
        kind = creatable[path].name
        for name, value in OWNERS:
            api.call("POST", path, 400, {kind: {**body, name: value}}, BOB)
            # all of them or none
            api.call("POST", path, 400, {creatable[path].collection: [body, {**body, name: value}]}, BOB)
        assert api.get(path) == before[path], path
    for path, body in bodies.items():
        kind = creatable[path].name
        made = api.call("POST", path, 201, {kind: {**body, "project_id": "b"}}, BOB)[kind]
        assert (made["project_id"], made["tenant_id"]) == ("b", "b")
        # without an update there is no rule for it, and what has no rule is for admins
        refused = 403 if creatable[path].update is None else 400
        for name, value in OWNERS:
            api.call("PUT", f"{path}/{made['id']}", refused, {kind: {name: value}}, BOB)


#: what v1 says of a network and of a port that is not there, by version
V1_MISSING = {"v1.0": {420, 430}, "v1.1": {404}}


def test_v1_changes_nothing_of_others_from_ones_own_place(api, all_alices, all_bobs, database, conf, live_state, nudge):
    """A stranger's own tenant in the path, and the ids of another one's network and port, by every operation."""
    before, seen = (world(api, all_alices), world(api, all_bobs)), 0
    body = {"network": {"name": "stolen"}, "port": {"state": "DOWN"}, "attachment": {"id": "stolen"}}
    for method, template, _ in operations(database, conf, live_state, nudge):
        version, is_v1 = template.split("/")[1], template.startswith("/v1.")
        if not is_v1 or "{network_id}" not in template:
            continue
        for network in (all_alices, all_bobs) if "{port_id}" in template else (all_alices,):
            named = {"network_id": network["networks"]["id"], "port_id": all_alices["ports"]["id"]}
            path = template.format(tenant_id="b", **named)
            answer = api.client.simulate_request(method, path, headers=BOB, json=body)
            assert answer.status_code in V1_MISSING[version], (method, path, answer.text)
            seen += 1
    assert seen >= 40
    assert (world(api, all_alices), world(api, all_bobs)) == before
