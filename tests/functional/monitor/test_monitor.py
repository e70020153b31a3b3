"""haqn-monitor with real etcd and SQLite: who leads, what a leader does, and what a deposed one cannot."""

from __future__ import annotations

import os
import signal
import time

import pytest
import sqlalchemy as sa

from haqn.coordination import election, keys
from haqn.coordination.operations import CreateRevisionIs, Delete
from haqn.db import tables
from haqn.db.bindings import LeaderWriter
from haqn.documents import RouterDocument, decode
from haqn.exceptions import StaleLeader
from haqn.model import AgentType
from haqn.monitor import service
from tests.eventually import eventually
from tests.functional.monitor.cluster import TTL, Cluster

pytestmark = pytest.mark.functional


def running(cluster: Cluster, *routers: str) -> bool:
    """Every one of the routers is carried out by both of its members, and SQL says so."""
    return all(
        len(cluster.members(router)) == 2
        and cluster.status(router) == "ACTIVE"
        and all(router in cluster.agents[host].routers() for host in cluster.members(router))
        for router in routers
    )


def test_from_a_new_agent_to_an_active_router(cluster):
    cluster.start_monitor("mon1")
    cluster.wait_for_leader()
    began = time.monotonic()
    cluster.start_agents("net1", "net2")
    eventually(lambda: len(cluster.rows(sa.select(tables.agents))) == 2)
    assert time.monotonic() - began < 3
    cluster.create_routers("r1")
    eventually(lambda: running(cluster, "r1"))
    assert cluster.agents["net1"].manifest().count == 2
    for agent in cluster.agents.values():
        eventually(lambda agent=agent: [pair.settled for pair in agent.pairs()] == [True])


def test_a_quiet_cluster_is_not_written_to(cluster):
    cluster.start_monitor("mon1")
    cluster.start_agents("net1", "net2", "net3")
    cluster.create_routers("r1", "r2", "r3")
    eventually(lambda: running(cluster, "r1", "r2", "r3"))
    eventually(lambda: all(pair.settled for agent in cluster.agents.values() for pair in agent.pairs()))

    def footprint():
        changes = cluster.rows(sa.text("PRAGMA data_version"))[0][0]
        return (cluster.etcd.list(keys.ROOT)[1], changes, os.path.getsize(f"{cluster.directory}/haqn.sqlite-wal"))

    # the last report may still be on its way
    eventually(lambda: footprint() == (time.sleep(1), footprint())[1])
    before = footprint()
    time.sleep(2 * TTL)
    assert footprint() == before


def test_a_dead_member_is_replaced_and_the_survivor_keeps_the_lead(cluster):
    cluster.start_monitor("mon1")
    cluster.start_agents("net1", "net2", "net3")
    cluster.create_routers("r1")
    eventually(lambda: running(cluster, "r1"))
    time.sleep(TTL)  # a leader believes no death in its first TTL
    dead, survivor = cluster.members("r1")
    third = ({"net1", "net2", "net3"} - {dead, survivor}).pop()
    old_pair = cluster.agents[survivor].pairs()[0].pair_id
    cluster.agents[dead].crash()
    eventually(lambda: cluster.members("r1") == (survivor, third))
    eventually(lambda: "r1" in cluster.agents[third].routers())

    def document(host):
        return decode(cluster.etcd.get(keys.desired_router(host, "r1")).value, RouterDocument)

    assert document(survivor).pair_id == document(third).pair_id != old_pair
    assert cluster.etcd.get(keys.desired_router(dead, "r1")) is None
    # the old pair stays until the dead host has said that it has left it, designated to the survivor
    old = {pair.pair_id: pair for pair in cluster.agents[survivor].pairs()}[old_pair]
    assert (old.role, old.epoch) == ("ACTIVE", 2)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_another_leads_when_the_leader_ends(cluster, how):
    cluster.start_monitor("mon1")
    first = cluster.wait_for_leader()
    cluster.start_monitor("mon2")
    cluster.start_agents("net1", "net2")
    cluster.create_routers("r1")
    eventually(lambda: running(cluster, "r1"))
    time.sleep(2)  # mon2 has started by now, and stands for election
    ended = cluster.monitors["mon1"]
    ended.send(how)
    ended.process.wait(60)
    if how is signal.SIGTERM:  # it has resigned: nobody waits for its lease
        assert cluster.holder() != "mon1"
    second = cluster.wait_for_leader(besides="mon1", timeout=60)
    assert second.epoch > first.epoch
    cluster.create_routers("r2")
    eventually(lambda: running(cluster, "r1", "r2"))


