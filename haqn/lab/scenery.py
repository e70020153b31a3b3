"""What stories, measurements and tests are played in: networks, routers, VMs, and waiting for them.

Speaks to the lab as a user does, through the REST API, pings and etcdctl.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from haqn.exceptions import HostError
from haqn.lab import etcdctl
from haqn.lab.client import Client, Resource
from haqn.lab.cluster import Lab
from haqn.lab.probe import Probe, ProbeResult
from haqn.lab.spec import EXTERNAL_HOST, PHYSICAL_NETWORK
from haqn.model import VrrpState

_POLL = 0.1
#: how long a burst of pings takes, in seconds
_BURST = 0.2


def wait_for(what: str, condition: Callable[[], object], timeout: float = 60.0) -> float:
    """Wait until the condition holds; seconds it took. HostError, which says what did not come, after `timeout`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise HostError(f"cannot see that {what} within {timeout:g} s")
        time.sleep(_POLL)
    return time.monotonic() - began


class Scenery:
    """Networks and routers of one lab, made and watched through its API."""

    def __init__(self, lab: Lab, client: Client) -> None:
        self.lab = lab
        self.client = client

    # -- making -------------------------------------------------------------------------------

    def external_network(self) -> Resource:
        """A flat network on the physical network that every network host is connected to."""
        spec = self.lab.spec
        network = self.client.create(
            "network",
            {
                "name": "external",
                "router:external": True,
                "provider:network_type": "flat",
                "provider:physical_network": PHYSICAL_NETWORK,
            },
        )
        subnet = {"network_id": network["id"], "ip_version": 4, "cidr": spec.external_cidr}
        self.client.create("subnet", subnet | {"gateway_ip": spec.external_gateway, "enable_dhcp": False})
        return network

    def tenant_network(self, name: str, cidr: str) -> tuple[Resource, Resource]:
        """(network, subnet)"""
        network = self.client.create("network", {"name": name})
        return network, self.client.create("subnet", {"network_id": network["id"], "ip_version": 4, "cidr": cidr})

    def router(self, name: str, external_id: str, subnet_ids: Iterable[str] = (), **attributes: object) -> Resource:
        """A router with a gateway and with interfaces."""
        gateway = {"network_id": external_id}
        router = self.client.create("router", {"name": name, "external_gateway_info": gateway, **attributes})
        for subnet_id in subnet_ids:
            self.client.add_interface(router["id"], subnet_id)
        return router

    # -- watching -----------------------------------------------------------------------------

    def states(self, router_id: str) -> dict[str, str]:
        """Host -> ha_state of the agents that host the router."""
        return {agent["host"]: agent["ha_state"] for agent in self.client.hosting_agents(router_id)}

    def host_in_state(self, router_id: str, state: str) -> str:
        """The host whose agent is in that ha_state for the router."""
        for host, seen in self.states(router_id).items():
            if seen == state:
                return host
        raise HostError(f"cannot find the {state} agent of router {router_id}: {self.states(router_id)}")

    def is_redundant(self, router_id: str, *, without: str = "") -> bool:
        """An active and a standby agent, both of which have built everything, and neither on host `without`."""
        return self.are_redundant([router_id], without=without)

    def are_redundant(self, router_ids: Iterable[str], *, without: str = "") -> bool:
        """The same of several routers."""
        hosts: set[str] = set()
        for router_id in router_ids:
            states = self.states(router_id)
            if without in states or sorted(states.values()) != ["active", "standby"]:
                return False
            hosts.update(states)
        return not etcdctl.unsettled(self.lab, sorted(hosts))

    def masters_on(self, host: str) -> list[int]:
        """Pairs of which the host's keepalived says that it is MASTER."""
        reports = etcdctl.pair_reports(self.lab, host)
        return [report.pair_id for report in reports if report.state is VrrpState.MASTER]

    def until_answered(
        self,
        host: str,
        targets: Sequence[str],
        namespace: str | None = None,
        *,
        interval_ms: float = 20,
        timeout: float = 30.0,
    ) -> ProbeResult:
        """Ping until every target answers; HostError if that takes too long."""
        deadline = time.monotonic() + timeout
        while True:
            with Probe(self.lab.host(host), targets, namespace=namespace, interval_ms=interval_ms) as probe:
                time.sleep(_BURST)
                result = probe.stop()
            if result.all_answered:
                return result
            if time.monotonic() > deadline:
                silent = [target.target for target in result.targets if not target.answered]
                raise HostError(f"cannot reach {', '.join(silent)} from {host} within {timeout:g} s")

    def until_answered_outside(self, targets: Sequence[str], *, interval_ms: float = 20) -> ProbeResult:
        """The same from the external host."""
        return self.until_answered(EXTERNAL_HOST, targets, interval_ms=interval_ms)
