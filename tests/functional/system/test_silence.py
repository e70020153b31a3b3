"""A host that stands by sends no frame with a router's MAC, not even for a moment."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from haqn.lab import lookup
from haqn.lab.capture import Capture
from haqn.lab.client import Resource
from haqn.lab.scenery import wait_for
from haqn.lab.spec import UNDER, UPLINK
from tests.functional.system.stage import CALM, Stage

pytestmark = pytest.mark.functional


def macs(stage: Stage, router: Resource) -> set[str]:
    """The MACs of the router's ports."""
    return {port["mac_address"] for port in stage.client.find("port", device_id=router["id"])}


def test_only_the_active_host_speaks_for_a_router(stage: Stage) -> None:
    scenery = stage.scenario.scenery
    with ExitStack() as stack:
        captures = {
            (host, link): stack.enter_context(Capture(stage.lab, host, link))
            for host in stage.hosts
            for link in (UNDER, UPLINK)
        }
        both_ways = stack.enter_context(stage.scenario.both_ways())
        # a router that is made meanwhile, most likely on another pair
        _, subnet = scenery.tenant_network("silent", "10.70.0.0/24")
        router = scenery.router("silent", stage.scenario.external["id"], [subnet["id"]])
        scenery.until_answered_outside([lookup.external_address(router)])
        wait_for("both members have built it", lambda: scenery.is_redundant(router["id"]))
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()
        sent = {where: capture.stop() for where, capture in captures.items()}

    assert (outbound.lost, inbound.lost) == (0, 0)
    seen = {where: set().union(*(frame.sources for frame in frames)) for where, frames in sent.items()}
    for one in (stage.scenario.router, router):
        active = scenery.host_in_state(one["id"], "active")
        assert seen[active, UPLINK] & macs(stage, one)
        for (host, link), sources in seen.items():
            assert host == active or not sources & macs(stage, one), f"{host} {link}"
    # every capture of a host's first link has worked: agents speak to etcd there
    assert all(seen[host, UNDER] for host in stage.hosts)
    # tunnels were looked into: this is where the tenant's VM is answered from
    assert seen[stage.active, UNDER] & macs(stage, stage.scenario.router)
    stage.delete_router(router["id"])