def test_who_waits_is_told_of_the_end_of_the_leaders_lease(cluster, monkeypatch):
    """By etcd, and not by its own looks now and then: they would come too late here."""
    monkeypatch.setattr(election, "_LOOK_WHILE_WAITING", 3600.0)
    monkeypatch.setattr(service, "_LOOK", 3600.0)
    cluster.start_monitor("mon1")
    first = cluster.wait_for_leader()
    with cluster.own_monitor("mon2"):
        time.sleep(2)  # it waits by now; if not, this test merely proves less
        cluster.monitors["mon1"].send(signal.SIGKILL)
        second = cluster.wait_for_leader(besides="mon1", timeout=60)
    assert second.holder.startswith("mon2:")
    assert second.epoch == first.epoch + 1


def test_a_paused_leader_changes_nothing_when_it_wakes_up(cluster):
    cluster.start_monitor("mon1")
    first = cluster.wait_for_leader()
    first_token = cluster.etcd.get(keys.LEADER).create_revision
    cluster.start_monitor("mon2")
    cluster.start_agents("net1", "net2")
    eventually(lambda: len(cluster.rows(sa.select(tables.agents))) == 2)
    time.sleep(2)
    # It has work to do when it wakes up: a router that nobody has placed when it is paused.
    paused = cluster.monitors["mon1"]
    paused.send(signal.SIGSTOP)
    second = cluster.wait_for_leader(besides="mon1")
    cluster.create_routers("r1")
    eventually(lambda: running(cluster, "r1"))
    paused.send(signal.SIGCONT)
    cluster.create_routers("r2", "r3")
    eventually(lambda: running(cluster, "r1", "r2", "r3"))
    time.sleep(1)
    plans = cluster.rows(sa.select(tables.plans.c.epoch))
    assert {epoch for (epoch,) in plans} == {second.epoch}
    assert cluster.rows(sa.select(tables.leadership.c.epoch)) == [(second.epoch,)]
    assert second.epoch == first.epoch + 1
    assert "the session is lost" in paused.log.read_text()
    # and what it might have sent in the moment before it noticed is refused
    with pytest.raises(StaleLeader):
        LeaderWriter(cluster.database, first.epoch).set_active(["r1"], [])
    late = cluster.etcd.transact(
        [Delete(keys.manifest("net1"))], conditions=[CreateRevisionIs(keys.LEADER, first_token)]
    )
    assert not late.succeeded


def test_everything_is_projected_again_after_etcd_was_wiped(cluster):
    cluster.start_monitor("mon1")
    first = cluster.wait_for_leader()
    cluster.start_agents("net1", "net2", "net3")
    cluster.create_routers("r1", "r2")
    eventually(lambda: running(cluster, "r1", "r2"))
    pairs = cluster.rows(sa.select(tables.pairs).order_by(tables.pairs.c.id))
    bindings = cluster.rows(sa.select(tables.bindings).order_by(tables.bindings.c.router_id))
    before = {host: agent.manifest().generation for host, agent in cluster.agents.items()}

    (member,) = cluster.etcd_cluster.members
    cluster.etcd_cluster.kill()
    member.wipe()
    cluster.etcd_cluster.start()

    second = eventually(cluster.leader, timeout=30)
    assert second.epoch > first.epoch
    for host, agent in cluster.agents.items():
        eventually(lambda agent=agent, host=host: (m := agent.manifest()) and m.generation > before[host], timeout=30)
    eventually(lambda: running(cluster, "r1", "r2"))
    time.sleep(TTL)
    assert cluster.rows(sa.select(tables.pairs).order_by(tables.pairs.c.id)) == pairs
    assert cluster.rows(sa.select(tables.bindings).order_by(tables.bindings.c.router_id)) == bindings


