"""Failovers of 1, 50 and 400 routers: crash, planned switchover, replacement of a dead agent.

One lab for each advert interval, three network hosts. All routers are brought to one host before it is crashed; at
least 20 of them are pinged from outside every 5 ms; all of them are counted by their gates, and by the announcements
of each of their ports that leave the host which takes over.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

from bench.announcements import GATEWAY, Announcements, RouterPort, router_ports
from bench.measure import Measured
from bench.readiness import Readiness
from bench.replacement import Replacement
from haqn.lab import etcdctl, faults, kernel, processes, services
from haqn.lab.client import Client, Resource
from haqn.lab.cluster import Lab
from haqn.lab.lookup import external_address
from haqn.lab.probe import Probe, ProbeResult
from haqn.lab.scenery import Scenery, wait_for
from haqn.lab.spec import EXTERNAL_HOST, LabSpec

_SAMPLE = 20
_CALM = 1.0
_TTL = 5
#: milliseconds between adverts -> largest gap
_CRASH_GOALS_MS = {100: 500.0, 50: 300.0}
_SWITCHOVER_GOAL_MS = 150.0
_HANDED_OVER_GOAL_MS = 30_000.0
_PROJECTED_GOAL_S = 2.0
_BUILT_GOAL_S = 60.0
_BULK_GOAL_S = 90.0
_CREATE_GOAL_S = 1.0
#: [agent] gate_lease_ms, its default
_KERNEL_LEASE_S = 3.0
_FREEZES = 3
#: seconds between looks at a gate that is to shut; and what a check that runs at the freeze, and the looks, may add
_LOOK, _LATE = 0.01, 0.3


class Failover:
    """One lab with one advert interval."""

    def __init__(self, advert_ms: int, crash_goal_ms: float, say: Callable[[str], None]) -> None:
        self._advert_ms = advert_ms
        self._crash_goal_ms = crash_goal_ms
        self._say = say
        self.lab = Lab(f"bench{advert_ms}")
        self.routers: list[Resource] = []
        self.ports: list[RouterPort] = []
        self.rows: list[Measured] = []

    def __enter__(self) -> Failover:
        try:
            self._begin()
        except BaseException:
            self.lab.destroy()
            raise
        return self

    def _begin(self) -> None:
        self.lab.build(LabSpec(name=self.lab.name, hosts=3, computes=0, lease_ttl=_TTL, advert_ms=self._advert_ms))
        services.start_all(self.lab)
        # the third host joins when there is something to replace; until then all routers are on the first two
        services.stop(self.lab, self._agent("net3"))
        self.client = Client(self.lab.spec.api_url)
        self.scenery = Scenery(self.lab, self.client)
        wait_for("net3's agent is gone", lambda: not self._alive("net3"))
        self.external = self.scenery.external_network()

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.lab.destroy()

    # -- measurements -------------------------------------------------------------------------

    def create(self, total: int) -> None:
        """Create routers one by one, each with a gateway and a network of its own, until there are `total`."""
        self._say(f"{self._advert_ms} ms adverts: {total - len(self.routers)} more routers")
        if not self.routers:
            # it makes a pair, and keepalived starts; from the second on it is the usual case
            self.routers.append(self._timed("first router", 0))
            self._delete(self._timed("router", total))
        for number in range(len(self.routers), total):
            _, subnet = self.scenery.tenant_network(f"n{number}", _cidr(number))
            self.routers.append(self.scenery.router(f"r{number}", self.external["id"], [subnet["id"]]))
        self._until_ready()

    def _timed(self, what: str, number: int) -> Resource:
        """A router; how soon it is ready becomes a row."""
        _, subnet = self.scenery.tenant_network(f"n{number}", _cidr(number))
        with Readiness(self.lab, ["net1", "net2"]) as readiness:
            began = time.monotonic()
            router = self.scenery.router(f"r{number}", self.external["id"], [subnet["id"]])
            ready_at = readiness.wait(router["id"], _BULK_GOAL_S)
        self._row(f"{what}: POST to ready on both members", ready_at - began, "s", _CREATE_GOAL_S)
        return router

    def create_in_bulk(self, total: int) -> None:
        """Delete what there is; then `total` routers by one POST, each with a gateway and a network of its own."""
        for router in self.routers:
            self._delete(router)
        self.routers = []
        self._until_ready()
        self._say(f"{self._advert_ms} ms adverts: {total} routers in bulk")
        numbers = range(total)
        began = time.monotonic()
        networks = self.client.create_many("network", [{"name": f"bulk{number}"} for number in numbers])
        subnets = self.client.create_many(
            "subnet",
            [
                {"network_id": network["id"], "ip_version": 4, "cidr": _cidr(number)}
                for number, network in enumerate(networks)
            ],
        )
        gateway = {"network_id": self.external["id"]}
        self.routers = self.client.create_many(
            "router", [{"name": f"bulk{number}", "external_gateway_info": gateway} for number in numbers]
        )
        for router, subnet in zip(self.routers, subnets, strict=True):
            self.client.add_interface(router["id"], subnet["id"])
        requested = time.monotonic() - began
        self._row(
            f"{total} routers in bulk, each with a network: created and ready on both members",
            self._until_ready() - began,
            "s",
            _BULK_GOAL_S,
            f"requests took {requested:.0f} s",
        )

    def _until_ready(self) -> float:
        """When all routers were ready (monotonic seconds). Afterwards `ports` are theirs."""
        wait_for("all routers are ready", self._all_ready, _BULK_GOAL_S * 2)
        ready_at = time.monotonic()
        self.ports = router_ports(self.client, [router["id"] for router in self.routers])
        return ready_at

    def _delete(self, router: Resource) -> None:
        for port in self.client.find("port", device_id=router["id"]):
            if port["device_owner"] != GATEWAY:
                self.client.request(
                    "PUT", f"/v2.0/routers/{router['id']}/remove_router_interface", {"port_id": port["id"]}
                )
        self.client.delete("router", router["id"])

    def crash(self) -> None:
        """Crash the host that carries all routers; afterwards it stands by, and its peer carries them."""
        carrier, other = self._gather()
        self._say(f"{self._advert_ms} ms adverts: crash of {carrier} with {len(self.routers)} routers")
        with Announcements(self.lab, other) as announced, self._probe() as probe:
            time.sleep(_CALM)
            crashed_at = time.time()
            faults.crash(self.lab, carrier)
            wait_for(f"{other} carries everything", lambda: self._carries(other))
            time.sleep(2 * _CALM)
            result = probe.stop()
            self._crash_rows(result, announced, crashed_at)
        faults.thaw(self.lab, carrier)
        self._until_standby(carrier)

    def switch_over(self) -> None:
        """A planned switchover of all pairs."""
        carrier, other = self._gather()
        self._say(f"{self._advert_ms} ms adverts: switchover of {len(self.routers)} routers from {carrier} to {other}")
        with Announcements(self.lab, other) as announced, self._probe() as probe:
            time.sleep(_CALM)
            asked_at = time.time()
            services.manage(self.lab, "switchover", *map(str, self.scenery.masters_on(carrier)))
            wait_for(f"{other} carries everything", lambda: self._carries(other))
            time.sleep(2 * _CALM)
            result = probe.stop()
            what = f"planned switchover, {len(self.routers)} routers, {self._advert_ms} ms adverts"
            self._gap_row(what, result, _SWITCHOVER_GOAL_MS)
            # pairs are handed over one after another: pings say how long each takes, this that none is left out
            self.rows.append(announced.row(f"{what}, from the request", self.ports, asked_at, _HANDED_OVER_GOAL_MS))

    def freeze_keepalived(self) -> None:
        """Freeze the keepalived of the host that carries all routers, until its agent replaces it, several times."""
        runs = [self._freeze() for _ in range(_FREEZES)]
        what = f"keepalived frozen, {len(self.routers)} routers, {self._advert_ms} ms adverts, worst of {len(runs)}"
        took = sorted(seconds for seconds, _ in runs)
        times = ", ".join(f"{seconds:.1f}" for seconds in took)
        self._row(f"{what}: gate shut by the kernel, peer forwards", took[-1], "s", _KERNEL_LEASE_S + _LATE, times)
        self._gap_row(what, max((seen for _, seen in runs), key=lambda seen: seen.largest_gap_ms), self._crash_goal_ms)

    def _freeze(self) -> tuple[float, ProbeResult]:
        """(seconds until its gates are shut, what pings saw)"""
        carrier, other = self._gather()
        self._say(f"{self._advert_ms} ms adverts: keepalived of {carrier} freezes")
        host = self.lab.host(carrier)
        with self._probe() as probe:
            time.sleep(_CALM)
            victims = faults.program(host, faults.KEEPALIVED)
            began = time.monotonic()
            processes.send(victims, signal.SIGSTOP)
            while kernel.open_gates(host.run):
                time.sleep(_LOOK)
            took = time.monotonic() - began
            if not self._carries(other):
                raise RuntimeError(f"cannot go on: {carrier}'s gates are shut, and {other} has not taken over")
            time.sleep(2 * _CALM)
            result = probe.stop()
        wait_for("the frozen keepalived is replaced", lambda: not any(processes.read(one.pid) for one in victims))
        self._until_standby(carrier)
        return took, result

    def replace(self) -> None:
        """The third host joins, then the carrier dies: its routers get new pairs, and the survivor loses no packet."""
        carrier, other = self._gather()
        services.start(self.lab, self._agent("net3"))
        wait_for("net3's agent is alive", lambda: self._alive("net3"))
        count = len(self.routers)
        self._say(f"{self._advert_ms} ms adverts: {carrier} dies with {count} routers, net3 stands by")
        watcher = Replacement(self.lab, carrier, "net3", count)
        with Announcements(self.lab, other) as announced, self._probe() as probe:
            time.sleep(_CALM)
            crashed_at = time.time()
            faults.crash(self.lab, carrier)
            wait_for(f"{other} carries everything", lambda: self._carries(other))
            settled_at = time.monotonic() * 1000 + 500
            watcher.wait(_BUILT_GOAL_S * 3)
            wait_for("every router has a standby", lambda: self._all_redundant(without=carrier), 60)
            time.sleep(_CALM)
            result = probe.stop()
            self._crash_rows(result, announced, crashed_at, " (third host waiting)")
        self._row(
            f"dead agent with {count} routers: lease's end to documents written",
            watcher.projected,
            "s",
            _PROJECTED_GOAL_S,
        )
        self._row(
            f"dead agent with {count} routers: documents to built and reported", watcher.built, "s", _BUILT_GOAL_S
        )
        lost = result.between(settled_at, float("inf")).lost
        self._row(f"packets of {len(result.targets)} routers that the replacement cost", lost, "", 0)

    # -- asking -------------------------------------------------------------------------------

    def _row(self, what: str, value: float, unit: str, goal: float, detail: str = "") -> None:
        self.rows.append(Measured(what, value, unit, goal, detail))

    def _gap_row(self, what: str, result: ProbeResult, goal: float) -> None:
        detail = f"{len(result.targets)} pinged, all {len(self.routers)} by their gates"
        self._row(f"{what}: largest gap", result.largest_gap_ms, "ms", goal, detail)
        if not result.all_answered:
            self._row(f"{what}: routers that do not answer in the end", 1, "", 0)

    def _crash_rows(self, result: ProbeResult, announced: Announcements, crashed_at: float, label: str = "") -> None:
        what = f"host crash, {len(self.routers)} routers, {self._advert_ms} ms adverts{label}"
        self._gap_row(what, result, self._crash_goal_ms)
        self.rows.append(announced.row(what, self.ports, crashed_at, self._crash_goal_ms))

    def _agent(self, host: str) -> services.Service:
        return services.Service(host, services.AGENT)

    def _alive(self, host: str) -> bool:
        return any(agent["alive"] for agent in self.client.find("agent", host=host))

    def _probe(self) -> Probe:
        step = max(1, len(self.routers) // _SAMPLE)
        targets = [external_address(router) for router in self.routers[::step]]
        return Probe(self.lab.host(EXTERNAL_HOST), targets)

    def _all_ready(self) -> bool:
        ids = {router["id"] for router in self.routers}
        active = {router["id"] for router in self.client.find("router", status="ACTIVE", fields=["id", "status"])}
        return ids <= active and not etcdctl.unsettled(self.lab, ["net1", "net2"])

    def _carries(self, host: str) -> bool:
        """Whether the host's kernel lets pass every port of every router."""
        taps = {port.tap for port in self.ports}
        return kernel.passing(self.lab.host(host), taps) == taps

    def _gather(self) -> tuple[str, str]:
        """(host that carries all routers, its peer), after a crash of the other one if need be."""
        for carrier, other in (("net1", "net2"), ("net2", "net1")):
            if self._carries(carrier):
                return carrier, other
        faults.crash(self.lab, "net2")
        wait_for("net1 carries everything", lambda: self._carries("net1"))
        faults.thaw(self.lab, "net2")
        self._until_standby("net2")
        return "net1", "net2"

    def _until_standby(self, host: str) -> None:
        wait_for(f"{host} stands by", lambda: not kernel.open_gates(self.lab.host(host).run) and self._alive(host))
        wait_for("the cluster is settled", lambda: not etcdctl.unsettled(self.lab, ["net1", "net2"]), 120)
        time.sleep(_TTL)

    def _all_redundant(self, *, without: str) -> bool:
        return not etcdctl.unsettled(self.lab, ["net3"]) and all(
            without not in (states := self.scenery.states(router["id"]))
            and sorted(states.values()) == ["active", "standby"]
            for router in self.routers[:: max(1, len(self.routers) // _SAMPLE)]
        )


def _cidr(number: int) -> str:
    return f"10.{64 + number // 250}.{number % 250}.0/24"


def measure(
    say: Callable[[str], None], advert_ms: int, few: tuple[int, ...] = (1, 50), many: int = 400
) -> list[Measured]:
    """Everything for one advert interval: with a few routers made one by one, and with many made at once."""
    with Failover(advert_ms, _CRASH_GOALS_MS[advert_ms], say) as failover:
        try:
            for count in few:
                failover.create(count)
                failover.crash()
            failover.freeze_keepalived()
            failover.create_in_bulk(many)
            failover.crash()
            failover.switch_over()
            failover.replace()
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"cannot finish: {error}") from error
    return failover.rows
