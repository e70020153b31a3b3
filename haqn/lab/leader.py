"""Who leads the monitors: asked once, or watched while it changes."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass

from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.state import Changed, Deleted, Event
from haqn.documents import LeaderRecord, decode
from haqn.exceptions import HostError
from haqn.lab import etcdctl, faults
from haqn.lab.cluster import Lab
from haqn.lab.services import MONITOR, Service, services


def record(lab: Lab) -> LeaderRecord:
    """Who leads; epoch 0 of nobody while there is none."""
    found = etcdctl.get(lab, keys.LEADER)
    return decode(found[0].value, LeaderRecord) if found else LeaderRecord(holder="")


def monitor_of(lab: Lab, leader: LeaderRecord) -> Service | None:
    """The monitor that is meant, if it runs: the lease of one that was killed outlives it."""
    inner_pid = leader.holder.rpartition(":")[2]
    for service in services(lab.spec):
        if service.name.startswith(MONITOR):
            processes = faults.program(lab.host(service.host), service.name)
            if inner_pid in {str(process.inner_pid) for process in processes}:
                return service
    return None


@dataclass(frozen=True, slots=True)
class Change:
    """The leader's key was written, or deleted (None); seen at `time` (monotonic seconds)."""

    time: float
    leader: LeaderRecord | None


class Succession:
    """Watches the leader's key. Somebody leads when it has been entered."""

    def __init__(self, lab: Lab, *, without: str = "") -> None:
        """`without`: a host whose member of etcd is not asked, because it is about to fall silent."""
        spec = lab.spec
        silent = spec.host(without).address if without else None
        self._etcd = Etcd([one for one in spec.etcd_endpoints if one.partition(":")[0] != silent])
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._informer = Informer(self._etcd, keys.LEADER, self._note, exact=True)

    def __enter__(self) -> Succession:
        self._informer.start()
        self.until_led()
        return self

    def __exit__(self, *_: object) -> None:
        self._informer.stop()
        self._etcd.close()

    def until_led(self, *, beyond: int = 0, timeout: float = 60.0) -> list[Change]:
        """All changes since the last call, up to the one by which somebody leads with an epoch beyond `beyond`.

        HostError, with what was seen, after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        seen: list[Change] = []
        while not seen or seen[-1].leader is None or seen[-1].leader.epoch <= beyond:
            try:
                seen.append(self._changes.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                raise HostError(
                    f"cannot see anybody lead with an epoch beyond {beyond} within {timeout:g} s; seen: {seen}"
                ) from None
        return seen

    def _note(self, event: Event) -> None:
        now = time.monotonic()
        match event:
            case Changed(item=item):
                self._changes.put(Change(now, decode(item.value, LeaderRecord)))
            case Deleted():
                self._changes.put(Change(now, None))
