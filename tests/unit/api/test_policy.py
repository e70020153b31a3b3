"""What an operator's policy file changes, and what stays closed."""

from __future__ import annotations

import itertools

import pytest

from haqn import conf as haqn_conf
from haqn.api import app as api_app
from haqn.api.app import create_app
from haqn.api.context import Context, Scope
from haqn.api.policy import Policy
from tests.unit.api.conftest import Api
from tests.unit.api.test_tenancy import ALICE, BOB

AUDITOR = {"X-User-Id": "ann", "X-Project-Id": "audit", "X-Roles": "auditor,reader"}
NETADMIN = {"X-User-Id": "ned", "X-Project-Id": "a", "X-Roles": "netadmin,member"}
SERVICE = {"X-User-Id": "nova", "X-Project-Id": "service", "X-Roles": "service"}

RULES = """
"get_network": "role:auditor or rule:admin_or_reader"
"get_network:provider:network_type": "rule:admin_only or rule:owner"
"create_network": "rule:admin_only or role:netadmin"
"create_network:shared": "rule:admin_only or (role:netadmin and rule:owner)"
"get_agent": "rule:admin_only or role:auditor"
"get_router_overview": "rule:admin_or_reader"
"""


@pytest.fixture
def policy_file(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(RULES)
    return file


@pytest.fixture
def conf(tmp_path, policy_file):
    file = tmp_path / "haqn.conf"
    file.write_text(f"[api]\nauth_strategy = noauth\n[oslo_policy]\npolicy_file = {policy_file}\n")
    return haqn_conf.load(["--config-file", str(file)])


@pytest.fixture
def network(api):
    return api.post("networks", shared=True, project_id="a")


def test_a_role_of_ones_own_sees_everybodys(api, network):
    private = api.post("networks", 201, NETADMIN)
    path = f"networks/{private['id']}"
    assert api.get(path, 200, AUDITOR)["network"]["id"] == private["id"]
    assert {row["id"] for row in api.get("networks", 200, AUDITOR)["networks"]} == {network["id"], private["id"]}
    api.get(path, 404, BOB)
    api.put(path, 403, AUDITOR, name="x")
    assert api.get("agents", 200, AUDITOR) == {"agents": []}
    api.get("quotas", 403, AUDITOR)


def test_a_rule_that_asks_for_more(api):
    assert api.post("networks", 403, ALICE)["message"] == "create_network is disallowed by policy"
    api.post("networks", 201, NETADMIN, project_id="a")
    # create_network has no limit to one's own project here, create_network:shared has
    api.post("networks", 403, NETADMIN, shared=True, project_id="b")


def test_an_attribute_of_ones_own_objects_only(api, network):
    name, path = "provider:network_type", f"networks/{network['id']}"
    assert name in api.get(path, 200, ALICE)["network"]
    assert name not in api.get(path, 200, BOB)["network"]
    assert name not in api.get("networks", 200, BOB)["networks"][0]
    # or the filter would tell
    api.get("networks", 400, ALICE, **{name: "vxlan"})


def test_what_has_no_owner_cannot_be_opened_to_owners(api, network):
    """Such a rule lets readers see lists of their own; there is no way to tell whose a single object is."""
    router = api.post("routers", 201, ALICE)
    api.get(f"haqn/routers/{router['id']}", 403, BOB)


def test_other_services_bind_ports(api):
    network = api.post("networks")
    port = api.post("ports", 201, SERVICE, network_id=network["id"], project_id="a", **{"binding:host_id": "cmp1"})
    assert (port["project_id"], port["binding:host_id"]) == ("a", "cmp1")
    path = f"ports/{port['id']}"
    assert api.put(path, 200, SERVICE, **{"binding:host_id": "cmp2"})["binding:host_id"] == "cmp2"
    assert "binding:host_id" not in api.get(path, 200, ALICE)["port"]
    api.get("routers", 200, SERVICE)
    router = api.post("routers")
    api.get(f"routers/{router['id']}", 404, SERVICE)
    api.post("networks", 403, SERVICE)


def test_a_changed_file_counts_at_once_or_soon(database, live_state, nudge, conf, policy_file):
    policy_file.write_text('"create_network": "!"\n')
    api = Api(create_app(database, live_state, nudge, conf))
    api.post("networks", 403)
    api.get("networks")


def test_every_rule_is_documented_once_and_is_for_admins():
    rules = api_app.list_policies()
    names = [rule.name for rule in rules]
    assert len(names) == len(set(names))
    policy = Policy(haqn_conf.load([]), rules)
    admin = Context(project_id="x", roles=frozenset({"admin"}), judge=policy.scope)
    named = [name for name in names if name not in ("owner", "service_api")]
    assert [name for name in named if admin.scope(name) is not Scope.ALL] == []
    nobody = Context(project_id="x", roles=frozenset({""}), judge=policy.scope)
    assert [name for name in named if nobody.may(name)] == []
    assert nobody.scope("there is no such rule") is Scope.NONE
    assert {"create_network", "get_router:ha", "update_port:binding:host_id", "get_operation"} <= set(names)
    member = Context(project_id="x", roles=frozenset({"member"}), judge=policy.scope)
    writes = [name for name, verb in itertools.product(names, ("create_", "update_", "delete_")) if verb in name[:7]]
    assert [name for name in writes if member.scope(name) is Scope.ALL] == []
