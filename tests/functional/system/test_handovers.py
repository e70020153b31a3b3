"""Traffic moves, because somebody wants it to or because a link is cut; and it moves once."""

import time

import pytest

from haqn.lab import faults, services
from haqn.lab.scenery import wait_for
from haqn.lab.wires import Cut
from tests.functional.system.stage import CALM, CRASH_GAP, HANDOVER_GAP, TTL, Stage, watched

pytestmark = pytest.mark.functional

_MARGIN = 4.0


def test_a_planned_switchover(stage: Stage) -> None:
    old, new, pair = stage.active, stage.standby, stage.pair
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        services.manage(stage.lab, "switchover", str(pair))
        wait_for("the gate has moved", lambda: stage.forwarders() == [new], _MARGIN)
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < HANDOVER_GAP
        assert result.all_answered
    wait_for("the API knows", lambda: stage.scenario.states == {new: "active", old: "standby"})


def test_a_cut_uplink_moves_the_routers_of_that_host(stage: Stage) -> None:
    cut, peer = stage.active, stage.standby
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.cut(stage.lab, cut, Cut.UPLINK)
        wait_for("the gate has moved", lambda: stage.forwarders() == [peer], _MARGIN)
        wait_for("roles follow", lambda: stage.scenario.states == {peer: "active", cut: "standby"})
        faults.mend(stage.lab, cut)
        # the host that took over keeps what it has
        seen = watched(2 * CALM, stage.forwarders)
        outbound, inbound = both_ways.stop()

    assert all(hosts == [peer] for hosts in seen)
    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP
        assert result.all_answered


def test_two_cut_uplinks_move_nothing_back_and_forth(stage: Stage) -> None:
    active, standby = stage.active, stage.standby
    faults.cut(stage.lab, standby, Cut.UPLINK)
    time.sleep(CALM)
    faults.cut(stage.lab, active, Cut.UPLINK)
    seen = watched(2.0, stage.forwarders)

    assert {tuple(hosts) for hosts in seen} == {(active,)}
    with stage.scenario.both_ways() as both_ways:
        for host in (active, standby):
            faults.mend(stage.lab, host)
        seen = watched(2.0, stage.forwarders)
        outbound, inbound = both_ways.stop()
    assert len({tuple(hosts) for hosts in seen if len(hosts) == 1}) == 1
    assert outbound.all_answered
    assert inbound.all_answered


def test_a_host_that_is_cut_off_from_etcd_hands_its_routers_over(stage: Stage) -> None:
    cut, peer, third = stage.active, stage.standby, stage.third
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.cut(stage.lab, cut, Cut.MGMT)
        wait_for("the gate has moved", lambda: stage.forwarders() == [peer], 3 * TTL)
        wait_for("there is a new standby", lambda: stage.scenario.is_redundant(without=cut), 3 * TTL)
        faults.mend(stage.lab, cut)
        wait_for("the host has caught up", stage.at_rest)
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < HANDOVER_GAP
        assert result.all_answered
    assert stage.scenario.states == {peer: "active", third: "standby"}
