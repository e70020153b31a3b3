"""From REST to packets: what is asked for through the API is what a VM sees."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from haqn.agent import names
from haqn.lab import lookup, vms
from haqn.lab.scenery import wait_for
from haqn.lab.spec import EXTERNAL_HOST
from tests.functional.system.stage import Stage

pytestmark = pytest.mark.functional

#: seconds within which a change through the API is carried out, on a machine that is busy; how long it really takes is
#: in the bench
_SOON = 30.0


class Pinger:
    """Pings one address from one place."""

    def __init__(self, stage: Stage, host: str, address: str, namespace: str | None = None) -> None:
        self._host = stage.host(host)
        self._namespace = namespace
        self._command = ["ping", "-n", "-q", "-c", "1", "-W", "1", address]

    def answered(self) -> bool:
        return self._host.run(self._command, namespace=self._namespace, check=False).returncode == 0

    def silent(self) -> bool:
        return not self.answered()


def soon(what: str, look: Callable[[], bool]) -> None:
    wait_for(what, look, _SOON)


def test_the_life_of_a_router(stage: Stage) -> None:
    client, scenery, lab = stage.client, stage.scenario.scenery, stage.lab
    network, subnet = scenery.tenant_network("life", "10.72.0.0/24")
    vm = vms.add(lab, client, name="life", host="cmp1", network_id=network["id"])
    router = client.create("router", {"name": "life"})
    client.add_interface(router["id"], subnet["id"])
    gateway = {"external_gateway_info": {"network_id": stage.scenario.external["id"]}}
    router = client.update("router", router["id"], gateway)
    soon("it is ACTIVE", lambda: stage.is_active(router))
    wait_for("its members are ready", lambda: scenery.is_redundant(router["id"]))
    members = sorted(scenery.states(router["id"]))
    assert [host for host in stage.hosts if stage.devices_of(host, router["id"])] == members
    soon("the VM's port is ACTIVE", lambda: client.show("port", vm.port_id)["status"] == "ACTIVE")

    out = Pinger(stage, vm.host, lab.spec.external_gateway, vm.namespace)
    to_router = Pinger(stage, EXTERNAL_HOST, lookup.external_address(router))
    to_interface = Pinger(stage, vm.host, str(vm.gateway), vm.namespace)
    for pinger in (out, to_router, to_interface):
        soon("packets flow", pinger.answered)

    client.update("router", router["id"], {"admin_state_up": False})
    for pinger in (out, to_router, to_interface):
        soon("a router that is down is silent", pinger.silent)
    client.update("router", router["id"], {"admin_state_up": True})
    for pinger in (out, to_router, to_interface):
        soon("packets flow again", pinger.answered)

    (qg,) = client.find("port", device_id=router["id"], device_owner="network:router_gateway")
    client.update("router", router["id"], {"external_gateway_info": {}})
    for pinger in (out, to_router):
        soon("there is no way out", pinger.silent)
    assert to_interface.answered()
    soon("the port is gone", lambda: not any(stage.devices_of(host, names.tap(qg["id"])) for host in stage.hosts))
    client.update("router", router["id"], gateway)
    soon("there is a way out", out.answered)

    client.request("PUT", f"/v2.0/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})
    soon("the VM's router is gone", to_interface.silent)
    soon("no bridge is left", lambda: not any(stage.devices_of(h, names.bridge(network["id"])) for h in stage.hosts))
    client.delete("router", router["id"])
    soon("no namespace is left", lambda: not any(stage.devices_of(host, router["id"]) for host in stage.hosts))

    assert stage.devices_of(vm.host, vm.tap)
    assert stage.devices_of(vm.host, names.bridge(network["id"]))
    vms.delete(lab, client, "life")
    soon("no bridge is left", lambda: not stage.devices_of(vm.host, names.bridge(network["id"])))
    assert not stage.devices_of(vm.host, vm.tap)
    client.delete("subnet", subnet["id"])
    client.delete("network", network["id"])
    assert not [host for host in [*stage.hosts, vm.host] for port in (qg["id"],) if stage.devices_of(host, port[:11])]
