"""Agents, and which router is on which of them."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from haqn.db import tables
from haqn.model import AgentType, VrrpState

UNKNOWN = str(uuid.uuid4())


def pins(database):
    with database.read() as connection:
        return {tuple(row) for row in connection.execute(sa.select(tables.pins.c.router_id, tables.pins.c.agent_id))}


def test_an_agent_says_what_it_is(api, add_agent, live_state):
    agent_id = add_agent("net1")
    live_state.alive_agents[agent_id] = True
    agent = api.get(f"agents/{agent_id}")["agent"]
    assert agent == {
        "id": agent_id,
        "agent_type": "L3 agent",
        "binary": "haqn-agent",
        "topic": "l3_agent",
        "host": "net1",
        "admin_state_up": True,
        "alive": True,
        "liveness": "alive",
        "availability_zone": "nova",
        "description": "",
        "configurations": {"ha_address": "192.0.2.1", "routers": 0},
        "created_at": "2026-01-02 03:04:05",
        "started_at": "2026-01-02 03:04:05",
        "heartbeat_timestamp": "2026-01-02 03:04:05",
        "resources_synced": None,
        "resource_versions": {},
    }
    assert api.get("agents")["agents"] == [agent]


@pytest.mark.parametrize(
    ("alive", "answer"), [(True, (True, "alive")), (False, (False, "dead")), (None, (False, "unknown"))]
)
def test_liveness_has_three_values(api, add_agent, live_state, alive, answer):
    agent_id = add_agent("net1")
    live_state.alive_agents[agent_id] = alive
    agent = api.get(f"agents/{agent_id}")["agent"]
    assert (agent["alive"], agent["liveness"]) == answer


def test_agents_are_found_by_what_they_are(api, add_agent, live_state):
    one, two, bridge = add_agent("net1"), add_agent("net2"), add_agent("c1", AgentType.LINUX_BRIDGE)
    live_state.alive_agents = {one: True, two: False, bridge: True}

    def found(**query):
        return {agent["id"] for agent in api.get("agents", **query)["agents"]}

    assert found(alive="True") == {one, bridge}
    assert found(alive="false") == {two}
    assert found(alive=["1", "0"], agent_type="L3 agent") == {one, two}
    assert found(host="net2") == {two}
    assert found(binary="nothing") == set()
    api.get("agents", 400, liveness="alive")


def test_agents_are_sorted_by_all_but_what_they_are_doing(api, add_agent):
    bridge, one, two = add_agent("c1", AgentType.LINUX_BRIDGE), add_agent("net1"), add_agent("net2")
    for key in ("admin_state_up", "agent_type", "binary", "created_at", "heartbeat_timestamp", "started_at", "topic"):
        listed = api.get("agents", sort_key=[key, "host"], sort_dir=["desc", "asc"])["agents"]
        wanted = [one, two, bridge] if key == "topic" else [bridge, one, two]
        assert [agent["id"] for agent in listed] == wanted, key
    page = api.get("agents", sort_key="topic", sort_dir="asc", limit=1)["agents"]
    assert [agent["topic"] for agent in page] == ["N/A"]
    rest = api.get("agents", sort_key="topic", sort_dir="asc", marker=page[0]["id"])["agents"]
    assert {agent["id"] for agent in rest} == {one, two}
    assert [agent["id"] for agent in api.get("agents", topic="N/A")["agents"]] == [bridge]
    api.get("agents", 400, sort_key="configurations", sort_dir="asc")


def test_an_operator_may_say_little(api, add_agent):
    agent_id = add_agent("net1")
    changed = api.put(f"agents/{agent_id}", admin_state_up=False, description="in repair")
    assert (changed["admin_state_up"], changed["description"]) == (False, "in repair")
    assert "host" in api.put(f"agents/{agent_id}", 400, host="net2")["message"]
    assert api.put(f"agents/{UNKNOWN}", 404, description="x")["type"] == "AgentNotFound"
    assert api.call("POST", "agents", 405, {"agent": {}})["NeutronError"]["type"] == "HTTPMethodNotAllowed"


def test_an_agent_is_deleted_when_it_is_dead_and_free(api, add_agent, bind, live_state, database):
    one, two = add_agent("net1"), add_agent("net2")
    router = api.post("routers")
    bind(router["id"], one, two)
    live_state.alive_agents = {one: True, two: False}
    assert "alive" in api.delete(f"agents/{one}", 409)["message"]
    assert router["id"] in api.delete(f"agents/{two}", 409)["message"]
    with database.transaction() as connection:
        connection.execute(tables.bindings.delete())
    api.delete(f"agents/{two}")
    api.get(f"agents/{two}", 404)
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.pairs)) == 0
    api.delete(f"agents/{UNKNOWN}", 404)


def test_who_hosts_a_router(api, add_agent, bind, live_state):
    one, two = add_agent("net1"), add_agent("net2")
    router, plain, unbound = api.post("routers"), api.post("routers", ha=False), api.post("routers")
    bind(router["id"], two, one)
    bind(plain["id"], one)

    def states(router):
        agents = api.get(f"routers/{router['id']}/l3-agents")["agents"]
        return [(agent["host"], agent["ha_state"]) for agent in agents]

    assert states(router) == [("net2", "unknown"), ("net1", "unknown")]
    live_state.pair_states = {("net1", 65536): VrrpState.MASTER, ("net2", 65536): VrrpState.FAULT}
    assert states(router) == [("net2", "standby"), ("net1", "active")]
    assert states(plain) == [("net1", None)]
    assert states(unbound) == []
    assert api.get(f"routers/{UNKNOWN}/l3-agents", 404)["NeutronError"]["type"] == "RouterNotFound"
    assert {r["id"] for r in api.get(f"agents/{one}/l3-routers")["routers"]} == {router["id"], plain["id"]}
    assert [r["id"] for r in api.get(f"agents/{two}/l3-routers")["routers"]] == [router["id"]]
    api.get(f"agents/{UNKNOWN}/l3-routers", 404)


def test_an_operator_pins_a_router(api, add_agent, database, nudge):
    one, two, three = add_agent("net1"), add_agent("net2"), add_agent("net3")
    router = api.post("routers")
    path = f"agents/{one}/l3-routers"
    assert api.call("POST", path, 201, {"router_id": router["id"]}) is None
    api.call("POST", path, 201, {"router_id": router["id"]})
    assert pins(database) == {(router["id"], one)}
    assert [r["id"] for r in api.get(path)["routers"]] == [router["id"]]
    api.call("POST", f"agents/{two}/l3-routers", 201, {"router_id": router["id"]})
    refused = api.call("POST", f"agents/{three}/l3-routers", 409, {"router_id": router["id"]})
    assert refused["NeutronError"]["type"] == "RouterHostedByL3Agent"
    api.delete(f"agents/{one}/l3-routers/{router['id']}")
    assert pins(database) == {(router["id"], two)}
    gone = api.delete(f"agents/{one}/l3-routers/{router['id']}", 409)
    assert gone["type"] == "RouterNotHostedByL3Agent"


def test_pins_that_cannot_be(api, add_agent, bind, live_state, database):
    one, bridge, down = add_agent("net1"), add_agent("c1", AgentType.LINUX_BRIDGE), add_agent("net2")
    api.put(f"agents/{down}", admin_state_up=False)
    router = api.post("routers")

    def refusal(agent_id, status, router_id=router["id"]):
        body = {"router_id": router_id}
        return api.call("POST", f"agents/{agent_id}/l3-routers", status, body)["NeutronError"]["type"]

    assert refusal(bridge, 404) == "InvalidL3Agent"
    assert refusal(down, 404) == "InvalidL3Agent"
    assert refusal(UNKNOWN, 404) == "InvalidL3Agent"
    assert refusal(one, 404, UNKNOWN) == "RouterNotFound"
    assert refusal(one, 400, "r1") == "HTTPBadRequest"
    live_state.alive_agents[one] = False
    assert refusal(one, 409) == "RouterSchedulingFailed"
    assert pins(database) == set()
    bind(router["id"], one)
    kept = api.delete(f"agents/{one}/l3-routers/{router['id']}", 409)
    assert kept["type"] == "RouterReschedulingFailed"


def test_a_pin_that_the_agent_cannot_carry_out(api, add_agent, bind):
    heartbeat = {"zone": "a", "physical_networks": ["other"], "max_routers": 1, "allowed_routers": []}
    full, elsewhere = add_agent("net1", heartbeat=heartbeat), add_agent("net2", heartbeat={"zone": "b"})
    picky = add_agent("net3", heartbeat={"allowed_routers": [UNKNOWN]})
    short = add_agent("net4", heartbeat={"zone": "", "full": "less than 128 MiB of memory left"})
    inside = add_agent("net5", heartbeat={"physical_networks": ["ext"], "allowed_networks": [UNKNOWN]})
    network, _ = api.external()
    plain, hinted, routed = (
        api.post("routers"),
        api.post("routers", availability_zone_hints=["nova"]),
        api.post("routers", external_gateway_info={"network_id": network["id"]}),
    )
    bind(api.post("routers")["id"], full)

    def refusal(agent_id, router):
        body = {"router_id": router["id"]}
        error = api.call("POST", f"agents/{agent_id}/l3-routers", 409, body)["NeutronError"]
        assert error["type"] == "RouterSchedulingFailed"
        return error["message"]

    assert "full" in refusal(full, plain)
    assert "zone" in refusal(elsewhere, hinted)
    assert "physical network ext" in refusal(full, routed)
    assert "router not allowed" in refusal(picky, plain)
    assert "gateway network not allowed" in refusal(inside, routed)
    assert api.get(f"agents/{inside}")["agent"]["configurations"]["allowed_networks"] == [UNKNOWN]
    assert "full (less than 128 MiB of memory left)" in refusal(short, plain)
    shown = api.get(f"agents/{short}")["agent"]["configurations"]
    assert shown["full"] == "less than 128 MiB of memory left"
    api.call("POST", f"agents/{elsewhere}/l3-routers", 201, {"router_id": plain["id"]})


def test_the_active_member_is_forced_by_its_priority(api, add_agent, bind, live_state, nudge):
    one, two, three = add_agent("net1"), add_agent("net2"), add_agent("net3")
    router, plain = api.post("routers"), api.post("routers", ha=False)
    bind(router["id"], one, two)
    bind(plain["id"], one)

    def priorities():
        agents = api.get(f"routers/{router['id']}/l3-agents")["agents"]
        return [(agent["host"], agent["ha_chassis_priority"]) for agent in agents]

    def put(agent_id, priority, status=200, router_id=router["id"]):
        path = f"agents/{agent_id}/l3-routers/{router_id}"
        answer = api.call("PUT", path, status, {"ha_chassis_priority": priority})
        return answer["NeutronError"]["type"] if status >= 400 else answer["ha_chassis_priority"]

    assert priorities() == [("net1", 2), ("net2", 1)]
    told = len(nudge.lines)
    assert put(two, 2) == 1
    assert put(one, 100) == 2
    assert priorities() == [("net1", 2), ("net2", 1)]
    assert put(two, 100) == 2
    assert priorities() == [("net2", 2), ("net1", 1)]
    assert nudge.lines[-1] > nudge.lines[told - 1]
    assert put(two, 0) == 1
    assert priorities() == [("net1", 2), ("net2", 1)]
    live_state.pair_states = {("net2", 65536): VrrpState.FAULT}
    assert put(two, 3, 409) == "RouterReschedulingFailed"
    live_state.pair_states = {}
    live_state.alive_agents = {two: False}
    assert put(two, 3, 409) == "RouterReschedulingFailed"
    assert priorities() == [("net1", 2), ("net2", 1)]
    assert put(one, 5, router_id=plain["id"]) is None
    assert put(three, 5, 409) == "RouterNotHostedByL3Agent"
    assert put(UNKNOWN, 5, 404) == "AgentNotFound"
    assert put(one, 5, 404, UNKNOWN) == "RouterNotFound"
    assert put(one, "high", 400) == "HTTPBadRequest"
    api.call("PUT", f"agents/{one}/l3-routers/{router['id']}", 400, {})


def test_a_router_is_taken_off_an_agent(api, add_agent, bind, database, live_state):
    one, two = add_agent("net1"), add_agent("net2")
    router = api.post("routers")
    bind(router["id"], one, two)
    path = f"agents/{one}/l3-routers"

    def exclusions():
        with database.read() as connection:
            return connection.execute(sa.select(tables.exclusions.c.router_id, tables.exclusions.c.agent_id)).all()

    assert api.delete(f"{path}/{router['id']}", 409)["type"] == "RouterReschedulingFailed"
    three = add_agent("net3")
    live_state.alive_agents = {three: False}
    assert api.delete(f"{path}/{router['id']}", 409)["type"] == "RouterReschedulingFailed"
    live_state.alive_agents = {}
    api.delete(f"{path}/{router['id']}")
    api.delete(f"{path}/{router['id']}")
    assert exclusions() == [(router["id"], one)]
    api.call("POST", path, 201, {"router_id": router["id"]})
    assert (exclusions(), pins(database)) == ([], {(router["id"], one)})
    api.delete(f"{path}/{router['id']}")
    assert (exclusions(), pins(database)) == ([(router["id"], one)], set())
    api.delete(f"routers/{router['id']}")
    assert exclusions() == []
