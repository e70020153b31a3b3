"""What chaos is played in: a lab with several routers, VMs on two of them, and all that is known of their ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from haqn.agent import names
from haqn.lab import lookup, services, vms
from haqn.lab.chaos.traffic import Routed
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.scenery import Scenery, wait_for
from haqn.lab.spec import EXTERNAL_HOST, Kind, LabSpec

#: leases are short, so that faults outlast them
SPEC = LabSpec(hosts=4, computes=2, etcd=3, lease_ttl=6, advert_ms=100)
ROUTERS = 4
_GATEWAY_OWNER = "network:router_gateway"


@dataclass(frozen=True, slots=True)
class World:
    """The routers that are watched; others may come and go."""

    lab: Lab
    external_id: str
    routed: list[Routed]
    #: router id -> MAC -> device of the port on the hosts
    taps: Mapping[str, Mapping[str, str]]

    @property
    def hosts(self) -> list[str]:
        """The network hosts."""
        return [host.name for host in self.lab.spec.of_kind(Kind.NETWORK)]


def build(lab: Lab, spec: LabSpec, routers: int) -> World:
    """Build the lab, start everything, and wait until all routers forward and are redundant."""
    lab.build(spec)
    services.start_all(lab)
    with Client(lab.spec.api_url) as client:
        scenery = Scenery(lab, client)
        external = scenery.external_network()
        routed = [_routed(lab, client, scenery, external["id"], number) for number in range(1, routers + 1)]
        taps = {one.router_id: _taps(client, one.router_id) for one in routed}
        scenery.until_answered_outside([address for one in routed for address in one.addresses])
        for one in routed:
            if one.vm is not None:
                scenery.until_answered(one.vm.host, [lab.spec.external_gateway], one.vm.namespace)
        wait_for("the routers are redundant", lambda: scenery.are_redundant([one.router_id for one in routed]))
    return World(lab, external["id"], routed, taps)


def _routed(lab: Lab, client: Client, scenery: Scenery, external_id: str, number: int) -> Routed:
    """A router with a network; the first two have a VM, and the second one no source NAT."""
    name, cidr = f"r{number}", f"10.77.{number}.0/24"
    network, subnet = scenery.tenant_network(name, cidr)
    stateless = number == 2
    gateway = {"network_id": external_id, "enable_snat": not stateless}
    router = client.create("router", {"name": name, "external_gateway_info": gateway})
    client.add_interface(router["id"], subnet["id"])
    address = lookup.external_address(router)
    computes = lab.spec.of_kind(Kind.COMPUTE)
    if number > 2:
        return Routed(router["id"], name, (address,))
    host = computes[number % len(computes)].name
    vm = vms.add(lab, client, name=f"vm{number}", host=host, network_id=network["id"])
    lab.host(EXTERNAL_HOST).ip(f"route replace {cidr} via {address}")
    return Routed(router["id"], name, (address, vm.address), vm, stateless)


def _taps(client: Client, router_id: str) -> dict[str, str]:
    return {port["mac_address"]: names.tap(port["id"]) for port in client.find("port", device_id=router_id)}
