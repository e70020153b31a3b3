"""haqn-manage with real etcd and SQLite."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from haqn.cmd import manage
from haqn.coordination import keys
from haqn.db import tables
from haqn.documents import Heartbeat, encode
from haqn.model import AgentType
from tests.eventually import eventually
from tests.functional.monitor.cluster import TTL, Cluster

pytestmark = pytest.mark.functional


@pytest.fixture
def haqn_manage(cluster, capsys):
    """Runs haqn-manage; returns (exit status, stdout, stderr)."""
    config = cluster.directory / "manage.conf"
    config.write_text(
        f"[database]\nconnection = {cluster.url}\n"
        f"[etcd]\nendpoints = {','.join(cluster.etcd_cluster.endpoints)}\nlease_ttl = {TTL}\n"
    )

    def run(*arguments: str) -> tuple[int, str, str]:
        status = manage.main(["--config-file", str(config), *arguments])
        return (status, *capsys.readouterr())

    return run


def bound(cluster: Cluster, *routers: str) -> bool:
    return all(len(cluster.members(router)) == 2 for router in routers)


def test_a_dry_run_says_what_the_leader_would_do_and_does_it_not(cluster, haqn_manage):
    cluster.start_agents("net1", "net2")
    cluster.start_monitor("mon1")
    eventually(lambda: len(cluster.rows(sa.select(tables.agents))) == 2)
    cluster.monitors["mon1"].end()
    cluster.create_routers("r1")
    status, output, _ = haqn_manage("plan", "--dry-run")
    assert status == 0
    assert [line.split()[0] for line in output.splitlines()] == ["CreatePair", "BindToPair"]
    assert "stands by" in output
    assert cluster.members("r1") == ()


def test_kept_plans_are_listed_and_give_the_same_actions_again(cluster, haqn_manage):
    cluster.start_agents("net1", "net2")
    cluster.start_monitor("mon1")
    cluster.create_routers("r1", "r2")
    eventually(lambda: bound(cluster, "r1", "r2"))

    status, output, _ = haqn_manage("plan", "list")
    assert status == 0
    numbers = [line.split("\t")[0] for line in output.splitlines()]
    assert numbers
    for number in numbers:
        assert haqn_manage("plan", "replay", number)[0] == 0

    _, as_json, _ = haqn_manage("plan", "replay", numbers[0], "--json")
    kept = cluster.directory / "plan.json"
    kept.write_text(as_json)
    assert haqn_manage("plan", "replay", str(kept))[0] == 0

    document = json.loads(as_json)
    document["actions"].pop()
    kept.write_text(json.dumps(document))
    status, _, error = haqn_manage("plan", "replay", str(kept))
    assert status == 1
    assert "not the one that was kept" in error


def test_a_switchover_is_carried_out_and_stays(cluster, haqn_manage):
    cluster.start_agents("net1", "net2")
    cluster.start_monitor("mon1")
    cluster.create_routers("r1")
    eventually(lambda: bound(cluster, "r1") and cluster.status("r1") == "ACTIVE")
    active, backup = cluster.members("r1")
    ((pair_id,),) = cluster.rows(sa.select(tables.pairs.c.id))
    assert haqn_manage("switchover", str(pair_id))[0] == 0
    eventually(lambda: [(p.role, p.epoch, p.settled) for p in cluster.agents[backup].pairs()] == [("ACTIVE", 2, True)])
    assert cluster.members("r1") == (backup, active)
    assert haqn_manage("plan")[1] == "nothing to do\n"
    eventually(lambda: "switchover" in haqn_manage("events", "--pair", str(pair_id))[1])
    assert "switchover" in haqn_manage("operations")[1]


def test_what_an_operator_asks_before_a_host_is_stopped(cluster, haqn_manage):
    cluster.start_agents("net1", "net2", "net3")
    cluster.start_monitor("mon1")
    cluster.create_routers("r1")
    eventually(lambda: bound(cluster, "r1") and cluster.status("r1") == "ACTIVE")
    active, _ = cluster.members("r1")
    assert haqn_manage("brakes")[1] == "nothing is held back\n"
    assert haqn_manage("rebalance")[:2] == (0, "")
    status, output, _ = haqn_manage("safe-to-stop", active)
    assert (status, output.partition(",")[0]) == (1, "no")
    status, output, _ = haqn_manage("drain", active, "--wait")
    assert (status, output.splitlines()[-1].split("\t")[2]) == (0, "done")
    assert active not in cluster.members("r1")
    assert haqn_manage("safe-to-stop", active)[:2] == (0, "yes, because no router is on it\n")
    assert haqn_manage("undrain", active)[0] == 0
    assert haqn_manage("rebuild", "r1", "--wait")[0] == 0


def test_errors_are_sentences(cluster, haqn_manage):
    assert haqn_manage("db", "check")[0] == 0
    assert haqn_manage("db", "upgrade")[0] == 0
    for arguments, complaint in (
        (("plan", "replay", "77"), "no plan 77"),
        (("plan", "replay", "/nowhere"), "cannot read /nowhere"),
        (("switchover", "77"), "Pair 77 could not be found"),
        (("drain", "nowhere"), "could not be found"),
        (("safe-to-stop", "nowhere"), "Agent nowhere could not be found"),
        (("rebuild", "nothing"), "Router nothing could not be found"),
        (("operations", "--cancel", "nothing"), "Operation nothing could not be found"),
    ):
        status, _, error = haqn_manage(*arguments)
        assert status == 1
        assert error.startswith("haqn-manage: ")
        assert complaint in error


# oslo.upgradecheck asks prettytable for a name that is to go
@pytest.mark.filterwarnings("ignore:the 'ALL' constant is deprecated:DeprecationWarning")
def test_an_upgrade_is_checked_against_the_agents_that_live(cluster, haqn_manage):
    def live(host, version):
        beat = Heartbeat(
            agent_id=host,
            agent_type=AgentType.L3,
            host=host,
            started_at="2026-01-02T03:04:05.678Z",
            ha_address="192.0.2.1",
            haqn_version=version,
        )
        cluster.etcd.put(keys.agent(AgentType.L3, host), encode(beat))

    for host, version, expected in (("net1", "1.0", 0), ("net2", "1.0", 0), ("net3", "0.9", 1)):
        live(host, version)
        status, output, _ = haqn_manage("upgrade", "check")
        assert (status, output.count("Result: Success")) == (expected, 3 - expected), output
    assert "0.9: net3; 1.0: net1, net2" in " ".join(output.replace("|", " ").split())
    cluster.etcd.put(keys.agent(AgentType.L3, "net4"), b"what a version to come writes")
    assert haqn_manage("upgrade", "check")[0] == 2
