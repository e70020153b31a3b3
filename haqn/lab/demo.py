"""The story of haqn in two minutes, on real parts: a cluster, a router, a crash, a new standby, a
host that comes back, a switchover, and one more crash with fifty routers. Every step is measured.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

from haqn.documents import PairReport, decode
from haqn.exceptions import HaqnError, HostError
from haqn.lab import etcdctl, faults, lookup, services, vms
from haqn.lab.client import Client, Resource
from haqn.lab.cluster import Lab
from haqn.lab.probe import BothWays, Probe, ProbeResult, now_ms
from haqn.lab.scoreboard import Scoreboard
from haqn.lab.spec import EXTERNAL_HOST, PHYSICAL_NETWORK, Kind, LabSpec
from haqn.model import VrrpState

_SPEC = LabSpec(hosts=3, computes=1, lease_ttl=5, advert_ms=100)
_TENANT_CIDR = "10.77.0.0/24"
_MANY = 50
_SAMPLE = 20
#: limits: those of the project's first issue
_CRASH_GAP_MS = 500.0
_SWITCHOVER_GAP_MS = 150.0
#: a lease lives at most about twice its TTL, then there is planning, building and the first adverts
_REDUNDANT_S = 25.0
_FORWARDING_S = 10.0
_MANY_READY_S = 30.0
#: a probe goes on for so long before and after what it watches, in seconds
_CALM = 1.0
_POLL = 0.1


def run(name: str) -> int:
    """Tell the story; 0 only if every step held. The lab is gone afterwards, whatever happened."""
    board = Scoreboard()
    lab = Lab(name)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        _Story(lab, board).tell()
    except (HaqnError, OSError) as error:
        board.exactly("the story was told to its end", f"no: {error}", "yes")
    except KeyboardInterrupt:
        board.exactly("the story was told to its end", "no: interrupted", "yes")
    finally:
        board.say("cluster down")
        lab.destroy()
        signal.signal(signal.SIGTERM, previous)
    board.exactly("hosts and links left of the lab", len(lab.remains()), 0)
    print(f"\n{board.table()}\n\n{time.monotonic() - board.began:.0f} s; logs are in {lab.work_dir}")
    print("every step held" if board.all_held else "NOT every step held")
    return 0 if board.all_held else 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Story:
    """The steps, in their order; each leaves the cluster working for the next one."""

    def __init__(self, lab: Lab, board: Scoreboard) -> None:
        self.lab = lab
        self.board = board

    def tell(self) -> None:
        self._bring_up()
        with Client(self.lab.spec.api_url) as client:
            self.client = client
            self._make_router()
            self._show_leases()
            crashed = self._crash_the_active()
            self._heal(crashed)
            self._switch_over()
            self._crash_with_many()

    # -- steps ---------------------------------------------------------------------------

    def _bring_up(self) -> None:
        self.board.say(
            f"cluster up: {_SPEC.hosts} network hosts, {_SPEC.computes} compute host, leases {_SPEC.lease_ttl} s"
        )
        began = time.monotonic()
        self.lab.build(_SPEC)
        services.start_all(self.lab, lambda what: self.board.say(f"  {what}"))
        self.board.at_most("cluster up, all agents alive", time.monotonic() - began, 60, "s")

    def _make_router(self) -> None:
        self.board.say("through the REST API: external and tenant network, router with a gateway, VM")
        client, spec = self.client, self.lab.spec
        self.external = client.create(
            "network",
            {
                "name": "external",
                "router:external": True,
                "provider:network_type": "flat",
                "provider:physical_network": PHYSICAL_NETWORK,
            },
        )
        client.create(
            "subnet",
            {
                "network_id": self.external["id"],
                "ip_version": 4,
                "cidr": spec.external_cidr,
                "gateway_ip": spec.external_gateway,
                "enable_dhcp": False,
            },
        )
        network = client.create("network", {"name": "tenant"})
        subnet = client.create("subnet", {"network_id": network["id"], "ip_version": 4, "cidr": _TENANT_CIDR})
        compute = spec.of_kind(Kind.COMPUTE)[0].name
        self.vm = vms.add(self.lab, client, name="vm1", host=compute, network_id=network["id"])
        posted = time.monotonic()
        self.router = self._create_router("demo", subnet["id"])
        outbound = self._until_answered(compute, [spec.external_gateway], self.vm.namespace)
        self.board.at_most("first router forwards after its POST", time.monotonic() - posted, _FORWARDING_S, "s")
        # the external host has no route to the tenant network: that answers arrive is SNAT at work
        self.board.exactly(
            "VM -> external host, with SNAT", "answered" if outbound.all_answered else "silent", "answered"
        )
        address = lookup.external_address(self.router)
        self.lab.host(EXTERNAL_HOST).ip(f"route replace {_TENANT_CIDR} via {address}")
        self.inbound = [address, self.vm.address]
        inbound = self._until_answered(EXTERNAL_HOST, self.inbound)
        self.board.exactly("external host -> router and VM: answered", inbound.all_answered, wanted=True)
        self._wait("the router has a standby", lambda: self._is_redundant(self.router["id"], without=""))

    def _show_leases(self) -> None:
        self.board.say("etcdctl get --prefix /haqn/v1/agents; etcdctl lease timetolive")
        entries = etcdctl.get(self.lab, etcdctl.AGENTS)
        for entry in entries:
            self.board.say(
                f"    {entry.key}  lease {entry.lease:x}, {etcdctl.time_to_live(self.lab, entry.lease)} s left"
            )
        leases = sum(entry.lease != 0 for entry in entries)
        self.board.exactly("agents with a lease", leases, _SPEC.hosts + _SPEC.computes)

    def _crash_the_active(self) -> str:
        active = self._host_in_state(self.router["id"], "active")
        self.board.say(f"{active} crashes: it carries the router, its links go down and its processes freeze")
        with BothWays(self.lab, self.vm, self.inbound) as both_ways:
            time.sleep(_CALM)
            crashed_at = now_ms()
            faults.crash(self.lab, active)
            self._wait("a new standby", lambda: self._is_redundant(self.router["id"], without=active))
            redundant_at = now_ms()
            time.sleep(_CALM)
            outbound, inbound = both_ways.stop()
        self.board.at_most("host crash: VM -> external, largest gap", outbound.largest_gap_ms, _CRASH_GAP_MS, "ms")
        self.board.at_most(
            "host crash: external -> router, VM, largest gap", inbound.largest_gap_ms, _CRASH_GAP_MS, "ms"
        )
        after = (redundant_at - crashed_at) / 1000
        self.board.at_most("new standby bound and ready after the crash", after, _REDUNDANT_S, "s")
        # the survivor forwards a while before the lease ends, and that is when the replacement begins
        lost = sum(
            result.between(crashed_at + 2 * _CRASH_GAP_MS, redundant_at + _CALM * 1000).lost
            for result in (outbound, inbound)
        )
        self.board.exactly("packets that the new standby cost", lost, 0)
        return active

    def _heal(self, host: str) -> None:
        self.board.say(f"{host} comes back, and still believes that it is the active one")
        with BothWays(self.lab, self.vm, self.inbound) as both_ways:
            time.sleep(_CALM)
            faults.thaw(self.lab, host)
            services.wait_for_agents(self.lab)
            self._wait(f"{host} stands by", lambda: not self._masters_on(host))
            time.sleep(2 * _CALM)
            outbound, inbound = both_ways.stop()
        gap = max(outbound.largest_gap_ms, inbound.largest_gap_ms)
        self.board.at_most("host back: largest gap", gap, _SWITCHOVER_GAP_MS, "ms")
        self.board.exactly("host back: pairs that it claims", len(self._masters_on(host)), 0)

    def _switch_over(self) -> None:
        router = self.router["id"]
        old, new = (self._host_in_state(router, state) for state in ("active", "standby"))
        pair = etcdctl.pair_of(self.lab, router)
        self.board.say(f"planned switchover of pair {pair}, from {old} to {new}")
        with BothWays(self.lab, self.vm, self.inbound) as both_ways:
            time.sleep(_CALM)
            services.manage(self.lab, "switchover", str(pair))
            self._wait(f"{new} is active", lambda: self._states(router) == {new: "active", old: "standby"})
            time.sleep(_CALM)
            outbound, inbound = both_ways.stop()
        gap = max(outbound.largest_gap_ms, inbound.largest_gap_ms)
        self.board.at_most("planned switchover: largest gap", gap, _SWITCHOVER_GAP_MS, "ms")

    def _crash_with_many(self) -> None:
        self.board.say(f"{_MANY} routers, each with a gateway and a network")
        began = time.monotonic()
        routers = [self.router, *(self._create_router_with_network(number) for number in range(1, _MANY))]
        addresses = {router["id"]: lookup.external_address(router) for router in routers}
        self._until_answered(EXTERNAL_HOST, list(addresses.values()), interval_ms=50)
        self.board.at_most(f"{_MANY} routers created and forwarding", time.monotonic() - began, _MANY_READY_S, "s")
        self._wait("every router has a standby", lambda: all(self._is_redundant(one, without="") for one in addresses))
        active = {router: self._host_in_state(router, "active") for router in addresses}
        host, count = Counter(active.values()).most_common(1)[0]
        sample = [addresses[router] for router in addresses if active[router] == host][:_SAMPLE]
        self.board.say(f"{host} crashes: it carries {count} of them, {len(sample)} are pinged")
        with Probe(self.lab.host(EXTERNAL_HOST), sample) as probe:
            time.sleep(_CALM)
            crashed_at = now_ms()
            faults.crash(self.lab, host)
            self._wait(
                "every router has a standby again",
                lambda: all(self._is_redundant(one, without=host) for one in addresses),
            )
            redundant_at = now_ms()
            time.sleep(_CALM)
            result = probe.stop()
        self.board.at_most(f"crash with {count} routers: largest gap", result.largest_gap_ms, _CRASH_GAP_MS, "ms")
        self.board.exactly(
            "routers of the sample that answer", sum(one.answered for one in result.targets), len(sample)
        )
        after = (redundant_at - crashed_at) / 1000
        self.board.at_most(f"new standbys for all {_MANY} ready", after, _REDUNDANT_S, "s")
        lost = result.between(crashed_at + 2 * _CRASH_GAP_MS, redundant_at + _CALM * 1000).lost
        self.board.exactly("packets that the new standbys cost", lost, 0)

    # -- asking and waiting --------------------------------------------------------------

    def _create_router(self, name: str, subnet_id: str) -> Resource:
        gateway = {"network_id": self.external["id"]}
        router = self.client.create("router", {"name": name, "external_gateway_info": gateway})
        self.client.add_interface(router["id"], subnet_id)
        return router

    def _create_router_with_network(self, number: int) -> Resource:
        network = self.client.create("network", {"name": f"many-{number}"})
        cidr = f"10.78.{number}.0/24"
        subnet = self.client.create("subnet", {"network_id": network["id"], "ip_version": 4, "cidr": cidr})
        return self._create_router(f"many-{number}", subnet["id"])

    def _states(self, router_id: str) -> dict[str, str]:
        return {agent["host"]: agent["ha_state"] for agent in self.client.hosting_agents(router_id)}

    def _host_in_state(self, router_id: str, state: str) -> str:
        for host, seen in self._states(router_id).items():
            if seen == state:
                return host
        raise HostError(f"cannot find the {state} agent of router {router_id}: {self._states(router_id)}")

    def _is_redundant(self, router_id: str, *, without: str) -> bool:
        """An active and a standby agent, both of which have built everything, and neither on host `without`."""
        states = self._states(router_id)
        return (
            without not in states
            and sorted(states.values()) == ["active", "standby"]
            and not etcdctl.unsettled(self.lab, states)
        )

    def _masters_on(self, host: str) -> list[int]:
        reports = [decode(entry.value, PairReport) for entry in etcdctl.get(self.lab, etcdctl.pairs_observed(host))]
        return [report.pair_id for report in reports if report.state is VrrpState.MASTER]

    def _until_answered(
        self, host: str, targets: list[str], namespace: str | None = None, *, interval_ms: float = 20
    ) -> ProbeResult:
        """Ping until every target answers; HostError if that takes too long."""
        deadline = time.monotonic() + _MANY_READY_S
        while True:
            with Probe(self.lab.host(host), targets, namespace=namespace, interval_ms=interval_ms) as probe:
                time.sleep(2 * _POLL)
                result = probe.stop()
            if result.all_answered:
                return result
            if time.monotonic() > deadline:
                silent = [target.target for target in result.targets if not target.answered]
                raise HostError(f"cannot reach {', '.join(silent)} from {host} within {_MANY_READY_S:g} s")

    def _wait(self, what: str, condition: Callable[[], bool], timeout: float = 2 * _REDUNDANT_S) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise HostError(f"cannot see that {what} within {timeout:g} s")
            time.sleep(_POLL)
