"""What a client did wrong is named: a 4xx of Neutron's own type, the attribute (or what is in use) in its message, and
nothing of the request is written, not even a revision.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from haqn.api.app import RESOURCES
from haqn.api.attributes import REQUIRED
from haqn.api.kinds import Invalid
from haqn.db import tables
from tests.unit.api.situations import SITUATIONS, UNKNOWN, Request, floating, port, quota

#: no attribute takes all of them; what an attribute takes is not tried on it
WRONG = (
    *(None, {"no": "member"}, [["list"]], ["x", "x"], 12.5, -1, 10**30, "x" * 300, "no\0text", "some words"),
    *(UNKNOWN[:-1], "10.0.0.0/33", "10.0.0.256", "fa:16:3e:00:00", "ff:ff:ff:ff:ff:ff", [{"unexpected": 1}]),
)
#: for attributes that must be given
RIGHT = {
    **{"network_id": UNKNOWN, "floating_network_id": UNKNOWN, "security_group_id": UNKNOWN},
    **{"direction": "ingress", "prefixes": ["10.0.0.0/8"]},
}
WRITTEN = [resource for resource in RESOURCES if resource.create is not None or resource.update is not None]


def everything(database):
    """All rows of all tables."""
    with database.read() as connection:
        return {
            name: sorted(repr(row) for row in connection.execute(sa.select(table)))
            for name, table in tables.metadata.tables.items()
        }


@pytest.fixture
def ids(api, add_agent, bind):
    """One object of each kind, all in use; ids by the words that stand for them in `situations`."""
    external, external_subnet = api.external("10.1.0.0/16")
    network, subnet = api.network("10.2.0.0/24", project_id="t")
    alone, _ = api.network("10.3.0.0/24")
    _, other_subnet = api.network("10.2.0.0/25")
    no_gateway = api.post("subnets", network_id=alone["id"], cidr="10.5.0.0/24", gateway_ip=None)
    pool = api.post("subnetpools", prefixes=["10.64.0.0/16"], default_prefixlen=24)
    api.post("subnets", network_id=api.post("networks")["id"], subnetpool_id=pool["id"])

    router = api.post("routers", external_gateway_info={"network_id": external["id"]})["id"]
    api.act(f"routers/{router}/add_router_interface", subnet_id=subnet["id"])
    api.put(f"routers/{router}", routes=[{"destination": "172.16.0.0/24", "nexthop": "10.2.0.77"}])
    (router_port,) = api.get("ports", device_owner="network:ha_router_replicated_interface")["ports"]
    (gateway_port,) = api.get("ports", device_owner="network:router_gateway")["ports"]
    agents = [add_agent(host) for host in ("net1", "net2")]
    bind(router, *agents)

    group, of_rule = (
        api.call("POST", "security-groups", 201, {"security_group": {"name": name}})["security_group"]["id"]
        for name in ("used", "other")
    )
    body = {"security_group_rule": {"security_group_id": of_rule, "direction": "ingress"}}
    rule = api.call("POST", "security-group-rules", 201, body)["security_group_rule"]
    default = next(found for found in api.get("security-groups")["security_groups"] if found["name"] == "default")
    # chosen addresses, as chance might give them one that is asked for and is not their own
    vm_port = api.post("ports", network_id=network["id"], project_id="t", fixed_ips=[{"ip_address": "10.2.0.20"}])
    groups = {"security_groups": [group]}
    member = api.post("ports", network_id=network["id"], fixed_ips=[{"ip_address": "10.2.0.21"}], **groups)
    floatingip = api.post("floatingips", floating_network_id=external["id"], port_id=vm_port["id"])
    return {
        **{"external": external["id"], "external_subnet": external_subnet["id"], "network": network["id"]},
        **{"subnet": subnet["id"], "alone": alone["id"], "other_subnet": other_subnet["id"]},
        **{"no_gateway": no_gateway["id"], "pool": pool["id"], "router": router, "router_port": router_port["id"]},
        **{"gateway_port": gateway_port["id"], "agent": agents[0], "group": group, "of_rule": of_rule},
        **{"rule": rule["id"], "default_group": default["id"], "port": vm_port["id"], "mac": vm_port["mac_address"]},
        **{"address": vm_port["fixed_ips"][0]["ip_address"], "member": member["id"], "unknown": UNKNOWN},
        **{"floating_address": floatingip["floating_ip_address"]},
    }


def filled_in(value, ids):
    """With the ids in place of the words."""
    if isinstance(value, dict):
        return {name: filled_in(member, ids) for name, member in value.items()}
    if isinstance(value, Request):
        return Request(*(filled_in(member, ids) for member in value))
    if isinstance(value, list | tuple):
        return [filled_in(member, ids) for member in value]
    if isinstance(value, str):
        for word, found in ids.items():
            value = value.replace(f"<{word}>", found)
    return value


class Observer:
    """Sends requests that must be refused, and sees that nothing is written by any."""

    def __init__(self, api, database, nudge):
        self._api, self._database, self._nudge = api, database, nudge
        self._before = everything(database), list(nudge.lines)

    def refused(self, request):
        """The error."""
        content = {"body": request.body} if isinstance(request.body, bytes) else {"json": request.body}
        result = self._api.client.simulate_request(request.method, f"/v2.0/{request.path}", **content)
        assert result.status_code == request.status, (request, result.text)
        error = result.json["NeutronError"]
        assert error.keys() == {"type", "message", "detail"}
        assert error["type"] == request.kind, (request, error)
        assert [name for name in request.names if name not in error["message"]] == [], (request, error)
        return error

    def check(self, *sent):
        """That nothing was written."""
        assert (everything(self._database), self._nudge.lines) == self._before, sent


@pytest.fixture
def observer(api, database, nudge):
    observer = Observer(api, database, nudge)
    yield observer
    observer.check()


def taken(kind, value):
    try:
        kind.parse(value)
    except Invalid:
        return False
    return True


def required_of(resource):
    """Something for each attribute that must be given."""
    return {each.name: RIGHT[each.name] for each in resource.attributes.members if each.default is REQUIRED}


def verbs_of(resource):
    """(method, path, attributes that come first) of the writes that there are."""
    if resource.create is not None:
        yield "POST", resource.path, required_of(resource)
    if resource.update is not None:
        yield "PUT", f"{resource.path}/{UNKNOWN}", {}


@pytest.mark.parametrize("resource", WRITTEN, ids=lambda resource: resource.name)
def test_a_value_of_a_wrong_kind_names_its_attribute(observer, resource):
    """Each attribute of each resource, by the table that the API itself reads."""
    tried = 0
    for method, path, first in verbs_of(resource):
        for attribute in resource.attributes.members:
            if not (attribute.post if method == "POST" else attribute.put):
                continue
            for value in (value for value in WRONG if not taken(attribute.kind, value)):
                body = {resource.name: {**first, attribute.name: value}}
                names = (f"Invalid input for {attribute.name}. Reason: ",)
                observer.refused(Request(method, path, body, 400, "HTTPBadRequest", names))
                tried += 1
    assert tried > 5


@pytest.mark.parametrize("resource", WRITTEN, ids=lambda resource: resource.name)
def test_attributes_that_are_missing_unknown_or_read_only_are_named(observer, resource):
    for method, path, first in verbs_of(resource):
        for name in first:
            left = {resource.name: {other: value for other, value in first.items() if other != name}}
            observer.refused(Request(method, path, left, 400, "HTTPBadRequest", (f"'{name}'",)))
        read_only = [each.name for each in resource.attributes.members if not (each.post or each.put)]
        for name in ["no_such_attribute", *read_only]:
            body = {resource.name: {**first, name: "x"}}
            observer.refused(Request(method, path, body, 400, "HTTPBadRequest", (name,)))


@pytest.mark.parametrize("resource", WRITTEN, ids=lambda resource: resource.name)
def test_a_body_that_is_none_is_refused(observer, resource):
    for method, path, _ in verbs_of(resource):
        for body in (b"", b"{", b"[]", b"null", b'"x"', b"{}", b"\xff", b"[[[", {"other": {}}):
            observer.refused(Request(method, path, body, 400, "HTTPBadRequest", ("body",)))
        for inner in (None, [], "x", 1):
            observer.refused(Request(method, path, {resource.name: inner}, 400, "HTTPBadRequest", (resource.name,)))


def test_what_cannot_be_as_things_are_is_named(api, database, nudge, ids):
    observer = Observer(api, database, nudge)
    for request in SITUATIONS:
        observer.refused(filled_in(request, ids))
        observer.check(request)


def test_a_quota_names_what_there_is_too_much_of(api, database, nudge, ids):
    for resource, body in (
        ("network", {"network": {"project_id": "t"}}),
        ("port", port(project_id="t")),
        ("router", {"router": {"project_id": "t"}}),
        ("floatingip", floating(project_id="t")),
        ("security_group", {"security_group": {"project_id": "t", "name": "g"}}),
    ):
        api.call("PUT", "quotas/t", 200, quota(**{resource: 0}))
        observer = Observer(api, database, nudge)
        path = resource.replace("_", "-") + "s"
        observer.refused(Request("POST", path, filled_in(body, ids), 409, "OverQuota", (resource,)))
        observer.check(resource)
