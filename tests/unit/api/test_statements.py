"""However long a list is, it takes the same few statements: every list that the API has, also those to come."""

from __future__ import annotations

import pytest

from haqn.api.app import RESOURCES, routes
from haqn.api.services import Services
from haqn.db import ledger, redundancy
from haqn.db.clock import utcnow
from haqn.db.ledger import Cause, Event, EventKind
from haqn.db.redundancy import Redundancy
from haqn.db.settings import Settings
from haqn.model import AgentType
from tests.unit.api.conftest import statements_of

#: what has no members, or always the same ones
NO_LISTS = {"", "extensions", "haqn/monitor"}
#: lists that are part of an object, and whether they grow here: a router has two agents at most, no network has any
PARTS = {
    "agents/{agent}/l3-routers": True,
    "agents/{agent}/dhcp-networks": False,
    "routers/{router}/l3-agents": False,
    "networks/{network}/dhcp-agents": False,
    "haqn/events/{event}/routers": True,
}
#: more than any of them takes; what operators see of all agents comes from more tables than one object does
MOST = 8


@pytest.fixture
def lists(database, live_state, nudge, conf):
    """The path of every list below /v2.0, by the API's own table of routes."""
    services = Services(database=database, settings=Settings.from_conf(conf), live_state=live_state, nudge=nudge)
    paths = {
        path.removeprefix("/v2.0").removeprefix("/")
        for path, endpoint in routes(services, RESOURCES, []).items()
        if path.startswith("/v2.0") and "{" not in path and hasattr(endpoint, "on_get")
    }
    assert {resource.path for resource in RESOURCES} | NO_LISTS < paths
    return paths - NO_LISTS


@pytest.fixture
def add(api, add_agent, bind, database):
    """One more of everything; the ids of some of it. All routers are on the same two agents."""
    pair = (add_agent("net0"), add_agent("net00"))
    bound = []

    def add(number):
        add_agent(f"net{number}", availability_zone=f"zone{number}")
        add_agent(f"c{number}", AgentType.LINUX_BRIDGE, availability_zone=f"zone{number}")
        network, subnet = api.network(f"10.{number}.0.0/24")
        external, _ = api.external(f"203.0.{number}.0/24", f"ext{number}")
        router = api.post("routers", external_gateway_info={"network_id": external["id"]}, project_id=f"p{number}")
        api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])
        port = api.post("ports", network_id=network["id"])
        floating = api.post("floatingips", floating_network_id=external["id"], port_id=port["id"])
        api.post("subnetpools", name="pool", prefixes=[f"10.{64 + number}.0.0/16"])
        group = api.call("POST", "security-groups", 201, {"security_group": {"name": "g"}})["security_group"]
        rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
        api.call("POST", "security-group-rules", 201, {"security_group_rule": rule})
        for collection, each in (("routers", router), ("ports", port), ("subnets", subnet), ("floatingips", floating)):
            api.call("PUT", f"{collection}/{each['id']}/tags", 200, {"tags": ["a", "b"]})
        api.call("PUT", f"quotas/project{number}", 200, {"quota": {"router": number}})
        bind(router["id"], *pair, pair_id=65536 + number)
        api.call("POST", "haqn/operations", 201, {"operation": {"kind": "rebuild", "router_id": router["id"]}})
        bound.append(router["id"])
        event = Event(kind=EventKind.TRANSITION, cause=Cause.VRRP, started_at=utcnow(), routers=tuple(bound))
        with database.transaction() as connection:
            redundancy.write(connection, {router["id"]: Redundancy("full", "", None)}, {})
            ledger.record(connection, begun=[event], ended=[], masters={}, leader_epoch=1, keep=100)
        event_id = api.get("haqn/events", limit=1)["events"][0]["id"]
        return {"agent": pair[0], "router": router["id"], "network": network["id"], "event": event_id}

    return add


@pytest.fixture
def look(api, database):
    """How many members a list has, and how many statements it took."""

    def look(path):
        with statements_of(database) as seen:
            answer = api.get(path)
        (members,) = (value for value in answer.values() if isinstance(value, list))
        return len(members), sum(statement.startswith("SELECT") for statement in seen)

    return look


def test_the_number_of_statements_does_not_grow_with_any_list(add, look, lists):
    def look_at_all(ids):
        return {path: look(path.format(**ids)) for path in [*sorted(lists), *PARTS]}

    few = look_at_all(add(1))
    for number in range(2, 5):
        ids = add(number)
    many = look_at_all(ids)
    assert {path: found[1] for path, found in many.items()} == {path: found[1] for path, found in few.items()}
    assert {path: found for path, found in many.items() if not 0 < found[1] < MOST} == {}
    # else nothing is proven
    assert {path for path, found in many.items() if found[0] <= few[path][0]} == {
        p for p, grows in PARTS.items() if not grows
    }
