"""Failovers of 1, 50 and 400 routers: crash, planned switchover, replacement of a dead agent.

One lab for each advert interval, three network hosts. All routers are brought to one host before it is crashed; at
least 20 of them are pinged from outside every 5 ms, the rest are counted by their gates.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable

from bench.measure import Measured
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.documents import Manifest, PairReport, SyncReport, decode
from haqn.lab import etcdctl, faults, services
from haqn.lab.client import Client, Resource
from haqn.lab.cluster import Lab
from haqn.lab.lookup import external_address
from haqn.lab.probe import Probe, ProbeResult
from haqn.lab.scenery import Scenery, wait_for
from haqn.lab.spec import EXTERNAL_HOST, LabSpec
from haqn.model import VrrpState

_SAMPLE = 20
_CALM = 1.0
_TTL = 5
_SWITCHOVER_GOAL_MS = 150.0
_PROJECTED_GOAL_S = 2.0
_BUILT_GOAL_S = 60.0
_BULK_GOAL_S = 90.0
_CREATE_GOAL_S = 1.0


class Failover:
    """One lab with one advert interval."""

    def __init__(self, advert_ms: int, crash_goal_ms: float, say: Callable[[str], None]) -> None:
        self._advert_ms = advert_ms
        self._crash_goal_ms = crash_goal_ms
        self._say = say
        self.lab = Lab(f"bench{advert_ms}")
        self.routers: list[Resource] = []
        self.rows: list[Measured] = []

    def __enter__(self) -> Failover:
        self.lab.build(LabSpec(name=self.lab.name, hosts=3, computes=0, lease_ttl=_TTL, advert_ms=self._advert_ms))
        services.start_all(self.lab)
        # the third host joins when there is something to replace; until then all routers are on the first two
        services.stop(self.lab, self._agent("net3"))
        self.client = Client(self.lab.spec.api_url)
        self.scenery = Scenery(self.lab, self.client)
        wait_for("net3's agent is gone", lambda: not self._alive("net3"))
        self.external = self.scenery.external_network()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.lab.destroy()

    # -- measurements -------------------------------------------------------------------------

    def create(self, total: int) -> None:
        """Create routers, each with a gateway and a network of its own, until there are `total`."""
        missing = total - len(self.routers)
        self._say(f"{self._advert_ms} ms adverts: {missing} more routers")
        began = time.monotonic()
        for number in range(len(self.routers), total):
            _, subnet = self.scenery.tenant_network(f"n{number}", f"10.{64 + number // 250}.{number % 250}.0/24")
            self.routers.append(self.scenery.router(f"r{number}", self.external["id"], [subnet["id"]]))
        posted = time.monotonic() - began
        wait_for("all routers are ready", self._all_ready, _BULK_GOAL_S * 2)
        ready = time.monotonic() - began
        if total == 1:
            self._row("first router: POST to ready on both members", ready, "s", _CREATE_GOAL_S)
            self._second_router()
        elif missing > 100:
            self._row(
                f"{missing} routers created and ready on both members",
                ready,
                "s",
                _BULK_GOAL_S,
                f"POSTs took {posted:.0f} s",
            )

    def _second_router(self) -> None:
        """The first router makes a pair, and keepalived starts; from the second on it is the usual case."""
        _, subnet = self.scenery.tenant_network("second", "10.100.0.0/24")
        began = time.monotonic()
        router = self.scenery.router("second", self.external["id"], [subnet["id"]])
        while self.client.show("router", router["id"])["status"] != "ACTIVE":
            time.sleep(0.01)
        self._row("router: POST to ready on both members", time.monotonic() - began, "s", _CREATE_GOAL_S)
        self.client.request("PUT", f"/v2.0/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})
        self.client.delete("router", router["id"])

    def crash(self, label: str = "") -> None:
        """Crash the host that carries all routers; afterwards it stands by, and its peer carries them."""
        carrier, other = self._gather()
        self._say(f"{self._advert_ms} ms adverts: crash of {carrier} with {len(self.routers)} routers")
        with self._probe() as probe:
            time.sleep(_CALM)
            faults.crash(self.lab, carrier)
            wait_for(f"{other} carries everything", lambda: self._carries(other))
            time.sleep(2 * _CALM)
            result = probe.stop()
        self._crash_row(result, label)
        faults.thaw(self.lab, carrier)
        self._until_standby(carrier)

    def switch_over(self) -> None:
        """A planned switchover of all pairs."""
        carrier, other = self._gather()
        self._say(f"{self._advert_ms} ms adverts: switchover of {len(self.routers)} routers from {carrier} to {other}")
        with self._probe() as probe:
            time.sleep(_CALM)
            services.manage(self.lab, "switchover", *map(str, self._pairs_of(carrier)))
            wait_for(f"{other} carries everything", lambda: self._carries(other))
            time.sleep(2 * _CALM)
            result = probe.stop()
        what = f"planned switchover, {len(self.routers)} routers, {self._advert_ms} ms adverts: largest gap"
        self._row(what, result.largest_gap_ms, "ms", _SWITCHOVER_GOAL_MS, f"{len(result.targets)} pinged")

    def replace(self) -> None:
        """The third host joins, then the carrier dies: its routers get new pairs, and the survivor loses no packet."""
        carrier, other = self._gather()
        services.start(self.lab, self._agent("net3"))
        wait_for("net3's agent is alive", lambda: self._alive("net3"))
        count = len(self.routers)
        self._say(f"{self._advert_ms} ms adverts: {carrier} dies with {count} routers, net3 stands by")
        watcher = _Watcher(self.lab, carrier, "net3", count)
        with self._probe() as probe:
            time.sleep(_CALM)
            faults.crash(self.lab, carrier)
            wait_for(f"{other} carries everything", lambda: self._carries(other))
            settled_at = time.monotonic() * 1000 + 500
            watcher.wait(_BUILT_GOAL_S * 3)
            wait_for("every router has a standby", lambda: self._all_redundant(without=carrier), 60)
            time.sleep(_CALM)
            result = probe.stop()
        self._crash_row(result, " (third host waiting)")
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

    def _crash_row(self, result: ProbeResult, label: str) -> None:
        count = len(self.routers)
        self._row(
            f"host crash, {count} routers, {self._advert_ms} ms adverts{label}: largest gap",
            result.largest_gap_ms,
            "ms",
            self._crash_goal_ms,
            f"{len(result.targets)} pinged, all {count} by their gates",
        )
        if not result.all_answered:
            self._row("routers that do not answer after the crash", 1, "", 0)

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

    def _reports(self, host: str) -> list[PairReport]:
        return [decode(entry.value, PairReport) for entry in etcdctl.get(self.lab, etcdctl.pairs_observed(host))]

    def _pairs_of(self, host: str) -> list[int]:
        return [report.pair_id for report in self._reports(host) if report.state is VrrpState.MASTER]

    def _gates(self, host: str) -> set[int]:
        """The open gates of the host, asked of its kernel."""
        listing = self.lab.host(host).run(["nft", "list", "set", "bridge", "haqn", "active"]).stdout
        elements = listing.partition("elements = {")[2].partition("}")[0]
        return {int(element.split()[0]) for element in elements.split(",") if element.strip()}

    def _groups(self, host: str) -> dict[int, int]:
        """Device group -> number of router ports in it, asked of the host's kernel."""
        found: dict[int, int] = {}
        for link in self.lab.host(host).query("link", "show", "type", "veth"):
            group = str(link["group"])
            if group.isdigit() and int(group) >= 65536:
                found[int(group)] = found.get(int(group), 0) + 1
        return found

    def _carries(self, host: str) -> bool:
        """Whether every router port of the host is in an open group there: two ports a router."""
        gates = self._gates(host)
        return sum(count for group, count in self._groups(host).items() if group in gates) == 2 * len(self.routers)

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
        wait_for(f"{host} stands by", lambda: not self._gates(host) and self._alive(host))
        wait_for("the cluster is settled", lambda: not etcdctl.unsettled(self.lab, ["net1", "net2"]), 120)
        time.sleep(_TTL)

    def _all_redundant(self, *, without: str) -> bool:
        return not etcdctl.unsettled(self.lab, ["net3"]) and all(
            without not in (states := self.scenery.states(router["id"]))
            and sorted(states.values()) == ["active", "standby"]
            for router in self.routers[:: max(1, len(self.routers) // _SAMPLE)]
        )


class _Watcher:
    """Sees in etcd when a lease ends, when the new member's documents are complete, and when it has built them."""

    def __init__(self, lab: Lab, dead: str, new: str, routers: int) -> None:
        self._new = new
        self._routers = routers
        self._times: dict[str, float] = {}
        self._done = threading.Event()
        etcd = Etcd(lab.spec.etcd_endpoints)
        self._heartbeats = Informer(etcd, keys.AGENTS, on_change=lambda: self._look_for_death(dead))
        self._desired = Informer(etcd, keys.desired(new), on_change=self._look_for_documents)
        self._observed = Informer(etcd, f"{keys.OBSERVED}{new}/", on_change=self._look_for_report)
        for informer in (self._heartbeats, self._desired, self._observed):
            informer.start()
        self._etcd = etcd

    @property
    def projected(self) -> float:
        return self._times["projected"] - self._times["dead"]

    @property
    def built(self) -> float:
        return self._times["built"] - self._times["projected"]

    def wait(self, timeout: float) -> None:
        """Until everything was seen."""
        seen = self._done.wait(timeout)
        for informer in (self._heartbeats, self._desired, self._observed):
            informer.stop()
        self._etcd.close()
        if not seen:
            raise TimeoutError(f"cannot see that {self._new} has built its routers; seen: {sorted(self._times)}")

    def _look_for_death(self, dead: str) -> None:
        if self._heartbeats.synced.is_set() and not any(key.endswith(f"/{dead}") for key in self._heartbeats.cache()):
            self._times.setdefault("dead", time.monotonic())

    def _look_for_documents(self) -> None:
        cache = self._desired.cache()
        found = cache.get(keys.manifest(self._new))
        routers = sum(1 for key in cache if "/routers/" in key)
        if found is not None and routers >= self._routers:
            manifest = decode(found.value, Manifest)
            if manifest.complete and manifest.count == len(cache) - 1 and "projected" not in self._times:
                self._generation = manifest.generation
                self._times["projected"] = time.monotonic()
                self._look_for_report()

    def _look_for_report(self) -> None:
        found = self._observed.cache().get(keys.observed_sync(self._new))
        if found is None or "projected" not in self._times or "built" in self._times:
            return
        report = decode(found.value, SyncReport)
        if report.generation >= self._generation and not report.errors:
            self._times["built"] = time.monotonic()
            self._done.set()


def measure(say: Callable[[str], None], counts: tuple[int, ...] = (1, 50, 400)) -> list[Measured]:
    """Everything, for 100 ms and for 50 ms adverts."""
    rows: list[Measured] = []
    for advert_ms, goal in ((100, 500.0), (50, 300.0)):
        with Failover(advert_ms, goal, say) as failover:
            try:
                for count in counts:
                    failover.create(count)
                    failover.crash()
                failover.switch_over()
                failover.replace()
            except subprocess.TimeoutExpired as error:
                raise RuntimeError(f"cannot finish: {error}") from error
            finally:
                rows += failover.rows
    return rows
