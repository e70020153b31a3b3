"""Uplinks that have a carrier and lead nowhere: traffic moves to a host whose uplink works, and only there."""

from __future__ import annotations

import time

import pytest

from haqn.documents import PairReport, decode
from haqn.lab import etcdctl, faults
from haqn.lab.scenery import wait_for
from haqn.lab.spec import EXTERNAL_HOST, UPLINK
from haqn.lab.wires import Cut, Way
from tests.functional.system.stage import CALM, Stage, watched

pytestmark = pytest.mark.functional

#: seconds from a cut to the move: three probes, then four more intervals, on a machine that is busy
_MOVE = 60.0
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


def test_nothing_moves_when_the_target_of_everybody_is_gone(stage: Stage) -> None:
    """The provider's router dies, for all hosts at once: no host's probes say anything of its own uplink."""
    members, pair = {stage.active, stage.standby}, stage.pair
    spec, outside = stage.lab.spec, stage.host(EXTERNAL_HOST)
    target = f"{spec.external_gateway}/{spec.external_cidr.partition('/')[2]} dev {UPLINK}"

    def reports() -> dict[str, PairReport]:
        found = {host: etcdctl.get(stage.lab, etcdctl.pairs_observed(host)) for host in members}
        decoded = {host: [decode(entry.value, PairReport) for entry in entries] for host, entries in found.items()}
        return {host: next(one for one in mine if one.pair_id == pair) for host, mine in decoded.items()}

    def transitions() -> dict[str, int]:
        return {host: report.sequence for host, report in reports().items()}

    def dead() -> list[bool]:
        return [bool(report.dead_uplinks) for report in reports().values()]

    before, forwarders = transitions(), stage.forwarders()
    assert dead() == [False, False]
    outside.ip(f"address delete {target}")
    try:
        wait_for("both members miss the target", lambda: all(dead()))
        # by now both count it, and whatever moves traffic has been said
        seen = watched(CALM, stage.forwarders)
        assert transitions() == before, "neither has so much as thought of it"
    finally:
        outside.ip(f"address add {target}")
        stage.scenario.route_to_tenant()
    wait_for("both members see it again", lambda: not any(dead()))
    seen += watched(CALM, stage.forwarders)
    assert {tuple(hosts) for hosts in seen} == {tuple(forwarders)}
    assert transitions() == before
    stage.scenario.until_vm_reaches_out()
