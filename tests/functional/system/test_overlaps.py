"""Tenants that are alike do not meet."""

from __future__ import annotations

import pytest

from haqn.lab import faults, vms
from haqn.lab.client import Resource
from haqn.lab.scenery import wait_for
from haqn.lab.spec import EXTERNAL_HOST
from tests.functional.system.stage import Stage
from tests.functional.system.test_routers import Pinger, soon

pytestmark = pytest.mark.functional

_CIDR, _GATEWAY, _VM = "10.75.0.0/24", "10.75.0.1", "10.75.0.9"
_ROUTER_MAC, _VM_MAC = "fa:16:3e:75:00:01", "fa:16:3e:75:00:09"


class Twin:
    """A tenant that has the same network, addresses and MACs as the other one, and a floating IP."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage, name
        client, owner = stage.client, {"project_id": name}
        self.network = client.create("network", {"name": name, **owner})
        subnet = {"network_id": self.network["id"], "ip_version": 4, "cidr": _CIDR, **owner}
        self.subnet = client.create("subnet", subnet)
        gateway = {"network_id": stage.scenario.external["id"]}
        self.router = client.create("router", {"name": name, "external_gateway_info": gateway, **owner})
        ours = {"network_id": self.network["id"], "mac_address": _ROUTER_MAC, **owner}
        interface = client.create("port", ours | {"fixed_ips": self._at(_GATEWAY)})
        path = f"/v2.0/routers/{self.router['id']}/add_router_interface"
        client.request("PUT", path, {"port_id": interface["id"]})
        self.vm = vms.add(
            stage.lab,
            client,
            name=name,
            host="cmp1",
            network_id=self.network["id"],
            mac_address=_VM_MAC,
            fixed_ips=self._at(_VM),
            **owner,
        )
        wanted = {"floating_network_id": stage.scenario.external["id"], "port_id": self.vm.port_id, **owner}
        self.floating_ip = client.create("floatingip", wanted)

    def _at(self, address: str) -> list[Resource]:
        return [{"subnet_id": self.subnet["id"], "ip_address": address}]

    def delete(self) -> None:
        self.stage.client.delete("floatingip", self.floating_ip["id"])
        vms.delete(self.stage.lab, self.stage.client, self.name)
        self.stage.delete_router(self.router["id"])
        self.stage.client.delete("network", self.network["id"])

    def pinger(self) -> Pinger:
        """From outside to the floating IP."""
        return Pinger(self.stage, EXTERNAL_HOST, self.floating_ip["floating_ip_address"])

    def reaching(self, address: str) -> Pinger:
        return Pinger(self.stage, self.vm.host, address, self.vm.namespace)

    def plug(self, state: str) -> None:
        self.stage.host(self.vm.host).ip(f"link set eth0 {state}", namespace=self.vm.namespace)
        if state == "up":
            self.stage.host(self.vm.host).ip(f"route replace default via {_GATEWAY}", namespace=self.vm.namespace)


def assert_apart(twins: list[Twin]) -> None:
    """Each floating IP leads to its own VM: when that one is unplugged, it alone is silent."""
    for one, other in (twins, twins[::-1]):
        one.plug("down")
        soon("its own VM is away", one.pinger().silent)
        soon("the other one's is not", other.pinger().answered)
        one.plug("up")
        soon("it answers again", one.pinger().answered)


def test_tenants_with_the_same_addresses_and_macs_do_not_meet(stage: Stage) -> None:
    scenery, world = stage.scenario.scenery, stage.lab.spec.external_gateway
    twins = [Twin(stage, name) for name in ("alpha", "beta")]
    ids = [twin.router["id"] for twin in twins]
    wait_for("both are redundant", lambda: scenery.are_redundant(ids))
    # on some host both are built, side by side
    assert set.intersection(*(set(scenery.states(router_id)) for router_id in ids))

    def all_reach(*addresses: str) -> None:
        for twin, other in (twins, twins[::-1]):
            soon("it answers", twin.pinger().answered)
            for address in (*addresses, _GATEWAY, other.floating_ip["floating_ip_address"]):
                soon("the VM reaches it", twin.reaching(address).answered)

    all_reach(world)
    assert_apart(twins)
    # the same on the other host
    first = scenery.host_in_state(ids[0], "active")
    faults.crash(stage.lab, first)
    wait_for("another one forwards", lambda: any(twin.pinger().answered() for twin in twins))
    all_reach(world)
    assert_apart(twins)
    faults.thaw(stage.lab, first)
    for twin in twins:
        twin.delete()
