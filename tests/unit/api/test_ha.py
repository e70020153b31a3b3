"""What is under /v2.0/haqn, and the redundancy of routers."""

from __future__ import annotations

import datetime

import pytest

from haqn.api.generations import Written
from haqn.api.overview import why_not_stop
from haqn.db import ledger, monitorstatus, redundancy, tables
from haqn.db.clock import utcnow
from haqn.db.ledger import Cause, Event, EventKind
from haqn.db.overview import Load
from haqn.db.redundancy import Redundancy
from haqn.documents import LeaderRecord, PairReport, SyncReport
from haqn.model import Role, VrrpState

HOUR = datetime.timedelta(hours=1)
NOBODY = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
MEMBER = {"X-Project-Id": "p", "X-Roles": "member"}


@pytest.fixture
def pair(api, add_agent, bind):
    """A router on net1 and net2."""
    net1, net2 = add_agent("net1"), add_agent("net2")
    router = api.post("routers", ha=True, project_id="p")
    bind(router["id"], net1, net2)
    return router["id"], net1, net2


def ask(api, status=201, **values):
    answer = api.call("POST", "haqn/operations", status, {"operation": values})
    return answer["operation"] if status == 201 else answer["NeutronError"]


def wish(api, operation, state, status=200):
    answer = api.call("PUT", f"haqn/operations/{operation['id']}", status, {"operation": {"state": state}})
    return answer["operation"] if status == 200 else answer["NeutronError"]


def agent_row(api, agent_id):
    return api.get(f"agents/{agent_id}")["agent"]


def test_a_drain_is_asked_for_once_and_undone(api, pair, database, nudge):
    _, net1, _ = pair
    asked = ask(api, kind="drain", agent_id=net1)
    assert (asked["state"], asked["done"], asked["total"]) == ("running", 0, 1)
    assert nudge.lines
    assert ask(api, kind="drain", agent_id=net1)["id"] == asked["id"]
    assert api.get("haqn/agents")["agents"][0]["draining"] is True
    assert wish(api, asked, "cancelled")["state"] == "cancelled"
    assert wish(api, asked, "cancelled")["state"] == "cancelled"
    assert api.get("haqn/agents")["agents"][0]["draining"] is False
    assert ask(api, kind="drain", agent_id=net1)["id"] != asked["id"]


def test_neutrons_own_words_are_operations(api, pair):
    router, net1, net2 = pair
    api.put(f"agents/{net1}", admin_state_up=False)
    (drain,) = api.get("haqn/operations", kind="drain")["operations"]
    assert (drain["agent_id"], drain["state"]) == (net1, "running")
    wish(api, drain, "cancelled")
    assert agent_row(api, net1)["admin_state_up"] is True
    api.put(f"agents/{net1}", admin_state_up=False)
    api.put(f"agents/{net1}", admin_state_up=True)
    assert api.get("haqn/operations", kind="drain", state="running")["operations"] == []

    api.act(f"agents/{net2}/l3-routers/{router}", ha_chassis_priority=5)
    (switchover,) = api.get("haqn/operations", kind="switchover")["operations"]
    assert switchover["steps"][0]["agent_id"] == net2
    api.act(f"agents/{net1}/l3-routers/{router}", ha_chassis_priority=5)
    (switchover,) = api.get("haqn/operations", kind="switchover")["operations"]
    assert switchover["steps"][0]["agent_id"] == net1


def test_other_operations_and_what_is_refused(api, pair, add_agent):
    router, net1, net2 = pair
    assert ask(api, kind="switchover", pair_id=65536)["steps"][0]["agent_id"] == net2
    assert ask(api, kind="switchover", agent_id=net1)["total"] == 1
    assert ask(api, kind="rebuild", router_id=router)["agent_id"] == net2
    proposed = ask(api, kind="rebalance")
    assert (proposed["state"], proposed["total"]) == ("proposed", -1)
    assert wish(api, proposed, "running")["state"] == "running"
    alone = api.post("routers", ha=False)["id"]

    assert ask(api, 400, kind="drain")["type"] == "HTTPBadRequest"
    assert ask(api, 400, kind="rebalance", agent_id=net1)["type"] == "HTTPBadRequest"
    assert ask(api, 400, kind="explode")["type"] == "HTTPBadRequest"
    assert ask(api, 404, kind="drain", agent_id=NOBODY)["type"] == "AgentNotFound"
    assert ask(api, 404, kind="switchover", pair_id=7)["type"] == "HaPairNotFound"
    assert ask(api, 409, kind="rebuild", router_id=alone)["type"] == "OperationNotPossible"
    assert ask(api, 409, kind="rebuild", router_id=router, agent_id=net1)["type"] == "OperationNotPossible"
    done = wish(api, proposed, "cancelled")
    assert wish(api, done, "running", 409)["type"] == "OperationNotPossible"


