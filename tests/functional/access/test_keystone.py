"""A real Keystone, the real `openstack` command, and haqn-api behind keystonemiddleware: two projects and an admin."""

import pytest
import requests

from tests.functional.api.shell import Shell


@pytest.fixture
def server(keystone, make_server):
    with make_server(keystone.middleware_options("haqn"), auth_strategy="keystone") as server:
        yield server


# each command asks Keystone several times
@pytest.mark.timeout(600)
def test_two_projects_by_the_command_line(keystone, server):
    keystone.add_service("network", "haqn", server.url)
    alice, bob, admin = (
        Shell(environment=keystone.environment(*who)) for who in (("alice", "a"), ("bob", "b"), ("admin", "admin"))
    )
    try:
        project_id = alice.ok("token issue")["project_id"]
        endpoints = {entry["Type"]: entry["Endpoints"] for entry in admin.ok("catalog list")}
        assert any(endpoint["url"] == server.url for endpoint in endpoints["network"])
        network = alice.ok("network create mine")
        assert network["project_id"] == project_id
        assert network["provider:network_type"] is None
        assert [row["ID"] for row in alice.ok("network list")] == [network["id"]]
        assert bob.ok("network list") == []
        assert "No Network found" in bob.fails(f"network show {network['id']}")
        assert "disallowed by policy" in bob.fails("network create --share ours")
        assert admin.ok(f"network show {network['id']}")["provider:network_type"] == "vxlan"
        admin.do(f"network set --name renamed {network['id']}")
        assert alice.ok("network show renamed")["id"] == network["id"]
        alice.do("network delete renamed")
        check_quotas(admin, alice)
    finally:
        for shell in (alice, bob, admin):
            shell.close()


def check_quotas(admin, alice):
    """The command sets quotas by Keystone's names of projects, and so needs one."""

    def limits(shell, project=""):
        return {row["Resource"]: row["Limit"] for row in shell.ok(f"quota show --network {project}")}

    assert limits(alice)["networks"] == 100
    admin.do("quota set --networks 1 --routers -1 a")
    assert (limits(alice)["networks"], limits(alice)["routers"], limits(admin, "b")["networks"]) == (1, -1, 100)
    alice.ok("network create first")
    assert "Quota exceeded for resources: ['network']" in alice.fails("network create second")
    assert "is not from -1 to" in admin.fails("quota set --networks -5 a")
    usage = {row["Resource"]: row["In Use"] for row in alice.ok("quota show --network --usage")}
    assert usage["networks"] == 1
    admin.do("quota delete --network a")
    assert limits(alice)["networks"] == 100


def test_tokens_and_roles(keystone, server):
    """What the command line does not show: statuses, readers, unscoped tokens, headers that a client makes up."""

    def call(method, path, token=None, **more):
        headers = {**more.pop("headers", {}), **({"X-Auth-Token": token} if token else {})}
        return requests.request(method, f"{server.url}{path}", headers=headers, timeout=30, **more)

    made_up = {"X-Roles": "admin", "X-Project-Id": "a", "X-Identity-Status": "Confirmed"}
    for headers in ({}, made_up):
        for path in ("/v2.0/networks", "/v2.0/agents", "/v1.1/tenants/a/networks", "/healthz/", "//v2.0/networks"):
            answer = call("GET", path, headers=headers)
            assert answer.status_code == 401, path
            assert keystone.url in answer.headers["WWW-Authenticate"]
            # keystonemiddleware has given this answer
            assert answer.headers["X-Openstack-Request-Id"] in server.log_file.read_text()
    for path in ("/", "/healthz", "/readyz"):
        assert call("GET", path).status_code == 200
    assert call("GET", "/v2.0/networks", "nonsense").status_code == 401
    member, reader, admin = (keystone.token(*who) for who in (("alice", "a"), ("carol", "a"), ("admin", "admin")))
    body = {"network": {"name": "n"}}
    made = call("POST", "/v2.0/networks", member, json=body).json()["network"]
    path = f"/v2.0/networks/{made['id']}"
    assert call("GET", path, reader).json()["network"]["name"] == "n"
    assert call("GET", path, reader, headers=made_up).json()["network"].keys() == made.keys()
    assert call("PUT", path, reader, json=body).status_code == 403
    assert call("POST", "/v2.0/networks", reader, json=body).status_code == 403
    assert call("DELETE", path, reader).status_code == 403
    unscoped = keystone.token("alice", None)
    assert call("POST", "/v2.0/networks", unscoped, json=body).status_code == 403
    assert call("GET", path, unscoped).status_code == 404
    assert call("GET", "/v2.0/agents", member).json() == {"agents": []}
    assert call("DELETE", path, admin).status_code == 204
