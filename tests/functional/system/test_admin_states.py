"""admin_state_up=false of a router, a network or a port shuts every host's kernel, the standby's too, and is undone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from haqn.agent import names
from haqn.lab import etcdctl
from haqn.lab.scenery import wait_for
from haqn.lab.spec import EXTERNAL_HOST
from haqn.model import CLOSED_GROUP
from tests.functional.system.stage import Stage
from tests.functional.system.test_l3 import gateway_port, tenant_network_id
from tests.functional.system.test_routers import Pinger, soon

pytestmark = pytest.mark.functional

#: host -> (device group of each of some ports; whether a bridge is up)
Kernels = dict[str, tuple[dict[str, str], bool]]

_SHUT = str(CLOSED_GROUP)


def kernels(stage: Stage, hosts: list[str], taps: list[str], bridge: str) -> Kernels:
    found = {}
    for name in hosts:
        links = {str(link["ifname"]): link for link in stage.host(name).query("link", "show")}
        groups = {tap: str(links[tap]["group"]) for tap in taps if tap in links}
        flags = links[bridge]["flags"]
        assert isinstance(flags, list)
        found[name] = (groups, "UP" in flags)
    return found


def test_what_is_down_is_down_in_the_kernels_of_both_members(stage: Stage) -> None:
    client, vm, lab = stage.client, stage.scenario.vm, stage.lab
    members = [stage.active, stage.standby]
    network_id = tenant_network_id(stage)
    (interface,) = client.find("port", device_id=stage.router_id, network_id=network_id)
    inner, outer = names.tap(interface["id"]), names.tap(gateway_port(stage)["id"])
    pingers = [
        Pinger(stage, vm.host, lab.spec.external_gateway, vm.namespace),
        Pinger(stage, EXTERNAL_HOST, vm.address),
    ]

    def now() -> Kernels:
        return kernels(stage, [*members, vm.host], [inner, outer, vm.tap], names.bridge(network_id))

    def with_shut(*taps: str, bridges_up: bool = True) -> Kernels:
        return {
            host: ({tap: _SHUT if tap in taps else group for tap, group in groups.items()}, bridges_up)
            for host, (groups, _) in before.items()
        }

    def all_have_reported() -> bool:
        return not etcdctl.unsettled(lab, [*members, vm.host])

    before = now()
    assert [set(before[host][0]) for host in members] == [{inner, outer}] * 2
    assert before != with_shut(inner)
    reloads = {host: stage.reloads(host) for host in members}
    down = (
        ("router", stage.router_id, with_shut(inner, outer)),
        ("port", interface["id"], with_shut(inner)),
        ("network", network_id, with_shut(bridges_up=False)),
        ("port", vm.port_id, with_shut(vm.tap)),
    )
    for kind, object_id, expected in down:
        client.update(kind, object_id, {"admin_state_up": False})
        soon(f"the kernels know that the {kind} is down", lambda expected=expected: now() == expected)
        with ThreadPoolExecutor() as at_once:  # each takes the whole second that it waits for an answer
            soon("nothing passes", lambda: all(at_once.map(Pinger.silent, pingers)))
        wait_for("all have reported", all_have_reported)
        assert now() == expected, "it stays so"
        client.update(kind, object_id, {"admin_state_up": True})
        soon(f"the kernels know that the {kind} is up", lambda: now() == before)
        soon("packets flow again", lambda: all(pinger.answered() for pinger in pingers))
        wait_for("all have reported", all_have_reported)
    assert {host: stage.reloads(host) for host in members} == reloads
    assert stage.forwarders() == members[:1], "nothing has moved"