def test_redundancy_is_shown_to_the_owner_and_filtered_by(api, pair, database):
    router, net1, _ = pair
    assert api.get(f"routers/{router}")["router"]["redundancy"] == "none"
    other = api.post("routers", ha=True, project_id="p")["id"]
    found = {router: Redundancy("degraded", "net2 reports FAULT", net1), other: Redundancy("full", "", None)}
    with database.transaction() as connection:
        redundancy.write(connection, found, {})
    shown = api.call("GET", f"routers/{router}", 200, None, MEMBER)["router"]
    assert (shown["redundancy"], shown["redundancy_reason"]) == ("degraded", "net2 reports FAULT")
    for state, ids in (("degraded", [router]), ("full", [other]), ("none", [])):
        assert [row["id"] for row in api.get("routers", redundancy=state)["routers"]] == ids
    by_host = {agent["host"]: agent["last_member_of"] for agent in api.get("haqn/agents")["agents"]}
    assert by_host == {"net1": 1, "net2": 0}


def test_one_call_tells_everything_about_the_members_of_routers(api, pair, live_state):
    router, net1, net2 = pair
    (unknown,) = api.get("haqn/routers")["routers"]
    assert unknown["in_sync"] is None
    assert {member["liveness"] for member in unknown["members"]} == {"unknown"}

    live_state.alive_agents = {net1: True, net2: True}
    for host, state in (("net1", VrrpState.MASTER), ("net2", VrrpState.BACKUP)):
        live_state.reports[host, 65536] = PairReport(
            pair_id=65536, state=state, since="then", sequence=1, role=Role.ACTIVE, epoch=1, gate_open=host == "net1"
        )
        live_state.desired[host, "routers", router] = Written(generation=7, written_at="2026-01-02T03:04:05.678Z")
        live_state.desired[host, "manifest", ""] = Written(generation=8, digest="d1")
    live_state.syncs = {"net1": SyncReport(generation=8, digest="d1"), "net2": SyncReport(generation=6)}
    shown = api.get(f"haqn/routers/{router}")["router"]
    assert (shown["pair_id"], shown["active_host"], shown["in_sync"]) == (65536, "net1", False)
    first, second = shown["members"]
    assert (first["host"], first["state"], first["since"], first["gate_open"]) == ("net1", "MASTER", "then", True)
    assert (first["lag"], first["in_sync"], second["lag"], second["in_sync"]) == (0, True, 1, False)
    assert first["lag_seconds"] == 0
    assert second["lag_seconds"] > 0
    agents = {agent["host"]: agent for agent in api.get("haqn/agents")["agents"]}
    assert (agents["net1"]["in_sync"], agents["net2"]["in_sync"], agents["net2"]["lag"]) == (True, False, 2)
    assert agents["net2"]["lag_seconds"] is None, "an older leader has written it"
    assert (agents["net1"]["desired_digest"], agents["net1"]["applied_digest"]) == ("d1", "d1")
    assert agents["net1"]["safe_to_stop"] is False
    assert "forward" in agents["net1"]["because"]
    assert "redundancy" in agents["net2"]["because"]


@pytest.mark.parametrize(
    ("desired", "applied", "agent_in_sync", "router_in_sync"),
    [("d1", "d1", True, True), ("d1", "d2", False, False), ("d1", "", None, True), ("", "d1", None, True)],
)
def test_the_same_generation_of_other_documents_is_not_in_sync(
    api, pair, live_state, desired, applied, agent_in_sync, router_in_sync
):
    router, *_ = pair
    for host in ("net1", "net2"):
        live_state.desired[host, "routers", router] = Written(generation=7)
        live_state.desired[host, "manifest", ""] = Written(generation=8, digest=desired)
        live_state.syncs[host] = SyncReport(generation=8, digest=applied)
    assert {one["in_sync"] for one in api.get("haqn/agents")["agents"]} == {agent_in_sync}
    shown = api.get(f"haqn/routers/{router}")["router"]
    assert shown["in_sync"] is router_in_sync
    assert {bool(member["error"]) for member in shown["members"]} == {not router_in_sync}


@pytest.mark.parametrize(
    ("load", "leads", "alive", "built", "why"),
    [
        (Load(), [], True, 0, ""),
        (Load(), [], False, None, ""),
        (Load(), [], True, 3, "not taken down 3"),
        (Load(alone=1), [], True, 1, "go down"),
        (Load(standby=2), [], True, 2, "redundancy"),
        (Load(standby=2), [65536], True, 2, "forward"),
        (Load(), [], None, 0, "not known"),
    ],
)
def test_whether_a_host_may_be_stopped(load, leads, alive, built, why):
    assert (
        (why in why_not_stop(load, leads, alive=alive, built=built))
        if why
        else not why_not_stop(load, leads, alive=alive, built=built)
    )


