"""What operators ask for, carried out by real monitors: followed, undone, and gone on with by the next leader."""

from __future__ import annotations

import signal
import time

import pytest
import sqlalchemy as sa

from haqn.coordination import keys
from haqn.db import ledger, monitorstatus, operations, redundancy, tables
from haqn.db.store import Query
from haqn.model import AgentType
from tests.eventually import eventually
from tests.functional.monitor.cluster import TTL, Cluster

pytestmark = pytest.mark.functional

ROUTERS = [f"r{number:02}" for number in range(24)]


def placed(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    return {router: cluster.members(router) for router in ROUTERS}


def row(cluster: Cluster, operation_id: str) -> dict:
    with cluster.database.read() as connection:
        return operations.STORE.bare(connection, operation_id)


def redundancies(cluster: Cluster) -> set[str]:
    with cluster.database.read() as connection:
        return {found.state for found in redundancy.read(connection).values()}


def events(cluster: Cluster, **filters) -> list[dict]:
    with cluster.database.read() as connection:
        return ledger.STORE.list(connection, Query(filters=filters, sort=[("number", False)]))


def run(cluster: Cluster, work) -> dict:
    """Ask for an operation and wait for its end."""
    asked = cluster.database.write(work)
    return eventually(lambda: (now := row(cluster, asked["id"]))["finished_at"] and now, timeout=120)


def start(cluster: Cluster, *hosts: str) -> None:
    cluster.start_monitor("mon1")
    cluster.start_agents(*hosts)
    eventually(lambda: len(cluster.rows(sa.select(tables.agents))) == len(hosts))
    cluster.create_routers(*ROUTERS)
    eventually(lambda: all(len(members) == 2 for members in placed(cluster).values()))
    eventually(lambda: redundancies(cluster) == {"full"})


def test_a_drain_is_gone_on_with_by_the_next_leader_and_can_be_undone(cluster):
    start(cluster, "net1", "net2", "net3", "net4")
    first = cluster.wait_for_leader()
    cluster.start_monitor("mon2")
    time.sleep(2)  # mon2 stands for election by now
    net1 = cluster.agents["net1"].id
    led = {router for router, members in placed(cluster).items() if members[0] == "net1"}
    asked = cluster.database.write(lambda connection: operations.drain(connection, net1))
    again = cluster.database.write(lambda connection: operations.drain(connection, net1))
    assert again["id"] == asked["id"]
    assert asked["total"] == sum("net1" in members for members in placed(cluster).values())
    cluster.monitors["mon1"].send(signal.SIGKILL)
    assert cluster.wait_for_leader(besides="mon1").epoch > first.epoch
    done = eventually(lambda: (now := row(cluster, asked["id"]))["finished_at"] and now, timeout=120)

    assert (done["state"], done["done"]) == ("done", done["total"])
    assert not any("net1" in members for members in placed(cluster).values())
    assert eventually(lambda: cluster.agents["net1"].routers() == set())
    drained = eventually(lambda: events(cluster, cause=["drain"]))
    assert {event["from_agent_id"] for event in drained} == {net1}
    assert sum(event["routers"] for event in drained) == len(led)
    assert all(event["outage_ms"] == 0 for event in drained)

    cluster.database.write(lambda connection: operations.update(connection, asked["id"], {"state": "cancelled"}))
    assert cluster.rows(sa.select(tables.agents.c.draining).where(tables.agents.c.id == net1)) == [(False,)]
    balanced = run(cluster, lambda connection: operations.rebalance(connection, dry_run=False))
    assert balanced["total"] > 0
    assert (balanced["state"], balanced["done"]) == ("done", balanced["total"])
    actives = [members[0] for members in placed(cluster).values()]
    assert {actives.count(host) for host in cluster.agents} == {6}
    built = [sum(host in members for members in placed(cluster).values()) for host in cluster.agents]
    assert max(built) - min(built) <= 1
    assert any(step["standby"] for step in balanced["steps"])
    eventually(lambda: redundancies(cluster) == {"full"})


def test_switchover_rebuild_and_what_is_proposed(cluster):
    start(cluster, "net1", "net2", "net3")
    net1 = cluster.agents["net1"].id
    led = [router for router, members in placed(cluster).items() if members[0] == "net1"]
    done = run(cluster, lambda connection: operations.switch_over_agent(connection, net1))
    assert done["state"] == "done"
    assert "net1" not in {members[0] for members in placed(cluster).values()}
    assert sum(event["routers"] for event in eventually(lambda: events(cluster, cause=["switchover"]))) == len(led)

    router = led[0]
    active, standby = placed(cluster)[router]
    before = cluster.etcd.get(keys.desired_router(standby, router)).create_revision
    kept = cluster.etcd.get(keys.desired_router(active, router)).create_revision
    done = run(cluster, lambda connection: operations.rebuild(connection, router))
    assert done["state"] == "done"
    assert cluster.etcd.get(keys.desired_router(standby, router)).create_revision > before
    assert cluster.etcd.get(keys.desired_router(active, router)).create_revision == kept

    proposed = cluster.database.write(operations.rebalance)
    proposed = eventually(lambda: (now := row(cluster, proposed["id"]))["total"] >= 0 and now)
    assert proposed["state"] == "proposed"
    assert sum(len(step["routers"]) for step in proposed["steps"]) == proposed["total"] > 0
    time.sleep(2)
    assert "net1" not in {members[0] for members in placed(cluster).values()}
    done = run(cluster, lambda connection: operations.update(connection, proposed["id"], {"state": "running"}))
    assert done["done"] == proposed["total"]


def test_what_the_leader_was_killed_in_the_middle_of_is_gone_on_with_by_the_next_one(cluster):
    start(cluster, "net1", "net2", "net3")

    def pairs() -> list:
        return cluster.rows(sa.select(tables.pairs.c.id, tables.pairs.c.epoch).order_by(tables.pairs.c.id))

    def interrupt(work, has_begun) -> dict:
        """Ask twice; kill the leader when it has begun and the agents have not followed; wait for the end."""
        leader = cluster.wait_for_leader(timeout=60).holder.partition(":")[0]
        cluster.start_monitor(f"mon{len(cluster.monitors) + 1}")
        for agent in cluster.agents.values():
            agent.idle = True
        asked = cluster.database.write(work)
        assert cluster.database.write(work)["id"] == asked["id"]
        eventually(has_begun, timeout=60)
        cluster.monitors[leader].send(signal.SIGKILL)
        assert not row(cluster, asked["id"])["finished_at"]
        cluster.wait_for_leader(besides=leader, timeout=60)
        for agent in cluster.agents.values():
            agent.idle = False
            agent.report()
        return eventually(lambda: (now := row(cluster, asked["id"]))["finished_at"] and now, timeout=120)

    net1, before = cluster.agents["net1"].id, pairs()
    done = interrupt(lambda connection: operations.switch_over_agent(connection, net1), lambda: pairs() != before)
    assert done["state"] == "done"
    assert "net1" not in {members[0] for members in placed(cluster).values()}

    before = pairs()
    done = interrupt(lambda connection: operations.rebalance(connection, dry_run=False), lambda: pairs() != before)
    assert (done["state"], done["done"]) == ("done", done["total"])
    actives = [members[0] for members in placed(cluster).values()]
    assert {actives.count(host) for host in cluster.agents} == {8}

    router = ROUTERS[0]
    _, standby = placed(cluster)[router]
    key = keys.desired_router(standby, router)
    revision = cluster.etcd.get(key).create_revision
    done = interrupt(lambda connection: operations.rebuild(connection, router), lambda: cluster.etcd.get(key) is None)
    assert done["state"] == "done"
    assert cluster.etcd.get(key).create_revision > revision


def test_a_brake_is_visible_and_can_be_released(cluster):
    start(cluster, *(f"net{number}" for number in range(1, 7)))
    time.sleep(TTL)
    dead, survivors = {"net1", "net2", "net3"}, {"net4", "net5", "net6"}
    leases = {host: cluster.etcd.get(keys.agent(AgentType.L3, host)).lease for host in dead}
    for host in dead:
        cluster.agents[host].crash()
    for lease in leases.values():
        cluster.etcd.revoke(lease)

    def status():
        with cluster.database.read() as connection:
            return monitorstatus.read_status(connection)

    # the leader may have believed the first death before it saw the others
    ids = sorted(cluster.agents[host].id for host in dead)
    frozen = eventually(lambda: (now := status()).frozen and now.document["dead"] == ids and now)
    assert "max_dead_fraction" in frozen.reason
    assert frozen.document["would_do_counts"]["BindToPair"] > 0
    time.sleep(2)
    held = placed(cluster)
    assert any(dead & set(members) for members in held.values())
    assert "none" in redundancies(cluster)
    time.sleep(1)
    assert placed(cluster) == held

    cluster.database.write(lambda connection: monitorstatus.release_held(connection, None, 600))
    eventually(lambda: all(set(members) <= survivors for members in placed(cluster).values()), timeout=30)
    eventually(lambda: not status().frozen)
    lost = eventually(lambda: events(cluster, cause=["lease_lost"], kind=["transition"]))
    assert {event["from_agent_id"] for event in lost} <= set(ids)
    down = [router for router, members in held.items() if not survivors & set(members)]
    assert sum(event["routers"] for event in events(cluster, kind=["no_active"])) >= len(down)
