"""Routers come, change and go: keepalived is not reloaded, and hosts that have nothing to do with them sleep on."""

from typing import NamedTuple

import pytest

from haqn.coordination import keys
from haqn.lab import etcdctl
from haqn.lab.client import Resource
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import Stage

pytestmark = pytest.mark.functional


class Look(NamedTuple):
    """What must not change on the hosts, and what must not change for those that have nothing to do."""

    keepalived: dict[str, tuple[list[int], list[str], int]]
    revisions: dict[str, dict[str, int]]


def look(stage: Stage) -> Look:
    prints = stage.footprints()
    return Look(
        {host: (prints[host].keepalived, prints[host].configuration, stage.reloads(host)) for host in stage.hosts},
        {host: stage.revisions(host) for host in stage.hosts},
    )


def pairs(stage: Stage) -> set[str]:
    return {entry.key for entry in etcdctl.get(stage.lab, keys.DESIRED) if "/pairs/" in entry.key}


def create_until_pairs_are_enough(stage: Stage) -> tuple[list[Resource], Look]:
    """Routers, the last of which found its pair waiting; and what there was to see before that one."""
    scenery, routers = stage.scenario.scenery, []
    while True:
        stage.wait_until_quiet()
        known, before = pairs(stage), look(stage)
        _, subnet = scenery.tenant_network(f"quiet-{len(routers)}", f"10.71.{len(routers)}.0/24")
        router = scenery.router(f"quiet-{len(routers)}", stage.scenario.external["id"], [subnet["id"]])
        wait_for("it is carried out", lambda router=router: scenery.is_redundant(router["id"]))
        routers.append(router)
        if pairs(stage) == known:
            return routers, before
        assert len(routers) <= len(stage.hosts) * (len(stage.hosts) - 1)


def test_routers_reload_no_keepalived_and_wake_only_their_agents(stage: Stage) -> None:
    client, states = stage.client, stage.scenario.scenery.states
    with stage.scenario.both_ways() as both_ways:
        routers, before = create_until_pairs_are_enough(stage)
        outbound, inbound = both_ways.stop()
    # new pairs do reload keepalived, and that costs nothing either
    assert (outbound.lost, inbound.lost) == (0, 0)
    assert sum(stage.reloads(host) for host in stage.hosts) > 0
    router = routers[-1]["id"]
    (unconcerned,) = set(stage.hosts) - set(states(router))
    created = look(stage)
    assert created.keepalived == before.keepalived
    assert [host for host in stage.hosts if created.revisions[host] == before.revisions[host]] == [unconcerned]

    client.update("router", router, {"admin_state_up": False})
    client.update("router", router, {"admin_state_up": True, "external_gateway_info": {}})
    wait_for("the change is carried out", lambda: stage.scenario.scenery.is_redundant(router))
    changed = look(stage)
    assert changed.keepalived == before.keepalived
    assert [host for host in stage.hosts if changed.revisions[host] == created.revisions[host]] == [unconcerned]

    stage.delete_router(router)
    wait_for("it is gone", lambda: not any(stage.devices_of(host, router) for host in stage.hosts))
    wait_for("the hosts have reported that", lambda: not etcdctl.unsettled(stage.lab, stage.hosts))
    deleted = look(stage)
    assert deleted.keepalived == before.keepalived
    assert deleted.revisions[unconcerned] == before.revisions[unconcerned]
    for other in routers[:-1]:
        stage.delete_router(other["id"])
