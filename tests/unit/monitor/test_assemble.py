"""Facts and reports joined."""

from dataclasses import replace

import pytest

from haqn.db.snapshot import FloatingIpFact
from haqn.documents import SyncReport
from haqn.model import AgentType, NetworkType, agent_id
from haqn.monitor.assemble import (
    CarriedOut,
    awaits_active,
    began_or_changed,
    make_view,
    newly_active,
    settled_pairs,
    with_status,
)
from haqn.scheduler.view import Observation, Vacancy
from tests.unit.monitor.facts import agent_fact, facts, heartbeat, network, pair, port, report, reported, router

NET1, NET2 = (agent_id(AgentType.L3, host) for host in ("net1", "net2"))
AGENTS = [agent_fact("net1", physical_networks=("public",), zone="a", max_routers=7, full="!"), agent_fact("net2")]
FLOATING_IP = FloatingIpFact(
    id="fip", router_id="r1", floating_ip_address="203.0.113.9", fixed_ip_address="10.0.0.9", status="DOWN"
)


def cluster(**fields):
    return facts(
        **{
            "agents": AGENTS,
            "networks": [network("ext", NetworkType.FLAT, physical_network="public"), network("lan")],
            "routers": [
                router(
                    "r1",
                    gateway=port("gw", "ext"),
                    interfaces=[port("if", "lan", status="ACTIVE")],
                    floating_ips=(FLOATING_IP,),
                ),
                router("r2"),
            ],
            "ports": [port("vm", "lan", host="net1")],
            "pairs": [pair(65536, "net1", "net2", epoch=2)],
            "bindings": {"r1": 65536},
            **fields,
        }
    )


def view(given, said, *, now=100.0, vacated=None):
    return make_view(given, said, now=now, vacated=vacated or {}, since={"since_leadership": 3.0})


def test_an_agent_is_alive_exactly_while_its_heartbeat_exists():
    made = view(cluster(), reported(alive=["net1"]))
    first, second = sorted(made.agents, key=lambda agent: agent.host)
    assert (first.alive, second.alive) == (True, False)
    assert (first.zone, first.max_routers, first.full, first.physical_networks) == ("a", 7, "!", frozenset({"public"}))
    assert made.since_leadership == 3.0


def test_a_router_asks_for_the_physical_network_of_its_gateway():
    requests = {request.id: request for request in view(cluster(), reported()).routers}
    assert (requests["r1"].physical_network, requests["r1"].gateway_network_id) == ("public", "ext")
    assert requests["r2"].physical_network is None


def test_reports_are_of_agents_and_have_an_age():
    said = reported(pairs={("net1", 65536): report(65536, "MASTER", epoch=2), ("net9", 65536): report(65536, "MASTER")})
    (seen,) = view(cluster(), said, now=4.0).observations
    assert seen == Observation(agent_id=NET1, pair_id=65536, state="MASTER", epoch=2, age=4.0)


@pytest.mark.parametrize(
    ("sync", "left"),
    [
        (SyncReport(generation=5), True),
        (SyncReport(generation=4), False),
        (SyncReport(generation=5, holding=True), False),
        (SyncReport(generation=5, errors={"r1": "cannot"}), False),
        (SyncReport(generation=5, errors={"a router that is deleted": "cannot"}), False),
        (SyncReport(generation=5, errors={"vm": "no tap", "lan": "no bridge"}), True),
    ],
)
def test_a_host_has_left_a_pair_when_nothing_says_otherwise(sync, left):
    made = view(cluster(), reported(alive=["net1"], syncs={"net1": sync}), vacated={("net1", 65536): 5})
    assert made.vacancies == ((Vacancy(agent_id=NET1, pair_id=65536),) if left else ())


def test_a_host_that_does_not_report_has_left_nothing():
    assert view(cluster(), reported(), vacated={("net1", 65536): 5}).vacancies == ()


@pytest.mark.parametrize(
    ("active", "backup", "settled"),
    [
        (("MASTER", 2), ("BACKUP", 2), True),
        (("MASTER", 2), ("FAULT", 2), True),
        (("MASTER", 2), ("MASTER", 2), False),
        (("BACKUP", 2), ("BACKUP", 2), False),
        (("MASTER", 1), ("BACKUP", 2), False),
        (("MASTER", 2), ("BACKUP", 1), False),
        (("MASTER", 2), None, False),
        (None, ("BACKUP", 2), False),
    ],
)
def test_a_pair_is_settled(active, backup, settled):
    said = {
        (host, 65536): report(65536, found[0], epoch=found[1])
        for host, found in (("net1", active), ("net2", backup))
        if found
    }
    assert settled_pairs(cluster(), reported(pairs=said)) == (frozenset({65536}) if settled else frozenset())


