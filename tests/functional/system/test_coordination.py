"""etcd and the monitors go wrong; nothing on any host is touched."""

import json
import shutil
import signal
import sqlite3
import time
from typing import Any

import pytest

from haqn.coordination import keys
from haqn.lab import etcdctl, faults, processes, services
from haqn.lab.leader import Succession
from haqn.lab.scenery import wait_for
from haqn.lab.services import Service
from tests.functional.system.stage import CALM, TTL, Stage

pytestmark = pytest.mark.functional


def desired(stage: Stage) -> dict[str, Any]:
    """All that the hosts are asked for, without the numbers and times of writes, and the digests with these in them."""
    found = {}
    for entry in etcdctl.get(stage.lab, keys.DESIRED):
        found[entry.key] = json.loads(entry.value)
        for of_the_write in ("generation", "written_at", "digest"):
            found[entry.key].pop(of_the_write, None)
    return found


def decided(stage: Stage) -> dict[str, list[tuple[object, ...]]]:
    """What the leaders have written into SQL."""
    uri = f"file:{stage.lab.work_dir / 'haqn.sqlite'}?mode=ro"
    connection = sqlite3.connect(uri, uri=True)
    try:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("leadership", "pairs", "bindings", "plans", "sequences", "routers", "ports")
        }
    finally:
        connection.close()


def pause_between_transactions(stage: Stage, monitor: Service) -> None:
    """Freeze it, but not while it holds the write lock of SQLite, which no server would take away from it."""
    host = stage.host(monitor.host)

    def paused() -> bool:
        faults.pause(host, monitor.name)
        connection = sqlite3.connect(stage.lab.work_dir / "haqn.sqlite", timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            faults.resume(host, monitor.name)
            return False
        finally:
            connection.close()
        return True

    wait_for("the monitor is frozen between transactions", paused)


def revisions(stage: Stage) -> dict[str, int]:
    """Key -> revision of its last change, of all desired documents."""
    return {entry.key: entry.revision for entry in etcdctl.get(stage.lab, keys.DESIRED)}


def test_etcd_is_wiped(stage: Stage) -> None:
    stage.wait_until_quiet()
    before, wanted, states = stage.footprints(), desired(stage), stage.scenario.states
    (etcd,) = stage.services("etcd")
    control = stage.host(etcd.host)
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.kill(control, etcd.name)
        shutil.rmtree(control.directory / "etcd")
        services.start(stage.lab, etcd)
        wait_for("etcd answers", stage.reachable)
        wait_for("agents, monitors and hosts have registered again", lambda: stage.leader.epoch and stage.at_rest())
        services.wait_for_agents(stage.lab)
        stage.wait_until_quiet()
        outbound, inbound = both_ways.stop()

    assert (outbound.lost, inbound.lost) == (0, 0)
    assert stage.footprints() == before
    assert desired(stage) == wanted
    assert stage.scenario.states == states


def another_leads(succession: Succession, epoch: int) -> None:
    """It does when etcd has ended the last leader's lease, sooner than any lease of this lab may end for want of time.
    How much sooner is for the bench to say."""
    changes = succession.until_led(beyond=epoch)
    ended = [change.time for change in changes if change.leader is None]
    assert ended
    assert changes[-1].time - ended[-1] < TTL


def test_a_leader_that_was_frozen_changes_nothing_any_more(stage: Stage) -> None:
    old, epoch = stage.leading_monitor(), stage.leader.epoch
    host = stage.host(old.host)
    router = stage.scenario.scenery.router("busy", stage.scenario.external["id"])
    # frozen in the middle of its work
    stage.client.update("router", router["id"], {"admin_state_up": False})
    with Succession(stage.lab) as succession:
        pause_between_transactions(stage, old)
        another_leads(succession, epoch)
    # what the old leader knows is outdated in more than one way
    stage.client.delete("router", router["id"])
    wait_for("the new leader has carried that out", lambda: router["id"] not in "".join(revisions(stage)))
    wait_for("the tenant is redundant", stage.at_rest)
    time.sleep(1)
    facts, documents, leader = decided(stage), revisions(stage), stage.leader

    processes.send(faults.program(host, old.name), signal.SIGCONT)
    time.sleep(TTL)

    assert decided(stage) == facts
    assert revisions(stage) == documents
    assert stage.leader == leader
    assert faults.program(host, old.name)


def test_a_killed_leader_is_followed_by_another(stage: Stage) -> None:
    leader, epoch = stage.leading_monitor(), stage.leader.epoch
    before = revisions(stage)
    with stage.scenario.both_ways() as both_ways, Succession(stage.lab) as succession:
        faults.kill(stage.host(leader.host), leader.name)
        another_leads(succession, epoch)
        router = stage.scenario.scenery.router("after", stage.scenario.external["id"])
        wait_for("the new leader leads", lambda: stage.is_active(router))
        outbound, inbound = both_ways.stop()

    assert stage.leading_monitor() != leader
    assert (outbound.lost, inbound.lost) == (0, 0)
    after = revisions(stage)
    assert {key: after[key] for key in before if key.partition("/routers/")[1]}.items() <= before.items()
    stage.client.delete("router", router["id"])
