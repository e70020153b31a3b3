"""keepalived, the failover program or the gate is lost: the gate closes, the peer forwards, the agent mends."""

import time
from collections.abc import Callable

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
    pid_file = host.run(["cat", "/run/haqn/pairs/consumer.pid"]).stdout
    return [process for process in host.processes() if process.inner_pid == int(pid_file)]


def keepalived_pids(host: Host) -> set[int]:
    return {process.inner_pid for process in faults.program(host, faults.KEEPALIVED)}


@pytest.mark.parametrize("fault", [faults.kill, faults.pause])
def test_without_an_agent_the_kernel_closes_the_gate(stage: Stage, fault: Callable[[Host, str], None]) -> None:
    active, standby = stage.active, stage.standby
    services.stop(stage.lab, stage.agent(active))
    before = keepalived_pids(stage.host(active))
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        fault(stage.host(active), faults.KEEPALIVED)
        began = time.monotonic()
        wait_for("the peer opens its gate", lambda: standby in stage.forwarders(), CRASH_GAP / 1000)
        wait_for("the gate closes by itself", lambda: stage.forwarders() == [standby], KERNEL_LEASE + _MARGIN)
        assert time.monotonic() - began < KERNEL_LEASE + _MARGIN
        services.start(stage.lab, stage.agent(active))
        wait_for(
            "the agent has replaced keepalived",
            lambda: len(pids := keepalived_pids(stage.host(active))) == 2 and not pids & before,
            _FROZEN + 4 * _MARGIN,
        )
        time.sleep(2 * CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP
        assert result.all_answered
    assert stage.forwarders() == [standby]
    wait_for("roles follow", lambda: stage.scenario.states == {active: "standby", standby: "active"})


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