def test_the_next_term_may_have_the_token_of_the_last_one(cluster):
    """Revisions begin anew with a wiped etcd, and with nobody else there the election is the first write again."""
    cluster.start_monitor("mon1")
    first = cluster.wait_for_leader()
    token = cluster.etcd.get(keys.LEADER).create_revision
    (member,) = cluster.etcd_cluster.members
    cluster.etcd_cluster.kill()
    member.wipe()
    cluster.etcd_cluster.start()

    assert eventually(cluster.leader, timeout=30).epoch > first.epoch
    assert cluster.etcd.get(keys.LEADER).create_revision == token
    cluster.start_agents("net1", "net2")
    cluster.create_routers("r1")
    eventually(lambda: running(cluster, "r1"))


def test_what_somebody_else_deletes_is_written_again(cluster):
    cluster.start_monitor("mon1")
    cluster.start_agents("net1", "net2")
    cluster.create_routers("r1")
    eventually(lambda: running(cluster, "r1"))
    cluster.etcd.delete_prefix(keys.desired("net1"))
    eventually(lambda: running(cluster, "r1"))
    cluster.etcd.put(keys.desired_router("net2", "nonsense"), b"{}")
    eventually(lambda: cluster.etcd.get(keys.desired_router("net2", "nonsense")) is None)


def test_a_term_that_sql_refuses_is_given_up(cluster):
    cluster.start_monitor("mon1")
    first = cluster.wait_for_leader()
    cluster.start_agents("net1", "net2")
    eventually(lambda: len(cluster.rows(sa.select(tables.agents))) == 2)

    def usurp(connection):
        connection.execute(tables.leadership.update().values(epoch=first.epoch + 10, holder="somebody else"))

    cluster.database.write(usurp)
    cluster.create_routers("r1")
    eventually(lambda: running(cluster, "r1"))
    assert eventually(cluster.leader).epoch == first.epoch + 11


def test_a_database_that_fails_harms_nothing_and_is_waited_for(cluster):
    cluster.start_monitor("mon1")
    first = cluster.wait_for_leader()
    cluster.start_agents("net1", "net2")
    cluster.create_routers("r1")
    eventually(lambda: running(cluster, "r1"))
    log = cluster.monitors["mon1"].log

    with cluster.database.transaction() as connection:
        connection.execute(sa.text("ALTER TABLE outbox RENAME TO elsewhere"))
    eventually(lambda: "the database is lost" in log.read_text())
    time.sleep(TTL)
    with cluster.database.transaction() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO outbox"))
    eventually(lambda: "the database is back" in log.read_text())

    cluster.create_routers("r2")
    eventually(lambda: running(cluster, "r1", "r2"))
    assert log.read_text().count("the database is lost") == 1
    assert cluster.leader() == first


def test_four_hundred_routers_of_a_dead_agent(cluster):
    """Planned, written and projected within two seconds of the end of the lease, however busy this machine is."""
    cluster.start_monitor("mon1")
    cluster.start_agents("net1", "net2")
    eventually(lambda: len(cluster.rows(sa.select(tables.agents))) == 2)
    routers = [f"r{number}" for number in range(400)]
    cluster.create_routers(*routers)
    eventually(lambda: running(cluster, "r0", "r399") and len(cluster.agents["net1"].routers()) == 400)
    cluster.start_agents("net3", "net4")
    eventually(lambda: len(cluster.rows(sa.select(tables.agents))) == 4)
    time.sleep(TTL)

    cluster.agents["net1"].crash()
    eventually(lambda: cluster.etcd.get(keys.agent(AgentType.L3, "net1")) is None)
    began = time.monotonic()
    eventually(
        lambda: (
            sum(
                agent.documents_are_complete() and len(agent.routers())
                for agent in map(cluster.agents.__getitem__, ("net2", "net3", "net4"))
            )
            == 800
        )
    )
    assert time.monotonic() - began < 2
    assert len(cluster.agents["net2"].routers()) == 400
