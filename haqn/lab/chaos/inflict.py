"""Does to the lab what a fault says, and undoes it. Knows nothing of what must hold meanwhile."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from haqn.exceptions import HostError
from haqn.lab import etcdctl, faults, processes, services, wires
from haqn.lab.chaos.fault import Fault, Kind
from haqn.lab.cluster import Lab
from haqn.lab.services import AGENT, Service
from haqn.lab.wires import Cut, Way

_KINDS_OF_CUTS = {
    f"cut-{cut}{suffix}": (cut, way)
    for cut in Cut
    for suffix, way in (("", Way.BOTH), ("-in", Way.IN), ("-out", Way.OUT))
}
Deed = Callable[[Fault], None]
_LOCK_TIMEOUT = 20.0
_POLL = 0.02
#: of etcd's members that NO_QUORUM kills
_MAJORITY = ("etcd1", "etcd2")


class Inflictor:
    """Inflicts faults on one lab, and heals them. Calls come one at a time."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._services = {service.name: service for service in services.services(lab.spec) if service.name != AGENT}
        self._lock: sqlite3.Connection | None = None
        cut, kill, pause = (self._cut, self._uncut), (self._kill, self._start), (self._pause, self._resume)
        several = (self._kill_several, self._start_several)
        in_order = (self._pause_between_transactions, self._resume)
        #: how each kind is done and undone
        self._deeds: dict[Kind, tuple[Deed, Deed]] = {
            **{Kind(name): cut for name in _KINDS_OF_CUTS},
            Kind.CRASH: (self._crash, self._thaw),
            Kind.CRASH_CONTROL: (self._crash, self._thaw),
            Kind.FREEZE: (self._freeze, self._thaw),
            Kind.POWER_OFF: (self._power_off, self._power_on),
            # its agent starts it again
            Kind.KILL_KEEPALIVED: (self._kill, self._nothing),
            Kind.PAUSE_KEEPALIVED: pause,
            Kind.KILL_AGENT: kill,
            Kind.PAUSE_AGENT: pause,
            Kind.REVOKE_LEASE: (self._revoke, self._nothing),
            Kind.KILL_API: kill,
            Kind.PAUSE_API: in_order,
            Kind.KILL_MONITOR: kill,
            Kind.PAUSE_MONITOR: in_order,
            Kind.KILL_MONITORS: several,
            Kind.KILL_ETCD_MEMBER: kill,
            Kind.PAUSE_ETCD_MEMBER: pause,
            Kind.NO_QUORUM: several,
            Kind.SQL_AWAY: (self._lock_sql, self._unlock_sql),
        }

    def inflict(self, fault: Fault) -> None:
        """Do it. HostError if it cannot be done, which says nothing about haqn."""
        self._deeds[fault.kind][0](fault)

    def heal(self, fault: Fault) -> None:
        """Undo it; what heals by itself is left alone."""
        self._deeds[fault.kind][1](fault)

    # -- hosts --------------------------------------------------------------------------------

    def _crash(self, fault: Fault) -> None:
        faults.crash(self._lab, fault.target)

    def _thaw(self, fault: Fault) -> None:
        wires.links_up(self._lab.switch, fault.target)
        processes.send(self._lab.host(fault.target).processes(), signal.SIGCONT)

    def _freeze(self, fault: Fault) -> None:
        processes.freeze(self._lab.host(fault.target).processes)

    def _power_off(self, fault: Fault) -> None:
        self._lab.host(fault.target).kill()
        wires.unplug(self._lab.switch, fault.target)

    def _power_on(self, fault: Fault) -> None:
        services.reboot(self._lab, fault.target)

    def _cut(self, fault: Fault) -> None:
        cut, way = _KINDS_OF_CUTS[fault.kind]
        faults.cut(self._lab, fault.target, cut, way)

    def _uncut(self, fault: Fault) -> None:
        wires.uncut(self._lab.switch, fault.target, _KINDS_OF_CUTS[fault.kind][0])

    # -- programs -----------------------------------------------------------------------------

    def _service(self, fault: Fault) -> Service:
        """The program that the fault is about: one of a host, or one of the control plane."""
        if fault.of_host:
            return Service(fault.target, AGENT if fault.kind.endswith(AGENT) else faults.KEEPALIVED)
        return self._services[fault.target or fault.kind.partition("-")[2]]

    def _kill(self, fault: Fault) -> None:
        service = self._service(fault)
        faults.kill(self._lab.host(service.host), service.name)

    def _start(self, fault: Fault) -> None:
        services.start(self._lab, self._service(fault))

    def _pause(self, fault: Fault) -> None:
        service = self._service(fault)
        faults.pause(self._lab.host(service.host), service.name)

    def _resume(self, fault: Fault) -> None:
        service = self._service(fault)
        faults.resume(self._lab.host(service.host), service.name)

    def _pause_between_transactions(self, fault: Fault) -> None:
        """SQLite has no server that takes the write lock away from a program that is frozen."""

        def paused() -> bool:
            self._pause(fault)
            lock = self._write_lock(0.0)
            if lock is None:
                self._resume(fault)
                return False
            lock.close()
            return True

        processes.wait_until(paused, f"{fault} between transactions", _LOCK_TIMEOUT)

    def _kill_several(self, fault: Fault) -> None:
        for name in sorted(fault.programs) if fault.kind is Kind.KILL_MONITORS else _MAJORITY:
            faults.kill(self._lab.host(self._services[name].host), name)

    def _start_several(self, fault: Fault) -> None:
        for name in sorted(fault.programs):
            services.start(self._lab, self._services[name])

    # -- the rest -----------------------------------------------------------------------------

    def _nothing(self, _fault: Fault) -> None:
        """It heals by itself."""

    def _revoke(self, fault: Fault) -> None:
        leases = [entry.lease for entry in etcdctl.get(self._lab, f"{etcdctl.AGENTS}L3 agent/{fault.target}")]
        for lease in leases:
            etcdctl.etcdctl(self._lab, "lease", "revoke", f"{lease:x}")

    def _lock_sql(self, _fault: Fault) -> None:
        self._lock = self._write_lock(_LOCK_TIMEOUT)
        if self._lock is None:
            raise HostError(f"cannot lock the database within {_LOCK_TIMEOUT:g} s")

    def _unlock_sql(self, _fault: Fault) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write_lock(self, timeout: float) -> sqlite3.Connection | None:
        """A connection that holds it; None if somebody else does for so long."""
        connection = sqlite3.connect(database_file(self._lab), timeout=0, isolation_level=None)
        deadline = time.monotonic() + timeout
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return connection
            except sqlite3.OperationalError:
                if time.monotonic() >= deadline:
                    connection.close()
                    return None
                time.sleep(_POLL)


def database_file(lab: Lab) -> Path:
    """The lab's SQLite file."""
    return lab.work_dir / "haqn.sqlite"
