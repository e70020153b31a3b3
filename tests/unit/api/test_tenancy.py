"""Two projects and an admin: who sees what, and who may use what of whom."""

from __future__ import annotations

import ipaddress
import uuid

import pytest

ALICE = {"X-User-Id": "alice", "X-Project-Id": "a", "X-Roles": "member,reader"}
BOB = {"X-User-Id": "bob", "X-Project-Id": "b", "X-Roles": "member"}
ADMIN = {"X-Project-Id": "admin", "X-Roles": "admin"}
NOBODY = {"X-User-Id": "nobody"}
UNKNOWN = str(uuid.uuid4())
COLLECTIONS = ("networks", "subnets", "ports", "routers", "floatingips")


def make(api, headers, cidr="10.0.0.0/24", **attributes):
    """One network, subnet, port and router of the project, by collection."""
    network = api.post("networks", 201, headers, **attributes)
    subnet = api.post("subnets", 201, headers, network_id=network["id"], cidr=cidr)
    # chosen, as chance might give it one that a test asks for
    chosen = [{"subnet_id": subnet["id"], "ip_address": str(ipaddress.ip_network(cidr)[20])}]
    port = api.post("ports", 201, headers, network_id=network["id"], fixed_ips=chosen)
    router = api.post("routers", 201, headers)
    return {"networks": network, "subnets": subnet, "ports": port, "routers": router}


@pytest.fixture
def external(api):
    network, subnet = api.external()
    return {"networks": network, "subnets": subnet}


@pytest.fixture
def alices(api, external):
    """Alice's objects, with a floating IP on her port."""
    mine = make(api, ALICE)
    api.put(f"routers/{mine['routers']['id']}", 200, ALICE, external_gateway_info=gateway(external))
    interface(api, ALICE, mine, subnet_id=mine["subnets"]["id"])
    floating = {"floating_network_id": external["networks"]["id"], "port_id": mine["ports"]["id"]}
    return {**mine, "floatingips": api.post("floatingips", 201, ALICE, **floating)}


@pytest.fixture
def bobs(api):
    return make(api, BOB, "10.1.0.0/24")


def gateway(external, **more):
    return {"network_id": external["networks"]["id"], **more}


def interface(api, headers, objects, status=200, action="add", **target):
    path = f"routers/{objects['routers']['id']}/{action}_router_interface"
    return api.call("PUT", path, status, target, headers)


def ids(api, collection, headers, **query):
    return {row["id"] for row in api.get(collection, 200, headers, **query)[collection]}


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_another_projects_objects_do_not_exist(api, alices, collection):
    path = f"{collection}/{alices[collection]['id']}"
    for stranger in (BOB, NOBODY):
        assert alices[collection]["id"] not in ids(api, collection, stranger)
        assert ids(api, collection, stranger, project_id="a") == set()
        missing = api.get(path, 404, stranger)
        assert missing["NeutronError"]["type"].lower() == f"{collection[:-1]}notfound"
        for method in ("PUT", "DELETE"):
            assert api.call(method, path, 404, {collection[:-1]: {"description": "x"}}, stranger) == missing
        api.call("PUT", f"{path}/tags", 404, {"tags": ["x"]}, stranger)
        api.call("GET", f"{path}/tags", 404, None, stranger)
        api.get(collection, 404, stranger, marker=alices[collection]["id"])
    for friend in (ALICE, ADMIN, None):
        assert alices[collection]["id"] in ids(api, collection, friend)
        assert api.put(path, 200, friend, description="mine")["description"] == "mine"


def test_own_objects_have_ones_project(api, alices):
    for row in alices.values():
        assert (row["project_id"], row["tenant_id"]) == ("a", "a")
    error = api.post("networks", 400, ALICE, project_id="b")
    assert "admin privileges" in error["message"]
    assert api.post("networks", 201, ALICE, tenant_id="a")["project_id"] == "a"
    assert api.post("networks", 201, ADMIN, project_id="b")["project_id"] == "b"
    assert api.post("networks", 403, NOBODY)["type"] == "PolicyNotAuthorized"