@pytest.mark.parametrize(
    ("alive", "active", "backup", "epoch", "awaits"),
    [
        (["net1", "net2"], None, None, 1, True),
        (["net1", "net2"], "BACKUP", None, 1, True),
        (["net1", "net2"], "MASTER", None, 1, False),
        (["net1", "net2"], "FAULT", None, 1, False),
        (["net1", "net2"], "BACKUP", "BACKUP", 1, False),
        (["net1", "net2"], None, None, 2, False),
        (["net2"], None, None, 1, False),
    ],
)
def test_a_new_pair_begins_with_its_active(alive, active, backup, epoch, awaits):
    made = pair(65536, "net1", "net2", epoch=epoch)
    said = {
        (host, 65536): report(65536, state, epoch=epoch)
        for host, state in (("net1", active), ("net2", backup))
        if state
    }
    assert awaits_active(cluster(pairs=[made]), reported(alive=alive, pairs=said), made) is awaits


def generations(host, kind, object_id):
    return {("net1", "routers", "r1"): 3, ("net2", "routers", "r1"): 4, ("net1", "ports", "vm"): 3}.get(
        (host, kind, object_id)
    )


@pytest.mark.parametrize(
    ("alive", "syncs", "expected"),
    [
        (["net1", "net2"], {"net1": 3, "net2": 4}, (["r1"], ["gw", "vm"], [FLOATING_IP])),
        (["net1", "net2"], {"net1": 3, "net2": 3}, ([], ["vm"], [])),
        (["net1", "net2"], {"net1": 3}, ([], ["vm"], [])),
        (["net1"], {"net1": 3}, (["r1"], ["gw", "vm"], [FLOATING_IP])),
        ([], {"net1": 2}, ([], [], [])),
        (["net1"], {"net1": SyncReport(generation=3, errors={"r1": "cannot", "vm": "no tap"})}, ([], [], [])),
    ],
)
def test_active_is_what_every_living_host_has_carried_out(alive, syncs, expected):
    assert newly_active(cluster(), reported(alive=alive, syncs=syncs), generations) == expected


def test_what_is_active_is_not_looked_at_again():
    given = cluster()
    wanted = with_status(given.wanted, CarriedOut(["r1"], ["gw", "vm"], [FLOATING_IP]))
    assert wanted.routers["r1"].status == wanted.routers["r1"].gateway.status == "ACTIVE"
    assert [one.status for one in wanted.routers["r1"].floating_ips] == ["ACTIVE"]
    assert wanted.routers["r2"] is given.wanted.routers["r2"]
    said = reported(alive=["net1", "net2"], syncs={"net1": 9, "net2": 9})
    assert newly_active(type(given)(wanted, given.placed), said, generations) == ([], [], [])
    later = replace(wanted.routers["r1"], floating_ips=(FLOATING_IP,))
    wanted = replace(wanted, routers={"r1": later})
    assert newly_active(type(given)(wanted, given.placed), said, generations).floating_ips == [FLOATING_IP]


def test_a_heartbeat_is_news_when_the_row_is_missing_or_differs_or_the_lease_is_new():
    said = reported(alive=["net2"])
    assert began_or_changed(cluster(), said, {}) == []
    assert began_or_changed(cluster(agents=[AGENTS[0]]), said, {}) == [heartbeat("net2")]
    assert began_or_changed(cluster(), said, {NET2: 7}) == []
    assert began_or_changed(cluster(), said, {NET2: 6}) == [heartbeat("net2")]
    other = replace(AGENTS[1], heartbeat={**AGENTS[1].heartbeat, "zone": "z"})
    assert began_or_changed(cluster(agents=[AGENTS[0], other]), said, {}) == [heartbeat("net2")]


@pytest.mark.parametrize(
    ("alive", "bindings", "excluded"),
    [
        (["net1", "net2"], {"r1": 65536}, (NET1,)),
        # with a dead member, any agent is better than none
        (["net1"], {"r1": 65536}, ()),
        # it has left, and may come back when it must
        (["net1", "net2"], {"r1": "net2"}, ()),
        (["net1", "net2"], {}, ()),
    ],
)
def test_a_router_leaves_agents_that_it_was_taken_off(alive, bindings, excluded):
    given = cluster(bindings=bindings)
    given = replace(given, placed=replace(given.placed, exclusions={"r1": (NET1,)}))
    requests = {request.id: request for request in view(given, reported(alive=alive)).routers}
    assert requests["r1"].excluded_agents == excluded
    assert requests["r2"].excluded_agents == ()
