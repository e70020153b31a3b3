"""Operators move things on purpose: traffic notices a handover at the most, and whoever leads goes on."""

import time

import pytest

from haqn.lab import faults, services
from haqn.lab.client import Resource
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import CALM, HANDOVER_GAP, Stage

pytestmark = pytest.mark.functional


def operation(stage: Stage, kind: str) -> Resource:
    """The newest operation of the kind."""
    return stage.client.find("haqn/operation", kind=kind, sort_key="created_at", sort_dir="desc")[0]


def agent(stage: Stage, host: str) -> Resource:
    return next(one for one in stage.client.find("haqn/agent") if one["host"] == host)


def test_a_drain_survives_its_leader_and_ends_with_a_host_that_may_be_stopped(stage: Stage) -> None:
    drained, peer = stage.active, stage.standby
    routers = [stage.scenario.add_router(7000 + number) for number in range(3)]
    try:
        assert not agent(stage, drained)["safe_to_stop"]
        with stage.scenario.both_ways() as both_ways:
            time.sleep(CALM)
            leading = stage.leading_monitor()
            services.manage(stage.lab, "drain", drained)
            faults.kill(stage.host(leading.host), leading.name)
            wait_for("the drain is done", lambda: operation(stage, "drain")["state"] == "done")
            wait_for("it may be stopped", lambda: agent(stage, drained)["safe_to_stop"])
            time.sleep(CALM)
            outbound, inbound = both_ways.stop()

        for result in (outbound, inbound):
            assert result.largest_gap_ms < HANDOVER_GAP
            assert result.all_answered
        assert services.manage(stage.lab, "safe-to-stop", drained).startswith("yes")
        assert stage.active == peer
        assert drained not in stage.scenario.states
        assert not stage.devices_of(drained, "qrouter-")
        moved = stage.client.find("haqn/event", cause="drain", router_id=stage.router_id)
        assert moved[0]["from_agent_id"] == agent(stage, drained)["id"]
        wait_for("all is redundant", lambda: stage.client.show("router", stage.router_id)["redundancy"] == "full")
    finally:
        services.manage(stage.lab, "undrain", drained)
        for router in routers:
            stage.delete_router(router["id"])


def test_a_standby_is_rebuilt_and_all_pairs_of_an_agent_are_switched_over(stage: Stage) -> None:
    active, standby = stage.active, stage.standby
    # numbers of namespaces are used again, those of links are not
    before, forwarding = stage.footprint(standby).links, stage.footprint(active).links
    with stage.scenario.both_ways() as both_ways:
        services.manage(stage.lab, "rebuild", stage.router_id, "--wait")
        outbound, inbound = both_ways.stop()
    assert (outbound.lost, inbound.lost) == (0, 0)
    after = stage.footprint(standby).links
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == set(stage.taps)
    assert stage.footprint(active).links == forwarding

    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        services.manage(stage.lab, "switchover", "--agent", active, "--wait")
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()
    for result in (outbound, inbound):
        assert result.largest_gap_ms < HANDOVER_GAP
        assert result.all_answered
    assert stage.forwarders() == [standby]
    assert operation(stage, "switchover")["state"] == "done"