def test_shared_networks_are_seen_and_used_but_not_changed(api, bobs):
    shared = make(api, ADMIN, "10.9.0.0/24", shared=True)
    network, subnet = shared["networks"], shared["subnets"]
    assert ids(api, "networks", BOB) == {network["id"], bobs["networks"]["id"]}
    assert ids(api, "subnets", BOB) == {subnet["id"], bobs["subnets"]["id"]}
    assert ids(api, "ports", BOB) == {bobs["ports"]["id"]}
    assert ids(api, "networks", BOB, shared="True") == {network["id"]}
    for collection in ("networks", "subnets"):
        path = f"{collection}/{shared[collection]['id']}"
        api.get(path, 200, BOB)
        assert api.put(path, 403, BOB, name="x")["type"] == "PolicyNotAuthorized"
        api.call("DELETE", path, 403, None, BOB)
    assert api.post("subnets", 403, BOB, network_id=network["id"], cidr="10.8.0.0/24")["type"] == "PolicyNotAuthorized"
    port = api.post("ports", 201, BOB, network_id=network["id"], fixed_ips=[{"subnet_id": subnet["id"]}])
    assert port["project_id"] == "b"
    assert port["id"] in ids(api, "ports", ADMIN)


@pytest.mark.parametrize(
    "chosen",
    [
        {"mac_address": "fa:16:3e:00:00:01"},
        {"fixed_ips": [{"ip_address": "10.9.0.9"}]},
        {"device_owner": "network:dhcp"},
    ],
)
def test_on_anothers_network_a_port_gets_what_it_is_given(api, bobs, chosen):
    network = make(api, ADMIN, "10.9.0.0/24", shared=True)["networks"]
    api.post("ports", 403, BOB, network_id=network["id"], **chosen)
    port = api.post("ports", 201, BOB, network_id=network["id"])
    api.put(f"ports/{port['id']}", 403, BOB, **chosen)
    own = {name: "10.1.0.9" if name == "ip_address" else value for name, value in chosen.items()}
    if "fixed_ips" in own:
        own = {"fixed_ips": [{"ip_address": "10.1.0.9"}]}
    api.post("ports", 201, BOB, network_id=bobs["networks"]["id"], **own)


def test_a_networks_owner_sees_and_deletes_the_ports_on_it(api, bobs):
    port = api.post("ports", 201, ADMIN, network_id=bobs["networks"]["id"])
    assert port["id"] in ids(api, "ports", BOB)
    api.put(f"ports/{port['id']}", 403, BOB, name="x")
    interface(api, BOB, bobs, 403, port_id=port["id"])
    api.call("DELETE", f"ports/{port['id']}", 204, None, BOB)


def test_external_networks_are_seen_and_serve_as_gateways_only(api, external, bobs):
    network_id = external["networks"]["id"]
    assert ids(api, "networks", BOB, **{"router:external": "True"}) == {network_id}
    assert ids(api, "subnets", BOB, network_id=network_id) == set()
    assert api.post("ports", 403, BOB, network_id=network_id)["type"] == "PolicyNotAuthorized"
    api.post("subnets", 403, BOB, network_id=network_id, cidr="10.3.0.0/24")
    path = f"routers/{bobs['routers']['id']}"
    changed = api.put(path, 200, BOB, external_gateway_info=gateway(external))
    assert changed["external_gateway_info"]["network_id"] == network_id
    assert api.get("ports", 200, BOB, network_id=network_id)["ports"] == []
    fixed = [{"ip_address": "203.0.113.9"}]
    for refused in ({"enable_snat": False}, {"external_fixed_ips": fixed}):
        api.put(path, 403, BOB, external_gateway_info=gateway(external, **refused))
        api.post("routers", 403, BOB, external_gateway_info=gateway(external, **refused))
        api.put(path, 200, ADMIN, external_gateway_info=gateway(external, **refused))


