"""What the API takes from etcd (liveness, pair states) and gives to it (the nudge), with a real etcd."""

from __future__ import annotations

import datetime

import pytest
import requests

from haqn.api.livestate import EtcdLiveState
from haqn.coordination import keys
from haqn.db import tables
from haqn.db.session import Database
from haqn.documents import Heartbeat, PairReport, encode
from haqn.model import FIRST_PAIR_ID, AgentType, Role, VrrpState, agent_id
from tests.etcd_cluster import EtcdCluster
from tests.eventually import eventually

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
PAIR = FIRST_PAIR_ID


@pytest.fixture(scope="module")
def etcd(etcd_cluster):
    with etcd_cluster.client() as etcd:
        yield etcd


def heartbeat(host):
    return Heartbeat(agent_id=agent_id(AgentType.L3, host), agent_type=AgentType.L3, host=host, started_at="")


def report(state, *, gate_open=True):
    gate_open = gate_open and state is VrrpState.MASTER
    return PairReport(pair_id=PAIR, state=state, since="", sequence=1, role=Role.ACTIVE, epoch=1, gate_open=gate_open)


@pytest.fixture(scope="module")
def router_id(server_with_etcd):
    """A router on a pair of two agents, as the monitor would have bound it."""
    url = f"{server_with_etcd.url}/v2.0/routers"
    router_id = requests.post(url, json={"router": {}}, timeout=30).json()["router"]["id"]
    database = Database(server_with_etcd.database_url)
    members = [agent_id(AgentType.L3, host) for host in ("net1", "net2")]
    with database.transaction() as connection:
        for host, member in zip(("net1", "net2"), members, strict=True):
            connection.execute(
                tables.agents.insert().values(
                    id=member,
                    agent_type=AgentType.L3,
                    host=host,
                    binary="haqn-agent",
                    admin_state_up=True,
                    heartbeat={},
                    created_at=NOW,
                    started_at=NOW,
                    heartbeat_timestamp=NOW,
                )
            )
        pair = {"active_agent_id": members[0], "backup_agent_id": members[1], "vr_id": 1, "epoch": 1}
        connection.execute(tables.pairs.insert().values(id=PAIR, created_at=NOW, **pair))
        connection.execute(tables.bindings.insert().values(router_id=router_id, pair_id=PAIR, created_at=NOW))
    database.close()
    return router_id


def test_liveness_follows_leases(server_with_etcd, etcd, router_id):
    def liveness():
        agents = requests.get(f"{server_with_etcd.url}/v2.0/agents", timeout=30).json()["agents"]
        return {agent["host"]: (agent["alive"], agent["liveness"]) for agent in agents}

    dead, alive = (False, "dead"), (True, "alive")
    eventually(lambda: liveness() == {"net1": dead, "net2": dead})
    lease = etcd.grant(60).lease
    etcd.put(keys.agent(AgentType.L3, "net1"), encode(heartbeat("net1")), lease)
    eventually(lambda: liveness() == {"net1": alive, "net2": dead})
    refused = requests.delete(f"{server_with_etcd.url}/v2.0/agents/{agent_id(AgentType.L3, 'net1')}", timeout=30)
    assert refused.status_code == 409
    etcd.revoke(lease)
    eventually(lambda: liveness() == {"net1": dead, "net2": dead})


def test_ha_state_follows_the_reports(server_with_etcd, etcd, router_id):
    def states():
        url = f"{server_with_etcd.url}/v2.0/routers/{router_id}/l3-agents"
        return [agent["ha_state"] for agent in requests.get(url, timeout=30).json()["agents"]]

    eventually(lambda: states() == ["unknown", "unknown"])
    etcd.put(keys.observed_pair("net1", PAIR), encode(report(VrrpState.MASTER)))
    etcd.put(keys.observed_pair("net2", PAIR), encode(report(VrrpState.BACKUP)))
    eventually(lambda: states() == ["active", "standby"])
    etcd.put(keys.observed_pair("net1", PAIR), b"no report at all")
    etcd.put(keys.observed_pair("net2", PAIR), encode(report(VrrpState.MASTER)))
    eventually(lambda: states() == ["unknown", "active"])
    etcd.delete(keys.observed_pair("net2", PAIR))
    eventually(lambda: states() == ["unknown", "unknown"])


def test_a_change_is_nudged(server_with_etcd, etcd):
    before = etcd.get(keys.NUDGE)
    for number in range(20):
        answer = requests.post(
            f"{server_with_etcd.url}/v2.0/networks", json={"network": {"name": f"n{number}"}}, timeout=30
        )
        assert answer.status_code == 201
    database = Database(server_with_etcd.database_url)
    with database.read() as connection:
        last = connection.scalar(
            tables.outbox.select().with_only_columns(tables.outbox.c.id).order_by(-tables.outbox.c.id)
        )
    database.close()
    eventually(lambda: (found := etcd.get(keys.NUDGE)) is not None and int(found.value) == last)
    after = etcd.get(keys.NUDGE)
    assert after.mod_revision > (before.mod_revision if before else 0)


def test_a_silent_etcd_makes_everything_unknown_until_it_speaks_again(tmp_path):
    net1 = agent_id(AgentType.L3, "net1")
    with EtcdCluster(tmp_path, size=1) as cluster, cluster.client() as etcd:
        etcd.put(keys.agent(AgentType.L3, "net1"), encode(heartbeat("net1")))
        etcd.put(keys.observed_pair("net1", PAIR), encode(report(VrrpState.MASTER)))
        live_state = EtcdLiveState(etcd, longest_silence=3.0)
        assert (live_state.alive(net1), live_state.pair_state("net1", PAIR)) == (None, None)
        live_state.start()
        eventually(lambda: live_state.alive(net1))
        eventually(lambda: live_state.pair_state("net1", PAIR) is VrrpState.MASTER)
        # what a frozen keepalived has said last; the kernel lets nothing pass there any more
        etcd.put(keys.observed_pair("net1", PAIR), encode(report(VrrpState.MASTER, gate_open=False)))
        eventually(lambda: live_state.pair_state("net1", PAIR) is VrrpState.FAULT)
        etcd.put(keys.observed_pair("net1", PAIR), encode(report(VrrpState.MASTER)))
        eventually(lambda: live_state.pair_state("net1", PAIR) is VrrpState.MASTER)
        (member,) = cluster.members
        member.freeze()
        eventually(lambda: live_state.alive(net1) is None)
        eventually(lambda: live_state.pair_state("net1", PAIR) is None)
        member.thaw()
        eventually(lambda: live_state.alive(net1))
        eventually(lambda: live_state.pair_state("net1", PAIR) is VrrpState.MASTER)
        live_state.stop()


def test_readiness_says_whether_etcd_is_there(server_with_etcd, server):
    def look(url):
        answer = requests.get(f"{url}/readyz", timeout=30)
        return answer.status_code, answer.json()["status"], list(answer.json()["missing"])

    eventually(lambda: look(server_with_etcd.url) == (200, "ready", []))
    assert look(server.url) == (200, "degraded", ["etcd"])
