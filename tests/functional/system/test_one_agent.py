"""A cluster begins with one agent: its routers work, and get a standby as soon as there is a second one."""

import time

import pytest

from haqn.coordination import keys
from haqn.documents import RouterDocument, decode
from haqn.lab import etcdctl, services
from haqn.lab.client import Client
from haqn.lab.scenery import wait_for
from haqn.lab.spec import LabSpec
from tests.functional.system.stage import CALM, TTL, Stage, lab_name

pytestmark = pytest.mark.functional


def test_a_second_agent_makes_a_pair_and_costs_no_packet() -> None:
    stage = Stage(lab_name("b"), LabSpec(hosts=2, computes=1, lease_ttl=2))
    try:
        stage.build()
        services.stop(stage.lab, stage.agent("net2"))
        wait_for("the second agent's lease has ended", lambda: not stage.heartbeat_lease("net2"), 4 * TTL)
        with Client(stage.lab.spec.api_url) as client:
            stage.make_tenant(client)
            (alone,) = etcdctl.get(stage.lab, keys.desired_router("net1", stage.router_id))
            assert decode(alone.value, RouterDocument).pair_id is None
            assert stage.scenario.states == {"net1": "active"}

            with stage.scenario.both_ways() as both_ways:
                time.sleep(CALM)
                services.start(stage.lab, stage.agent("net2"))
                wait_for("there is a pair", stage.at_rest)
                time.sleep(CALM)
                outbound, inbound = both_ways.stop()

            assert (outbound.lost, inbound.lost) == (0, 0)
            assert stage.scenario.states == {"net1": "active", "net2": "standby"}
    finally:
        stage.close()
    assert stage.lab.remains() == []
