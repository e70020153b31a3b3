"""A tenant in a lab: a network with a VM, a router with a gateway, and pings through it in both directions."""

from __future__ import annotations

from haqn.lab import lookup, vms
from haqn.lab.client import Client, Resource
from haqn.lab.cluster import Lab
from haqn.lab.probe import BothWays, ProbeResult
from haqn.lab.scenery import Scenery
from haqn.lab.spec import EXTERNAL_HOST, Kind

_CIDR = "10.77.0.0/24"


class Scenario:
    """One external network and one tenant, made through the REST API; more routers on demand."""

    def __init__(self, lab: Lab, client: Client) -> None:
        self.lab = lab
        self.scenery = Scenery(lab, client)
        self.external = self.scenery.external_network()
        network, subnet = self.scenery.tenant_network("tenant", _CIDR)
        compute = lab.spec.of_kind(Kind.COMPUTE)[0].name
        self.vm = vms.add(lab, client, name="vm1", host=compute, network_id=network["id"])
        self.router = self.scenery.router("tenant", self.external["id"], [subnet["id"]])
        #: addresses that the external host pings: the router's and the VM's
        self.inbound = [lookup.external_address(self.router), self.vm.address]

    def route_to_tenant(self) -> None:
        """Let the external host reach the VM by its own address, through the router."""
        self.lab.host(EXTERNAL_HOST).ip(f"route replace {_CIDR} via {self.inbound[0]}")

    def add_router(self, number: int) -> Resource:
        """One more router with a gateway and a network of its own; `number` is 1..65535."""
        _, subnet = self.scenery.tenant_network(f"many-{number}", f"10.{78 + number // 256}.{number % 256}.0/24")
        return self.scenery.router(f"many-{number}", self.external["id"], [subnet["id"]])

    @property
    def active(self) -> str:
        """The host that forwards for the tenant."""
        return self.scenery.host_in_state(self.router["id"], "active")

    @property
    def standby(self) -> str:
        """The host that stands by for the tenant."""
        return self.scenery.host_in_state(self.router["id"], "standby")

    @property
    def states(self) -> dict[str, str]:
        """Host -> ha_state of the agents that host the tenant's router."""
        return self.scenery.states(self.router["id"])

    def is_redundant(self, *, without: str = "") -> bool:
        """The tenant's router has an active and a standby agent that are ready, neither on host `without`."""
        return self.scenery.is_redundant(self.router["id"], without=without)

    def until_vm_reaches_out(self) -> ProbeResult:
        """Until the VM's pings to the external host are answered."""
        return self.scenery.until_answered(self.vm.host, [self.lab.spec.external_gateway], self.vm.namespace)

    def both_ways(self) -> BothWays:
        """Start pinging VM -> external host, and external host -> router and VM."""
        return BothWays(self.lab, self.vm, self.inbound)
