"""Hosts that crash: their peers take over, others replace them, and they claim nothing when they come back."""

import time

import pytest

from haqn.lab import faults, services
from haqn.lab.probe import now_ms
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import CALM, CRASH_GAP, HANDOVER_GAP, TTL, Stage, lost_after, watched

pytestmark = pytest.mark.functional


def test_a_crashed_host_is_replaced_and_comes_back_as_nobody(stage: Stage) -> None:
    crashed, survivor, third, old_pair = stage.active, stage.standby, stage.third, stage.pair
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        crashed_at = now_ms()
        faults.crash(stage.lab, crashed)
        wait_for("the peer opens its gate", lambda: survivor in stage.forwarders(), CRASH_GAP / 1000)
        wait_for("there is a new standby", lambda: stage.scenario.is_redundant(without=crashed), 4 * TTL)
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert 0 < result.largest_gap_ms < CRASH_GAP
        assert result.all_answered
        # the replacement begins when the lease ends, long after the takeover
        assert lost_after(result, crashed_at + CRASH_GAP) == 0
    assert stage.scenario.states == {survivor: "active", third: "standby"}
    assert stage.pair != old_pair
    assert stage.forwarders() == [survivor]

    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.thaw(stage.lab, crashed)
        seen = watched(2.0, lambda: crashed in stage.forwarders())
        wait_for("the crashed host has seen what is new", lambda: not stage.devices_of(crashed, stage.router_id))
        outbound, inbound = both_ways.stop()

    assert not any(seen)
    for result in (outbound, inbound):
        assert result.largest_gap_ms < HANDOVER_GAP
        assert result.all_answered
    assert stage.scenario.states == {survivor: "active", third: "standby"}


def test_a_host_that_was_away_for_a_moment_gives_way(stage: Stage) -> None:
    """Its gate is still open when it wakes up, and it still believes to be MASTER."""
    crashed, survivor = stage.active, stage.standby
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.crash(stage.lab, crashed)
        wait_for("the peer opens its gate", lambda: survivor in stage.forwarders(), CRASH_GAP / 1000)
        faults.thaw(stage.lab, crashed)
        thawed_at = now_ms()
        wait_for("the crashed host closes its gate", lambda: stage.forwarders() == [survivor], 10)
        time.sleep(2 * CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP
        assert result.between(thawed_at, now_ms()).largest_gap_ms < HANDOVER_GAP
        assert result.all_answered
    wait_for("roles follow", lambda: stage.scenario.states == {survivor: "active", crashed: "standby"})
    assert stage.forwarders() == [survivor]


def test_a_standby_that_crashes_is_replaced_and_nothing_is_lost(stage: Stage) -> None:
    active, crashed, third = stage.active, stage.standby, stage.third
    with stage.scenario.both_ways() as both_ways:
        faults.crash(stage.lab, crashed)
        wait_for("there is a new standby", lambda: stage.scenario.is_redundant(without=crashed), 4 * TTL)
        faults.thaw(stage.lab, crashed)
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()

    assert (outbound.lost, inbound.lost) == (0, 0)
    assert stage.scenario.states == {active: "active", third: "standby"}


def test_a_host_that_is_powered_off_and_on_builds_everything_again(stage: Stage) -> None:
    rebooted, peer = stage.active, stage.standby
    with stage.scenario.both_ways() as both_ways, stage.leases_kept(rebooted):
        time.sleep(CALM)
        services.reboot(stage.lab, rebooted)
        wait_for("it stands by", lambda: stage.at_rest() and rebooted in stage.scenario.states)
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert 0 < result.largest_gap_ms < CRASH_GAP
        assert result.all_answered
    assert stage.forwarders() == [peer]
    assert stage.devices_of(rebooted, stage.router_id)


def test_the_last_of_three_hosts_keeps_everything(stage: Stage) -> None:
    crashed, survivor, third = stage.active, stage.standby, stage.third
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        crashed_at = now_ms()
        faults.crash(stage.lab, third)
        faults.crash(stage.lab, crashed)
        wait_for("both leases have ended", lambda: not any(map(stage.heartbeat_lease, (crashed, third))), 4 * TTL)
        # more than a new leader would wait before it believes
        time.sleep(TTL + 1)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP + 1000
        assert lost_after(result, crashed_at + CRASH_GAP + 1000) == 0
    assert survivor in stage.scenario.states
    assert stage.devices_of(survivor, stage.router_id)
    assert survivor in stage.forwarders()
