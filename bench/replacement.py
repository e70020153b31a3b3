"""The replacement of a dead agent, as etcd shows it."""

from __future__ import annotations

import threading
import time

from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.documents import Manifest, SyncReport, decode
from haqn.lab.cluster import Lab


class Replacement:
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
