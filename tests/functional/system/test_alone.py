"""Failover needs keepalived and the kernel, and nothing else of the cluster."""

import time

import pytest

from haqn.lab import faults, services
from haqn.lab.probe import now_ms
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import CALM, CRASH_GAP, HANDOVER_GAP, KERNEL_LEASE, Stage, lost_after

pytestmark = pytest.mark.functional


def test_failover_without_agents_api_monitors_and_etcd(stage: Stage) -> None:
    crashed, survivor = stage.active, stage.standby
    everything = services.services(stage.lab.spec)
    with stage.scenario.both_ways() as both_ways:
        for service in reversed(everything):
            faults.kill(stage.host(service.host), service.name)
        time.sleep(CALM)
        crashed_at = now_ms()
        faults.crash(stage.lab, crashed)
        wait_for("the peer opens its gate", lambda: survivor in stage.forwarders(), CRASH_GAP / 1000)
        # and it stays open: its lease is renewed without an agent
        time.sleep(KERNEL_LEASE + 1)
        assert survivor in stage.forwarders()
        faults.thaw(stage.lab, crashed)
        thawed_at = now_ms()
        wait_for("the crashed host gives way", lambda: stage.forwarders() == [survivor], 15)
        assert not any(faults.program(stage.host(one.host), one.name) for one in everything)
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()

    for result in (outbound, inbound):
        assert result.largest_gap_ms < CRASH_GAP
        assert result.between(crashed_at + CRASH_GAP, thawed_at).lost == 0
        assert result.between(thawed_at, now_ms()).largest_gap_ms < HANDOVER_GAP
        assert result.all_answered

    with stage.scenario.both_ways() as both_ways:
        started_at = now_ms()
        for service in everything:
            services.start(stage.lab, service)
        wait_for("everything knows who forwards", lambda: stage.reachable() and stage.at_rest())
        outbound, inbound = both_ways.stop()

    assert lost_after(outbound, started_at) == lost_after(inbound, started_at) == 0
    assert stage.scenario.states == {survivor: "active", crashed: "standby"}
