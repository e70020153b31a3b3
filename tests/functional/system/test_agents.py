"""Agents that end, in whatever way, cost nothing: what runs goes on, and the next agent adopts it."""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import haqn
from haqn import templating
from haqn.lab import faults, services
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import CALM, HANDOVER_GAP, KERNEL_LEASE, TTL, Stage, time_of_loss

pytestmark = pytest.mark.functional


def end_kindly(stage: Stage, host: str) -> None:
    services.stop(stage.lab, stage.agent(host))


def end_at_once(stage: Stage, host: str) -> None:
    faults.kill(stage.host(host), services.AGENT)


def wait_until_adopted(stage: Stage, leases: dict[str, int]) -> None:
    """Until another agent than the one with that lease reports that all is done, on each of the hosts."""
    wait_for(
        "a new agent has a lease", lambda: all(stage.heartbeat_lease(host) not in (0, leases[host]) for host in leases)
    )
    wait_for("the new agents have looked at everything", stage.at_rest)


@pytest.mark.parametrize("end", [end_kindly, end_at_once])
def test_an_agent_that_is_restarted_within_its_lease_costs_nothing(
    stage: Stage, end: Callable[[Stage, str], None]
) -> None:
    """On the active host and on the standby host; the leader lives, and sees no reason to do anything."""
    members, pair = [stage.active, stage.standby], stage.pair
    leases = {host: stage.heartbeat_lease(host) for host in members}
    states, before = stage.scenario.states, stage.footprints()
    with stage.scenario.both_ways() as both_ways, stage.leases_kept(*members):
        time.sleep(CALM)
        for host in members:
            end(stage, host)
            assert not faults.program(stage.host(host), services.AGENT)
            services.start(stage.lab, stage.agent(host))
        wait_until_adopted(stage, leases)
        outbound, inbound = both_ways.stop()

    assert (outbound.lost, inbound.lost) == (0, 0)
    assert outbound.sent > 100
    assert stage.footprints() == before
    assert stage.scenario.states == states
    assert stage.pair == pair
    assert stage.is_led()


def changed_copy(directory: Path) -> Path:
    """A tree with another version of haqn in it: its failover program differs."""
    shutil.copytree(Path(haqn.__file__).parent, directory / "haqn")
    shutil.copytree(templating.default_directory(), directory / "templates")
    with (directory / "haqn" / "failover" / "refresh.py").open("a") as source:
        source.write("\n# another version\n")
    return directory


def test_an_upgrade_changes_the_failover_program_under_a_running_keepalived(stage: Stage, tmp_path: Path) -> None:
    active, other_version = stage.active, changed_copy(tmp_path / "other")
    host, leases = stage.host(active), {active: stage.heartbeat_lease(active)}
    states, before = stage.scenario.states, stage.footprint(active)
    link = ["readlink", "/run/haqn/failover"]
    old_program = host.run(link).stdout
    with stage.scenario.both_ways() as both_ways, stage.leases_kept(active):
        services.stop(stage.lab, stage.agent(active))
        program = str(Path(sys.executable).parent / "haqn-agent")
        configuration = ["--config-file", str(host.directory / "haqn.conf")]
        host.daemon(services.AGENT, ["env", f"PYTHONPATH={other_version}", program, *configuration])
        wait_until_adopted(stage, leases)
        # from now on it is the new program that begins new leases in the kernel
        assert host.run(link).stdout != old_program
        time.sleep(KERNEL_LEASE + 1)
        outbound, inbound = both_ways.stop()

    assert (outbound.lost, inbound.lost) == (0, 0)
    assert stage.footprint(active) == before
    assert stage.scenario.states == states
    assert stage.forwarders() == [active]

    leases = {active: stage.heartbeat_lease(active)}
    services.restart(stage.lab, stage.agent(active))
    wait_until_adopted(stage, leases)
    assert host.run(link).stdout == old_program


@pytest.mark.parametrize("end", [end_kindly, end_at_once])
def test_an_agent_that_stays_away_costs_one_handover(stage: Stage, end: Callable[[Stage, str], None]) -> None:
    """Stopped for good or killed: nobody can change its routers any more, so they move (ADR 4), as by a switchover."""
    away, peer, third = stage.active, stage.standby, stage.third
    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        end(stage, away)
        wait_for("there is a new standby", lambda: stage.scenario.is_redundant(without=away), 8 * TTL)
        services.start(stage.lab, stage.agent(away))
        wait_for("it undoes what it has no part in", lambda: not stage.devices_of(away, stage.router_id))
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < HANDOVER_GAP
        assert result.all_answered
    # neither the end of the agent, nor its replacement, nor its return: all that was lost was lost in one moment
    assert time_of_loss(outbound, inbound) < HANDOVER_GAP
    assert stage.scenario.states == {peer: "active", third: "standby"}


def test_a_standby_whose_agent_stays_away_is_replaced_and_nothing_is_lost(stage: Stage) -> None:
    active, away, third = stage.active, stage.standby, stage.third
    with stage.scenario.both_ways() as both_ways:
        end_kindly(stage, away)
        wait_for("there is a new standby", lambda: stage.scenario.is_redundant(without=away), 8 * TTL)
        services.start(stage.lab, stage.agent(away))
        wait_for("it undoes what it has no part in", lambda: not stage.devices_of(away, stage.router_id))
        outbound, inbound = both_ways.stop()

    assert (outbound.lost, inbound.lost) == (0, 0)
    assert stage.scenario.states == {active: "active", third: "standby"}