def test_a_subnet_or_port_on_anothers_network(api, alices):
    network_id = alices["networks"]["id"]
    assert api.post("subnets", 404, BOB, network_id=network_id, cidr="10.5.0.0/24")["type"] == "NetworkNotFound"
    assert api.post("ports", 404, BOB, network_id=network_id)["type"] == "NetworkNotFound"
    mixed = {"ports": [{"network_id": make(api, BOB, "10.6.0.0/24")["networks"]["id"]}, {"network_id": network_id}]}
    before = ids(api, "ports", BOB)
    api.call("POST", "ports", 404, mixed, BOB)
    assert ids(api, "ports", BOB) == before


def test_a_gateway_on_anothers_network(api, alices, bobs):
    info = {"network_id": alices["networks"]["id"]}
    assert api.post("routers", 404, BOB, external_gateway_info=info)["type"] == "NetworkNotFound"
    path = f"routers/{bobs['routers']['id']}"
    assert api.put(path, 404, BOB, external_gateway_info=info)["type"] == "NetworkNotFound"


def test_anothers_subnet_or_port_on_ones_router(api, alices, bobs):
    error = interface(api, BOB, bobs, 404, subnet_id=alices["subnets"]["id"])
    assert error["NeutronError"]["type"] == "SubnetNotFound"
    port = api.post("ports", 201, ALICE, network_id=alices["networks"]["id"])
    assert interface(api, BOB, bobs, 404, port_id=port["id"])["NeutronError"]["type"] == "PortNotFound"
    shared = make(api, ADMIN, "10.9.0.0/24", shared=True)
    error = interface(api, BOB, bobs, 400, subnet_id=shared["subnets"]["id"])
    assert "not owned" in error["NeutronError"]["message"]
    interface(api, BOB, bobs, 404, subnet_id=UNKNOWN)
    interface(api, ADMIN, bobs, 200, subnet_id=shared["subnets"]["id"])


def test_ones_subnet_or_port_on_anothers_router(api, alices, bobs):
    for action in ("add", "remove"):
        for target in ({"subnet_id": bobs["subnets"]["id"]}, {"port_id": bobs["ports"]["id"]}):
            error = interface(api, BOB, alices, 404, action, **target)
            assert error["NeutronError"]["type"] == "RouterNotFound"
    interface(api, BOB, bobs, 200, subnet_id=bobs["subnets"]["id"])
    interface(api, BOB, bobs, 200, "remove", subnet_id=bobs["subnets"]["id"])


def test_a_floating_ip_for_anothers_port(api, external, alices, bobs):
    api.put(f"routers/{bobs['routers']['id']}", 200, BOB, external_gateway_info=gateway(external))
    interface(api, BOB, bobs, subnet_id=bobs["subnets"]["id"])
    target = {"floating_network_id": external["networks"]["id"], "port_id": alices["ports"]["id"]}
    assert api.post("floatingips", 404, BOB, **target)["type"] == "PortNotFound"
    floating = api.post("floatingips", 201, BOB, floating_network_id=external["networks"]["id"])
    path = f"floatingips/{floating['id']}"
    assert api.put(path, 404, BOB, port_id=alices["ports"]["id"])["type"] == "PortNotFound"
    foreign = api.post("ports", 201, ADMIN, network_id=bobs["networks"]["id"])
    assert "different project" in api.put(path, 400, BOB, port_id=foreign["id"])["message"]
    assert api.put(path, 200, BOB, port_id=bobs["ports"]["id"])["port_id"] == bobs["ports"]["id"]
    address = {"floating_network_id": external["networks"]["id"], "floating_ip_address": "203.0.113.77"}
    api.post("floatingips", 403, BOB, **address)
    assert api.post("floatingips", 404, BOB, floating_network_id=alices["networks"]["id"])["type"] == "NetworkNotFound"


@pytest.mark.parametrize(
    ("collection", "attributes"),
    [
        ("networks", {"shared": True}),
        ("networks", {"router:external": True}),
        ("networks", {"provider:network_type": "vxlan"}),
        ("networks", {"provider:segmentation_id": 7}),
        ("routers", {"ha": False}),
        ("routers", {"distributed": False}),
    ],
)
def test_attributes_that_admins_set(api, collection, attributes):
    error = api.post(collection, 403, BOB, **attributes)
    assert (error["type"], next(iter(attributes)) in error["message"]) == ("PolicyNotAuthorized", True)
    api.post(collection, 201, ADMIN, **attributes)


