"""Uplinks that have a carrier and lead nowhere: traffic moves to a host whose uplink works, and only there."""

import time

import pytest

from haqn.lab import faults
from haqn.lab.scenery import wait_for
from haqn.lab.wires import Cut, Way
from tests.functional.system.stage import CALM, Stage, watched

pytestmark = pytest.mark.functional

#: seconds from a cut to the move: three probes, then four more intervals, on a busy machine
_MOVE = 15.0
#: seconds in which a verdict would have moved something: that a target is silent, and that it answers again
_SILENT, _ANSWERS = 6.0, 4.0


def cut_silently(stage: Stage, host: str) -> None:
    for way in (Way.IN, Way.OUT):
        faults.cut(stage.lab, host, Cut.UPLINK, way)


def test_traffic_moves_to_the_better_uplink_and_nowhere_when_both_are_dead(stage: Stage) -> None:
    active, standby = stage.active, stage.standby
    cut_silently(stage, active)
    wait_for("the gate has moved", lambda: stage.forwarders() == [standby], _MOVE)
    # now the probes of both fail: there is no better one
    cut_silently(stage, standby)
    seen = watched(_SILENT, stage.forwarders)
    for host in (active, standby):
        faults.mend(stage.lab, host)
    with stage.scenario.both_ways() as both_ways:
        seen += watched(_ANSWERS, stage.forwarders)
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()
    assert {tuple(hosts) for hosts in seen} == {(standby,)}
    assert outbound.all_answered
    assert inbound.all_answered
    wait_for("roles have followed", lambda: stage.scenario.states == {standby: "active", active: "standby"})
