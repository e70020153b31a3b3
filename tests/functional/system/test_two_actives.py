"""Members that do not hear each other both become MASTER: one yields, for as long as it must and no longer."""

import time

import pytest

from haqn.lab import faults, services
from haqn.lab.scenery import wait_for
from haqn.lab.wires import Cut
from tests.functional.system.stage import CALM, Stage, watched

pytestmark = pytest.mark.functional

#: seconds; far less than it takes until neighbours ask anew
_SOON = 15.0


def yields(stage: Stage, host: str) -> bool:
    """The host's keepalived is told to be in FAULT."""
    found = stage.host(host).run(["cat", f"/run/haqn/pairs/{stage.pair}.yield"], check=False)
    return found.stdout.strip() not in ("", "0")


def has_given_way(stage: Stage, one: str, other: str) -> bool:
    """Only who is MASTER is told to yield; how long both forwarded is the bench's business."""
    return yields(stage, one) and stage.forwarders() == [other]


def test_members_that_do_not_hear_each_other(stage: Stage) -> None:
    active, standby = stage.active, stage.standby
    with stage.scenario.both_ways() as both_ways:
        faults.cut(stage.lab, active, Cut.HA)
        wait_for("the peer, which has taken over, yields", lambda: has_given_way(stage, standby, active))
        # switches have learnt that the designated one is meant, and not by the tenant's traffic alone
        began = time.monotonic()
        stage.scenario.until_vm_reaches_out()
        assert time.monotonic() - began < _SOON
        # another leader, and the agents' restarts, change nothing of it
        leader = stage.leading_monitor()
        services.stop(stage.lab, leader)
        services.restart(stage.lab, stage.agent(standby))
        seen = watched(3 * CALM, stage.forwarders)
        wait_for("another monitor leads", lambda: stage.is_led() and stage.leading_monitor() != leader)
        seen += watched(2 * CALM, stage.forwarders)
        assert {tuple(hosts) for hosts in seen} == {(active,)}
        faults.mend(stage.lab, active)
        wait_for("it stands by again", lambda: not yields(stage, standby))
        seen = watched(2 * CALM, stage.forwarders)
        assert {tuple(hosts) for hosts in seen} == {(active,)}
        outbound, inbound = both_ways.stop()
    assert outbound.all_answered
    assert inbound.all_answered


def test_one_that_yields_takes_over_when_its_peer_dies(stage: Stage) -> None:
    active, standby = stage.active, stage.standby
    faults.cut(stage.lab, active, Cut.HA)
    wait_for("the peer, which has taken over, yields", lambda: has_given_way(stage, standby, active))
    faults.crash(stage.lab, active)
    # nobody can know before the lease ends
    wait_for("the other one forwards", lambda: standby in stage.forwarders())
    stage.scenario.until_vm_reaches_out()
    faults.thaw(stage.lab, active)
    wait_for("the host that was dead claims nothing", lambda: stage.forwarders() == [standby])
