"""What the leader's metrics say of a small cluster."""

import pytest

from haqn.db import outbox, schema
from haqn.db.session import Database
from haqn.model import VrrpState
from haqn.monitor.metrics import MonitorMetrics
from tests.unit.monitor.facts import agent_fact, facts, pair, report, reported, router

MASTER, BACKUP = VrrpState.MASTER, VrrpState.BACKUP


@pytest.fixture
def metrics(tmp_path):
    url = f"sqlite:///{tmp_path}/haqn.sqlite"
    schema.upgrade(url)
    return MonitorMetrics(Database(url), lambda: 4.0, lambda: 0.5)


def values(metrics):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for metric in metrics.collect()
        for sample in metric.samples
    }


def cluster(**states):
    hosts = ("net1", "net2", "net3")
    known = facts(
        agents=[agent_fact(host) for host in hosts], routers=[router("r1")], pairs=[pair(65536, "net1", "net2")]
    )
    reports = {(host, 65536): report(65536, state) for host, state in states.items()}
    return known, reported(alive=["net1", "net2"], pairs=reports)


def test_changes_that_the_leader_has_not_read_are_counted(tmp_path):
    url = f"sqlite:///{tmp_path}/haqn.sqlite"
    schema.upgrade(url)
    database = Database(url)
    metrics = MonitorMetrics(database, lambda: 4.0, lambda: 0.5)
    lines = [database.write(lambda connection: outbox.record(connection, "router", "r1")) for _ in range(3)]
    metrics.saw(*cluster(), held=0, seconds=0.1, outbox_read=lines[1])
    said = values(metrics)
    assert (said["haqn_outbox_lines",], said["haqn_outbox_unread_lines",]) == (3, 1)


def test_who_does_not_lead_says_nothing_of_the_cluster(metrics):
    said = values(metrics)
    assert said["haqn_monitor_leads",] == 0
    assert said["haqn_monitor_lease_margin_seconds",] == 4.0
    assert not [name for name, *_ in said if name.startswith(("haqn_agents", "haqn_routers", "haqn_pairs"))]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"net1": MASTER, "net2": BACKUP}, "one_active"),
        ({"net1": MASTER, "net2": MASTER}, "two_actives"),
        ({"net1": BACKUP}, "no_active"),
        ({}, "no_active"),
    ],
)
def test_the_leader_counts_who_forwards(metrics, states, expected):
    with metrics.planning():
        pass
    metrics.saw(*cluster(**states), held=3, seconds=0.1)
    said = values(metrics)
    assert {name: said["haqn_pairs", name] for name in ("one_active", "two_actives", "no_active")} == {
        name: float(name == expected) for name in ("one_active", "two_actives", "no_active")
    }
    assert (said["haqn_agents", "L3 agent", "true"], said["haqn_agents", "L3 agent", "false"]) == (2, 1)
    assert (said["haqn_routers",], said["haqn_routers_unplaced",], said["haqn_held_changes",]) == (1, 1, 3)
    assert said["haqn_monitor_plan_seconds_count",] == 1
    assert said["haqn_routers_by_redundancy", "full"] == 0


def test_a_term_that_is_over_is_not_told(metrics):
    metrics.saw(*cluster(), held=0, seconds=0.1)
    metrics.not_leading()
    assert values(metrics)["haqn_monitor_leads",] == 0
