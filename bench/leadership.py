"""How long until another monitor leads: the leader is killed, frozen, or its whole host is.

Three members of etcd, two monitors, no hosts: the time is that of leases and of the election. What counts is the new
leader's epoch in etcd: with it a monitor has begun its term in SQL, and writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import Measured, table
from haqn.lab import etcdctl, faults, leader, services
from haqn.lab.cluster import Lab
from haqn.lab.leader import Succession
from haqn.lab.processes import wait_until
from haqn.lab.services import Service
from haqn.lab.spec import Kind, LabSpec

_TTL = 5
#: seconds from the leader's end to the next one's epoch
_GOAL = _TTL + 1.0
#: when etcd has to elect a leader, too, which then begins all leases anew: nothing of haqn's has a say in it
_NO_GOAL = None
_REPETITIONS = 5
_REPETITIONS_OF_HOSTS = 2
_READY_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class _Took:
    """Seconds until the next leader's epoch, from the end of the last one, and from the end of its lease in etcd."""

    altogether: float
    after_lease: float


def measure(say: Callable[[str], None]) -> list[Measured]:
    """The rows of the table."""
    lab = Lab("benchlead")
    try:
        lab.build(LabSpec(name=lab.name, hosts=0, computes=0, etcd=3, lease_ttl=_TTL))
        services.start_all(lab)
        rows = [
            _worst("monitor leader killed (SIGKILL)", [_killed(lab) for _ in _times(say, "killed", _REPETITIONS)]),
            _worst("monitor leader frozen (SIGSTOP)", [_frozen(lab) for _ in _times(say, "frozen", _REPETITIONS)]),
        ]
        for etcd_leads, where in ((False, "a follower of etcd on it"), (True, "etcd's leader on it")):
            times = _times(say, f"gone with its host, {where}", _REPETITIONS_OF_HOSTS)
            took = [_host_frozen(lab, etcd_leads=etcd_leads) for _ in times]
            rows.append(_worst(f"monitor leader's host crashed, {where}", took, _NO_GOAL if etcd_leads else _GOAL))
        return rows
    finally:
        lab.destroy()


def _times(say: Callable[[str], None], what: str, count: int) -> range:
    say(f"leadership: the leader is {what}, {count} times")
    return range(count)


def _worst(what: str, took: list[_Took], goal: float | None = _GOAL) -> Measured:
    all_of_them = ", ".join(f"{one.altogether:.1f}" for one in sorted(took, key=lambda one: one.altogether))
    detail = f"{all_of_them}; at most {max(one.after_lease for one in took):.2f} s after the end of the lease"
    value = max(one.altogether for one in took)
    return Measured(f"{what}: another leads, worst of {len(took)}", value, "s", goal, detail)


def _leader(lab: Lab) -> Service:
    """The leader, when another one stands for election."""
    wait_until(lambda: _leases(lab) == 2 and _leading(lab) is not None, "see two monitors", _READY_TIMEOUT)
    # the one that has come last lists and watches by now
    time.sleep(2.0)
    found = _leading(lab)
    if found is None:
        raise RuntimeError("cannot measure: nobody leads any more, without a reason")
    return found


def _leading(lab: Lab) -> Service | None:
    record = leader.record(lab)
    return leader.monitor_of(lab, record) if record.epoch else None


def _leases(lab: Lab) -> int:
    """Nothing but monitors has a lease here."""
    return len(json.loads(etcdctl.etcdctl(lab, "lease", "list", "--write-out=json")).get("leases") or [])


def _until_succeeded(lab: Lab, end: Callable[[], None], *, silent: str = "") -> _Took:
    """`silent`: the host that ends with the leader."""
    with Succession(lab, without=silent) as succession:
        epoch = leader.record(lab).epoch
        began = time.monotonic()
        end()
        changes = succession.until_led(beyond=epoch)
        led_at = changes[-1].time
        return _Took(led_at - began, led_at - max(change.time for change in changes if change.leader is None))


def _killed(lab: Lab) -> _Took:
    victim = _leader(lab)
    took = _until_succeeded(lab, lambda: faults.kill(lab.host(victim.host), victim.name))
    services.start(lab, victim)
    return took


def _frozen(lab: Lab) -> _Took:
    victim = _leader(lab)
    host = lab.host(victim.host)
    took = _until_succeeded(lab, lambda: faults.pause(host, victim.name))
    faults.resume(host, victim.name)
    return took


def _host_frozen(lab: Lab, *, etcd_leads: bool) -> _Took:
    host = _leader(lab).host
    elsewhere = next(one.name for one in lab.spec.of_kind(Kind.CONTROL) if one.name != host)
    _move_etcd(lab, host if etcd_leads else elsewhere)
    took = _until_succeeded(lab, lambda: faults.crash(lab, host), silent=host)
    faults.thaw(lab, host)
    return took


def _move_etcd(lab: Lab, host: str) -> None:
    """Make the member of etcd on that host its leader."""
    members = json.loads(etcdctl.etcdctl(lab, "endpoint", "status", "--write-out=json"))
    ids = {one["Endpoint"].partition(":")[0]: one["Status"]["header"]["member_id"] for one in members}
    present = {one["Status"]["leader"] for one in members}
    wanted = ids[lab.spec.host(host).address]
    if present != {wanted}:
        etcdctl.etcdctl(lab, "move-leader", f"{wanted:x}")
        # a new leader of etcd gives each lease more time than its TTL, until it is kept alive the next time
        time.sleep(_TTL / 2)


if __name__ == "__main__":
    print(table(measure(lambda what: print(what, flush=True))))
