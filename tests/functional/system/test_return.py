"""A host that comes back, again and again and in any order: it claims nothing, not even for a moment."""

import random
import time

import pytest

from haqn.lab import etcdctl, faults, services
from haqn.lab.reboots import Order, come_back
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import CALM, HANDOVER_GAP, Stage

pytestmark = pytest.mark.functional


def test_a_host_that_comes_back_again_and_again_claims_nothing(stage: Stage) -> None:
    """20 times and in every order: `make reboots`."""
    rhythm = random.Random(5)
    active, rebooted = stage.active, stage.standby
    macs = {port["mac_address"] for port in stage.client.find("port", device_id=stage.router_id)}
    with stage.scenario.both_ways() as both_ways:
        for order in (Order.LINK, Order.NOTHING):
            sent = come_back(stage.lab, rebooted, order, rhythm, stage.at_rest)
            assert not [frame for frame in sent if frame.sources & macs], order
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()
    assert stage.forwarders() == [active]
    for result in (outbound, inbound):
        assert result.largest_gap_ms < HANDOVER_GAP
        assert result.all_answered


def test_what_an_agent_has_left_in_etcd_is_not_taken_for_the_state_of_its_host(stage: Stage) -> None:
    """Of the lab itself: whoever waits for a host waits for the agent that runs there."""
    host = stage.standby
    faults.kill(stage.host(host), services.AGENT)
    assert host in etcdctl.unsettled(stage.lab, stage.hosts)
    assert etcdctl.pair_reports(stage.lab, host) == []
    services.start(stage.lab, stage.agent(host))
    wait_for("the new agent has carried out everything", lambda: not etcdctl.unsettled(stage.lab, stage.hosts))
    assert etcdctl.pair_reports(stage.lab, host)
