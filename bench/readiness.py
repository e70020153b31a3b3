"""When a router is ready on both members of its pair, as etcd shows it: by what their agents say, once they say it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.operations import KeyValue
from haqn.documents import Manifest, PairDocument, PairReport, SyncReport, decode
from haqn.lab.cluster import Lab
from haqn.model import Role, VrrpState

_READY_AS = {Role.ACTIVE: (VrrpState.MASTER, True), Role.BACKUP: (VrrpState.BACKUP, False)}


class Readiness:
    """Watches the documents and the reports of some hosts while it is entered."""

    def __init__(self, lab: Lab, hosts: Sequence[str]) -> None:
        self._hosts = hosts
        self._etcd = Etcd(lab.spec.etcd_endpoints)
        self._changed = threading.Event()
        self._desired = Informer(self._etcd, keys.DESIRED, on_change=self._changed.set)
        self._observed = Informer(self._etcd, keys.OBSERVED, on_change=self._changed.set)

    def __enter__(self) -> Readiness:
        for informer in (self._desired, self._observed):
            informer.start()
            informer.synced.wait()
        return self

    def __exit__(self, *_: object) -> None:
        for informer in (self._desired, self._observed):
            informer.stop()
        self._etcd.close()

    def wait(self, router_id: str, timeout: float) -> float:
        """When (monotonic seconds) the router was built on all of the hosts, its pair's ACTIVE lets it pass, and its
        BACKUP stands by. TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            self._changed.clear()
            desired, observed = self._desired.cache(), self._observed.cache()
            now = time.monotonic()
            if all(_is_ready(host, router_id, desired, observed) for host in self._hosts):
                return now
            if not self._changed.wait(deadline - now):
                raise TimeoutError(f"cannot see that router {router_id} is ready within {timeout:g} s")


def _is_ready(host: str, router_id: str, desired: Mapping[str, KeyValue], observed: Mapping[str, KeyValue]) -> bool:
    manifest, sync = desired.get(keys.manifest(host)), observed.get(keys.observed_sync(host))
    if f"{keys.desired(host)}routers/{router_id}" not in desired or manifest is None or sync is None:
        return False
    asked, done = decode(manifest.value, Manifest), decode(sync.value, SyncReport)
    if not asked.complete or done.generation < asked.generation or done.errors:
        return False
    prefix = f"{keys.desired(host)}pairs/"
    pairs = [decode(item.value, PairDocument) for key, item in desired.items() if key.startswith(prefix)]
    reports = {
        report.pair_id: report
        for key, item in observed.items()
        if key.startswith(f"{keys.OBSERVED}{host}/pairs/") and (report := decode(item.value, PairReport))
    }
    return bool(pairs) and all(
        (report := reports.get(pair.pair_id)) is not None and (report.state, report.gate_open) == _READY_AS[pair.role]
        for pair in pairs
    )
