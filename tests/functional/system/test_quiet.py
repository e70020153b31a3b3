"""Routers come, change and go: keepalived is not reloaded, and hosts that have nothing to do with them sleep on."""

import pytest

from haqn.lab.scenery import wait_for
from tests.functional.system.stage import Stage

pytestmark = pytest.mark.functional


def test_routers_reload_no_keepalived_and_wake_only_their_agents(stage: Stage) -> None:
    scenery, client = stage.scenario.scenery, stage.client
    external = stage.scenario.external["id"]
    # as many routers as there can be pairs of three hosts in two roles: the next router finds its pair
    with stage.scenario.both_ways() as both_ways:
        first = [scenery.router(f"first-{number}", external) for number in range(6)]
        wait_for("they are carried out", lambda: all(map(stage.is_active, first)))
        wait_for(
            "pairs are settled", lambda: stage.at_rest() and scenery.are_redundant(router["id"] for router in first)
        )
        outbound, inbound = both_ways.stop()
    # pairs that are new do reload keepalived, and that costs nothing either
    assert (outbound.lost, inbound.lost) == (0, 0)
    footprints = {host: (stage.footprint(host).keepalived, stage.footprint(host).configuration) for host in stage.hosts}
    reloads = {host: stage.reloads(host) for host in stage.hosts}
    assert sum(reloads.values()) > 0
    revisions = {host: stage.revisions(host) for host in stage.hosts}

    _, subnet = scenery.tenant_network("quiet", "10.71.0.0/24")
    router = scenery.router("quiet", external, [subnet["id"]])
    wait_for("it is carried out", lambda: stage.is_active(router) and scenery.is_redundant(router["id"]))
    (unconcerned,) = set(stage.hosts) - set(scenery.states(router["id"]))
    concerned = sorted(set(stage.hosts) - {unconcerned})
    assert all(stage.revisions(host) != revisions[host] for host in concerned)
    client.update("router", router["id"], {"admin_state_up": False})
    client.update("router", router["id"], {"admin_state_up": True, "external_gateway_info": {}})
    wait_for("the change is carried out", lambda: scenery.is_redundant(router["id"]))
    client.request("PUT", f"/v2.0/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})
    client.delete("router", router["id"])
    wait_for("it is gone", lambda: not any(stage.devices_of(host, router["id"]) for host in stage.hosts))

    assert stage.revisions(unconcerned) == revisions[unconcerned]
    assert {host: stage.reloads(host) for host in stage.hosts} == reloads
    assert footprints == {
        host: (stage.footprint(host).keepalived, stage.footprint(host).configuration) for host in stage.hosts
    }
    for one in first:
        client.delete("router", one["id"])