def test_a_brake_is_shown_and_released_for_a_time(api, pair, database, live_state):
    _, net1, _ = pair
    assert api.get("haqn/monitor")["monitor"]["leader"] is None
    live_state.led_by = LeaderRecord(holder="mon1:7", epoch=3, since="then")
    document = {"dead": [net1], "held": ["pair 65536: why"], "held_count": 1, "would_do": [], "would_do_counts": {}}
    with database.transaction() as connection:
        monitorstatus.write_status(connection, epoch=3, frozen=True, reason="too many", document=document)
    shown = api.get("haqn/monitor")["monitor"]
    assert (shown["leader"], shown["epoch"], shown["frozen"], shown["reason"]) == ("mon1:7", 3, True, "too many")
    assert shown["dead"] == [{"agent_id": net1, "host": "net1"}]
    assert (shown["held"], shown["release"]) == (["pair 65536: why"], None)

    for _ in range(2):
        body = {"monitor": {"release": True, "seconds": 60}}
        assert api.call("PUT", "haqn/monitor", 200, body)["monitor"]["release"]["agents"] == [net1]
    assert api.call("PUT", "haqn/monitor", 200, {"monitor": {"release": False}})["monitor"]["release"] is None
    api.call("PUT", "haqn/monitor", 400, {"monitor": {"release": True, "seconds": 0}})
    api.call("PUT", "haqn/monitor", 400, {"frozen": False})


def test_the_ledger_is_listed_newest_first_and_counts_into_availability(api, pair, database):
    router, net1, net2 = pair
    now = utcnow()
    with database.transaction() as connection:
        connection.execute(tables.routers.update().values(created_at=now - 2 * HOUR))
        numbers = ledger.record(
            connection,
            begun=[
                Event(
                    kind=EventKind.TRANSITION,
                    cause=cause,
                    started_at=now - HOUR,
                    ended_at=now - HOUR,
                    pair_id=65536,
                    from_agent_id=net1,
                    to_agent_id=net2,
                    outage_ms=outage,
                    routers=(router,),
                )
                for cause, outage in ((Cause.LEASE_LOST, 360), (Cause.DRAIN, 0))
            ]
            + [Event(kind=EventKind.NO_ACTIVE, cause=Cause.VRRP, started_at=now - HOUR / 2, routers=(router,))],
            ended=[],
            masters={65536: net2},
            leader_epoch=1,
            keep=100,
        )
    listed = api.get("haqn/events")["events"]
    assert [event["number"] for event in listed] == numbers[::-1]
    page = api.get("haqn/events", limit=1)
    assert "marker" in page["events_links"][0]["href"]
    following = api.get("haqn/events", limit=1, marker=listed[0]["id"])["events"]
    assert [event["number"] for event in following] == [numbers[1]]
    assert [e["cause"] for e in api.get("haqn/events", cause="drain")["events"]] == ["drain"]
    assert len(api.get("haqn/events", agent_id=net1)["events"]) == 2
    assert len(api.get("haqn/events", router_id=router, project_id="p")["events"]) == 3
    assert api.get("haqn/events", router_id=NOBODY)["events"] == []
    since = (now - 3 * HOUR / 4).isoformat()
    assert len(api.get("haqn/events", since=since)["events"]) == 1
    assert api.get(f"haqn/events/{listed[0]['id']}/routers")["routers"] == [{"router_id": router, "project_id": "p"}]

    (one,) = api.get("haqn/availability")["availability"]
    assert (one["router_id"], one["events"]) == (router, 3)
    assert 1_800_360 <= one["outage_ms"] < 1_830_360
    assert one["availability"] == pytest.approx(0.75, abs=0.01)
    (project,) = api.get("haqn/availability", by="project", since=since)["availability"]
    assert (project["project_id"], project["routers"], project["events"]) == ("p", 1, 1)
    api.get("haqn/availability", 400, by="moon")
    with database.transaction() as connection:
        ledger.record(connection, begun=[], ended=[], masters={}, leader_epoch=1, keep=1)
        ledger.record(
            connection,
            begun=[Event(kind=EventKind.TRANSITION, cause=Cause.VRRP, started_at=now, ended_at=now)],
            ended=[],
            masters={},
            leader_epoch=1,
            keep=1,
        )
    # what goes on is never forgotten
    assert {event["kind"] for event in api.get("haqn/events")["events"]} == {"transition", "no_active"}


def test_nobody_but_admins_gets_there(api, pair):
    for path in ("operations", "events", "monitor", "routers", "agents", "availability"):
        api.call("GET", f"haqn/{path}", 403, None, MEMBER)
    api.call("POST", "haqn/operations", 403, {"operation": {"kind": "rebalance"}}, MEMBER)