def test_defaults_may_be_repeated(api, bobs):
    network = api.post("networks", 201, BOB, shared=False, **{"router:external": False})
    api.put(f"networks/{network['id']}", 403, BOB, shared=True)


@pytest.mark.parametrize(
    ("collection", "hidden"),
    [
        ("networks", {"provider:network_type", "provider:physical_network", "provider:segmentation_id"}),
        ("ports", {"binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details"}),
        ("routers", {"ha", "distributed"}),
    ],
)
def test_attributes_that_admins_see(api, bobs, collection, hidden):
    path = f"{collection}/{bobs[collection]['id']}"
    assert hidden <= set(api.get(path, 200, ADMIN)[collection[:-1]])
    assert not hidden & set(api.get(path, 200, BOB)[collection[:-1]])
    for name in hidden:
        assert name not in api.get(path, 200, BOB, fields=[name])[collection[:-1]]
        error = api.get(collection, 400, BOB, **{name: "x"})
        assert error["NeutronError"]["type"] == "InvalidInput"
        api.get(collection, 400, BOB, sort_key=name, sort_dir="asc")


def test_agents_are_for_admins(api, add_agent, bobs):
    agent_id = add_agent("net1")
    assert api.get("agents", 200, BOB) == {"agents": []}
    assert api.get(f"agents/{agent_id}", 404, BOB)["NeutronError"]["type"] == "AgentNotFound"
    api.put(f"agents/{agent_id}", 404, BOB, description="x")
    api.call("DELETE", f"agents/{agent_id}", 404, None, BOB)
    for method, path in (
        ("GET", f"agents/{agent_id}/l3-routers"),
        ("POST", f"agents/{agent_id}/l3-routers"),
        ("DELETE", f"agents/{agent_id}/l3-routers/{bobs['routers']['id']}"),
        ("GET", f"routers/{bobs['routers']['id']}/l3-agents"),
    ):
        error = api.call(method, path, 403, {"router_id": bobs["routers"]["id"]}, BOB)
        assert error["NeutronError"]["type"] == "PolicyNotAuthorized"
    assert len(api.get("agents", 200, ADMIN)["agents"]) == 1


def test_how_full_networks_are_is_for_admins(api, bobs):
    path = f"network-ip-availabilities/{bobs['networks']['id']}"
    assert api.get("network-ip-availabilities", 200, BOB) == {"network_ip_availabilities": []}
    api.get(path, 404, BOB)
    api.get(path, 200, ADMIN)


def test_security_groups_of_others_cannot_be_used(api, bobs):
    def group(headers):
        body = {"security_group": {"name": "g"}}
        return api.call("POST", "security-groups", 201, body, headers)["security_group"]["id"]

    mine, alices = group(BOB), group(ALICE)
    port = {"network_id": bobs["networks"]["id"], "security_groups": [alices]}
    assert api.post("ports", 404, BOB, **port)["type"] == "SecurityGroupNotFound"
    api.put(f"ports/{bobs['ports']['id']}", 404, BOB, security_groups=[mine, alices])
    api.put(f"ports/{bobs['ports']['id']}", 200, BOB, security_groups=[mine])
    for groups in ({"security_group_id": alices}, {"security_group_id": mine, "remote_group_id": alices}):
        body = {"security_group_rule": {"direction": "ingress", **groups}}
        api.call("POST", "security-group-rules", 404, body, BOB)
    listed = api.get("security-groups", 200, BOB)["security_groups"]
    assert {found["project_id"] for found in listed} == {"b"}
    api.get(f"security-groups/{alices}", 404, BOB)


def test_names_in_the_place_of_ids_are_not_found(api):
    for collection in COLLECTIONS:
        api.get(f"{collection}/name", 404, BOB)


def test_any_identity_header_ends_being_admin(api):
    network = api.post("networks")
    for headers in ({"X-User-Id": "u"}, {"X-Project-Id": "p"}, {"X-Roles": "member"}):
        api.get(f"networks/{network['id']}", 404, headers)
    api.get(f"networks/{network['id']}", 200, {"X-Roles": "reader, Admin"})
