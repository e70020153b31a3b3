"""keepalived, the failover program or the gate is lost: the gate closes, the peer forwards, the agent mends."""

import time

import pytest

from haqn.lab import faults, kernel, processes, services
from haqn.lab.host import Host
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import CALM, CRASH_GAP, HANDOVER_GAP, KERNEL_LEASE, Stage

pytestmark = pytest.mark.functional

#: seconds that the agent takes to see a frozen keepalived
_FROZEN = 6.0
_MARGIN = 3.0


def consumer(host: Host) -> list[processes.Process]:
    """The program that reads keepalived's notifications."""
    inner_pid = int(host.run(["cat", "/run/haqn/pairs/consumer.pid"]).stdout.split()[0])
    return [process for process in host.processes() if process.inner_pid == inner_pid]


def keepalived_pids(host: Host) -> set[int]:
    return {process.inner_pid for process in faults.program(host, faults.KEEPALIVED)}


def old_are_gone(host: Host, before: set[int]) -> bool:
    return not keepalived_pids(host) & before


def test_without_an_agent_the_kernel_closes_the_gate_of_a_dead_keepalived(stage: Stage) -> None:
    active, standby = stage.active, stage.standby
    services.stop(stage.lab, stage.agent(active))
    before = keepalived_pids(stage.host(active))
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.kill(stage.host(active), faults.KEEPALIVED)
        wait_for("the peer opens its gate", lambda: standby in stage.forwarders(), CRASH_GAP / 1000)
        wait_for("the gate closes by itself", lambda: stage.forwarders() == [standby], KERNEL_LEASE + _MARGIN)
        assert old_are_gone(stage.host(active), before)
        services.start(stage.lab, stage.agent(active))
        # it may have been away for longer than its lease, and be replaced by the third host
        wait_for("the tenant is redundant", stage.at_rest)
        outbound, inbound = both_ways.stop()

    assert stage.active == standby
    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP
        assert result.all_answered


def test_a_frozen_keepalived_loses_its_gate_and_is_replaced(stage: Stage) -> None:
    active, standby = stage.active, stage.standby
    before = keepalived_pids(stage.host(active))
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.pause(stage.host(active), faults.KEEPALIVED)
        wait_for("the peer opens its gate", lambda: standby in stage.forwarders(), CRASH_GAP / 1000)
        wait_for("the gate closes by itself", lambda: stage.forwarders() == [standby], KERNEL_LEASE + _MARGIN)
        # long before the agent counts keepalived as frozen
        assert keepalived_pids(stage.host(active)) == before
        wait_for("keepalived is replaced", lambda: old_are_gone(stage.host(active), before), _FROZEN + 2 * _MARGIN)
        wait_for("the tenant is redundant", stage.at_rest)
        outbound, inbound = both_ways.stop()

    assert stage.scenario.states == {active: "standby", standby: "active"}
    assert len(keepalived_pids(stage.host(active))) == 2
    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP
        assert result.all_answered


def test_an_agent_starts_a_keepalived_that_was_killed(stage: Stage) -> None:
    active = stage.active
    before = keepalived_pids(stage.host(active))
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.kill(stage.host(active), faults.KEEPALIVED)
        wait_for(
            "the agent has started keepalived",
            lambda: len(pids := keepalived_pids(stage.host(active))) == 2 and not pids & before,
            _MARGIN,
        )
        wait_for("exactly one gate is open", lambda: len(stage.forwarders()) == 1, KERNEL_LEASE + _MARGIN)
        time.sleep(2 * CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP
        assert result.all_answered
    wait_for("the tenant is redundant", stage.at_rest)


def test_a_consumer_that_was_killed_is_started_again(stage: Stage) -> None:
    """keepalived cannot speak in between, so its host gives way once."""
    active, standby = stage.active, stage.standby
    (before,) = consumer(stage.host(active))
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        processes.kill(
            lambda: [
                process for process in stage.host(active).processes() if process == before or process.pid == before.pid
            ]
        )
        wait_for(
            "there is a new consumer",
            lambda: [found.inner_pid for found in consumer(stage.host(active))] not in ([], [before.inner_pid]),
            2 * _MARGIN,
        )
        wait_for("exactly one gate is open", lambda: len(stage.forwarders()) == 1, KERNEL_LEASE + _MARGIN)
        time.sleep(2 * CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < HANDOVER_GAP
        assert result.all_answered
    wait_for("the tenant is redundant", stage.at_rest)
    # and the new one carries out what keepalived says: traffic comes back from the peer
    services.manage(stage.lab, "switchover", str(stage.pair))
    wait_for("the gate moves", lambda: len(stage.forwarders()) == 1 and stage.forwarders() != [standby], 2 * _MARGIN)


def test_a_consumer_that_is_stuck_is_replaced_when_it_is_needed(stage: Stage) -> None:
    active, standby = stage.active, stage.standby
    (before,) = consumer(stage.host(standby))
    processes.freeze(lambda: [process for process in consumer(stage.host(standby)) if process.pid == before.pid])
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        faults.crash(stage.lab, active)
        wait_for("the peer opens its gate", lambda: standby in stage.forwarders(), 4 * _MARGIN)
        time.sleep(2 * CALM)
        outbound, inbound = both_ways.stop()

    assert processes.read(before.pid) is None
    for result in (outbound, inbound):
        assert result.largest_gap_ms < 4 * _MARGIN * 1000
        assert result.all_answered


@pytest.mark.parametrize("member", ["active", "standby"])
def test_a_gate_that_was_flushed_is_made_again(stage: Stage, member: str) -> None:
    name = getattr(stage, member)
    host = stage.host(name)
    before = stage.footprint(name)
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        host.run(["nft", "flush", "ruleset"])
        wait_for("the gate is there again", lambda: kernel.has_gate(host), _MARGIN)
        wait_for("exactly one gate is open", lambda: len(stage.forwarders()) == 1, KERNEL_LEASE + _MARGIN)
        time.sleep(3 * CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP
        assert result.all_answered
    wait_for("the tenant is redundant", stage.at_rest)
    assert stage.footprint(name) == before
