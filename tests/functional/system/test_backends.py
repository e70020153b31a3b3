"""What the API promises of routers holds with every backend: the same stories, told by the API alone, with each.

The API and its rules do not know of backends (import contracts in `pyproject.toml`), so the rules' own tests need
not run with each: what differs is whether that which was accepted is carried out, and said to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from haqn.coordination import keys
from haqn.documents import Heartbeat, encode
from haqn.lab.client import ApiError, Client, Resource
from haqn.lab.scenery import wait_for
from haqn.model import AgentType, agent_id
from tests.functional.system.noop import NoopCloud, noop_cloud

pytestmark = pytest.mark.functional


@dataclass(frozen=True)
class Cloud:
    """haqn with three L3 agents."""

    client: Client
    external: Resource


@pytest.fixture(scope="module")
def noop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoopCloud]:
    with noop_cloud(tmp_path_factory.mktemp("noop")) as cloud:
        yield cloud


@pytest.fixture(params=["noop", "linuxbridge"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    if request.param == "noop":
        noop = request.getfixturevalue("noop")
        return Cloud(noop.client, noop.external)
    stage = request.getfixturevalue("stage")
    return Cloud(stage.client, stage.scenario.external)


def of_haqn(client: Client, kind: str, object_id: str) -> Resource:
    found: Resource = client.request("GET", f"/v2.0/haqn/{kind}s/{object_id}")[kind]
    return found


@dataclass(frozen=True)
class Watched:
    """A router, and what the API says of it."""

    client: Client
    router_id: str

    def states(self) -> dict[str, str]:
        return {agent["host"]: agent["ha_state"] for agent in self.client.hosting_agents(self.router_id)}

    def is_well(self) -> bool:
        overview, states = of_haqn(self.client, "router", self.router_id), self.states()
        return (
            sorted(states.values()) == ["active", "standby"]
            and (overview["status"], overview["redundancy"], overview["in_sync"]) == ("ACTIVE", "full", True)
            # who forwards is who is to
            and states.get(overview["active_host"]) == "active"
        )

    def is_in_sync(self) -> bool:
        return bool(of_haqn(self.client, "router", self.router_id)["in_sync"])


def test_the_story_of_a_router(cloud: Cloud) -> None:
    client = cloud.client
    network = client.create("network", {"name": "story"})
    subnet = client.create("subnet", {"network_id": network["id"], "ip_version": 4, "cidr": "10.99.0.0/24"})
    vm = client.create("port", {"network_id": network["id"]})
    gateway = {"network_id": cloud.external["id"]}
    router = client.create("router", {"name": "story", "external_gateway_info": gateway})
    router_id = router["id"]
    client.add_interface(router_id, subnet["id"])
    watched = Watched(client, router_id)
    states, is_well = watched.states, watched.is_well

    wait_for("the router is well", is_well)
    floating = client.create("floatingip", {"floating_network_id": cloud.external["id"], "port_id": vm["id"]})
    wait_for("the floating IP is ACTIVE", lambda: client.show("floatingip", floating["id"])["status"] == "ACTIVE")
    client.update("router", router_id, {"routes": [{"destination": "192.0.2.0/24", "nexthop": "10.99.0.9"}]})
    wait_for("routes are carried out", is_well)

    before = states()
    active = next(host for host, state in before.items() if state == "active")
    wish = {"kind": "switchover", "pair_id": of_haqn(client, "router", router_id)["pair_id"]}
    asked = client.request("POST", "/v2.0/haqn/operations", {"operation": wish})["operation"]["id"]
    wait_for("the other one forwards", lambda: is_well() and states()[active] == "standby")
    wait_for("the operation is done", lambda: of_haqn(client, "operation", asked)["state"] == "done")

    (drained,) = (one for one in client.hosting_agents(router_id) if one["ha_state"] == "active")
    client.update("agent", drained["id"], {"admin_state_up": False})
    wait_for("others carry it", lambda: is_well() and drained["host"] not in states())
    wait_for("it may be stopped", lambda: of_haqn(client, "agent", drained["id"])["safe_to_stop"])
    client.update("agent", drained["id"], {"admin_state_up": True})

    client.delete("floatingip", floating["id"])
    client.update("router", router_id, {"routes": []})
    client.request("PUT", f"/v2.0/routers/{router_id}/remove_router_interface", {"subnet_id": subnet["id"]})
    client.delete("router", router_id)
    client.delete("port", vm["id"])
    client.delete("network", network["id"])
    with pytest.raises(ApiError, match="404"):
        client.show("router", router_id)
    wait_for("all agents have done everything", lambda: all(one["in_sync"] for one in client.find("haqn/agent")))


def test_the_story_of_what_operators_change(cloud: Cloud) -> None:
    """Both IP versions, no HA and HA, a gateway that comes and goes, shut and opened, put on an agent by hand."""
    client = cloud.client
    network = client.create("network", {"name": "changes"})
    of_network = {"network_id": network["id"]}
    four = client.create("subnet", {**of_network, "ip_version": 4, "cidr": "10.98.0.0/24"})
    automatic = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    six = client.create("subnet", {**of_network, "ip_version": 6, "cidr": "2001:db8:98::/64", **automatic})
    router_id = client.create("router", {"name": "changes", "ha": False})["id"]
    watched = Watched(client, router_id)
    for subnet in (four, six):
        client.add_interface(router_id, subnet["id"])
    wait_for(
        "one agent carries it",
        lambda: (
            len(watched.states()) == 1
            and watched.is_in_sync()
            and client.show("router", router_id)["status"] == "ACTIVE"
        ),
    )
    client.update("router", router_id, {"ha": True})
    wait_for("two do", watched.is_well)
    for info in ({"network_id": cloud.external["id"]}, None):
        client.update("router", router_id, {"external_gateway_info": info})
        wait_for("its gateway is as wanted", watched.is_well)
    for up in (False, True):
        client.update("router", router_id, {"admin_state_up": up})
        wait_for("its state is as wanted", watched.is_in_sync)
    wait_for("it is well again", watched.is_well)

    (third,) = (
        agent
        for agent in client.find("agent", agent_type=AgentType.L3)
        if agent["alive"] and agent["host"] not in watched.states()
    )
    path = f"/v2.0/agents/{third['id']}/l3-routers"
    client.request("POST", path, {"router_id": router_id})
    wait_for("the chosen agent is a member", lambda: third["host"] in watched.states() and watched.is_well())
    client.request("DELETE", f"{path}/{router_id}")
    wait_for("it is none any more", lambda: third["host"] not in watched.states() and watched.is_well())

    for subnet in (four, six):
        client.request("PUT", f"/v2.0/routers/{router_id}/remove_router_interface", {"subnet_id": subnet["id"]})
    client.delete("router", router_id)
    client.delete("network", network["id"])
    wait_for("all agents have done everything", lambda: all(one["in_sync"] for one in client.find("haqn/agent")))


def test_a_new_agent_is_seen(noop: NoopCloud) -> None:
    """How soon is measured by the bench (`bench.discovery`): the machine may be busy here."""
    host, type_ = "new", AgentType.L3
    beat = Heartbeat(agent_id=agent_id(type_, host), agent_type=type_, host=host, started_at="2026-01-02T03:04:05")

    def seen() -> list[bool]:
        return [agent["alive"] for agent in noop.client.find("agent", host=host)]

    assert seen() == []
    lease = noop.etcd.grant(60).lease
    noop.etcd.put(keys.agent(type_, host), encode(beat), lease)
    wait_for("the agent is there, and alive", lambda: seen() == [True])
    noop.etcd.revoke(lease)
    wait_for("it is dead", lambda: seen() == [False])
    noop.client.delete("agent", beat.agent_id)
    assert seen() == []
