"""What goes wrong when: a list of steps that follows from a seed and the size of the lab alone.

Nothing that is observed changes it, so a seed plays the same faults in the same order again. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from haqn.lab.chaos import fault
from haqn.lab.chaos.fault import Fault, Kind

MOST_AT_ONCE = 2
#: of faults, between two moments at which everything is healed and the cluster must be whole again
CALM_EVERY = 8
#: seconds; now and then a fault outlasts a lease, or what is done after its end
_SHORT, _LONG = (0.0, 3.0), (4.0, 10.0)
_LONG_SHARE = 0.2
#: an overlap is wanted more often than not
_INFLICT_SHARE = 0.6
#: kinds that are drawn more often than the others
_WEIGHTS = {Kind.CRASH: 4, Kind.FREEZE: 2, Kind.POWER_OFF: 3, Kind.CUT_HA: 3, Kind.CUT_UPLINK: 2, Kind.KILL_AGENT: 2}
_TARGETS: dict[Kind, tuple[str, ...]] = {
    Kind.KILL_MONITOR: ("monitor1", "monitor2"),
    Kind.PAUSE_MONITOR: ("monitor1", "monitor2"),
    Kind.KILL_ETCD_MEMBER: ("etcd1", "etcd2", "etcd3"),
    Kind.PAUSE_ETCD_MEMBER: ("etcd1", "etcd2", "etcd3"),
    # ctl1 has the API and the database's file
    Kind.CRASH_CONTROL: ("ctl2", "ctl3"),
}


@dataclass(frozen=True, slots=True)
class Inflict:
    fault: Fault
    #: seconds that it goes on for at least before the next step
    dwell: float

    def __str__(self) -> str:
        return f"inflict {self.fault}"


@dataclass(frozen=True, slots=True)
class Heal:
    fault: Fault
    dwell: float

    def __str__(self) -> str:
        return f"heal {self.fault}"


@dataclass(frozen=True, slots=True)
class Calm:
    """No fault is in force: the cluster becomes whole."""

    def __str__(self) -> str:
        return "calm"


Step = Inflict | Heal | Calm


def write(seed: int, hosts: Collection[str], faults: int) -> list[Step]:
    """Steps with so many faults, at most MOST_AT_ONCE of them in force at once, none at the end. Each ends in Calm."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    steps: list[Step] = []
    in_force: list[Fault] = []
    inflicted = since_calm = 0
    while inflicted < faults or in_force:
        full = len(in_force) == MOST_AT_ONCE or inflicted == faults or since_calm == CALM_EVERY
        if in_force and (full or chance.random() > _INFLICT_SHARE):
            healed = in_force.pop(chance.randrange(len(in_force)))
            steps.append(Heal(healed, _dwell(chance)))
        else:
            fault_ = _draw(chance, sorted(hosts), in_force)
            in_force.append(fault_)
            steps.append(Inflict(fault_, _dwell(chance)))
            inflicted += 1
            since_calm += 1
        if not in_force and (since_calm == CALM_EVERY or inflicted == faults):
            steps.append(Calm())
            since_calm = 0
    return steps


def _dwell(chance: random.Random) -> float:
    return round(chance.uniform(*(_LONG if chance.random() < _LONG_SHARE else _SHORT)), 1)


def _draw(chance: random.Random, hosts: list[str], in_force: list[Fault]) -> Fault:
    kinds = list(Kind)
    weights = [_WEIGHTS.get(kind, 1) for kind in kinds]
    while True:
        (kind,) = chance.choices(kinds, weights)
        targets = hosts if kind in fault.OF_HOSTS else list(_TARGETS.get(kind, ("",)))
        drawn = Fault(kind, chance.choice(targets))
        if compatible(drawn, in_force):
            return drawn


def compatible(new: Fault, in_force: Collection[Fault]) -> bool:
    """Whether the fault can be inflicted beside those in force and be healed by itself.

    A dead host has nothing left that could go wrong, and two faults of one program are one.
    """
    return all(_fit(new, other) and _fit(other, new) for other in in_force)


def _fit(one: Fault, other: Fault) -> bool:
    if one.of_host and one.target == other.target:
        return one.kind not in fault.DEAD and _part(one.kind) != _part(other.kind)
    # a lease cannot be revoked while nobody keeps leases
    return not (one.programs & other.programs or (one.kind is Kind.REVOKE_LEASE and other.kind is Kind.NO_QUORUM))


def _part(kind: Kind) -> str:
    """What of a host the fault is about."""
    if kind is Kind.REVOKE_LEASE:
        return "agent"
    verb, _, part = kind.partition("-")
    return f"{verb}-{part.split('-')[0]}" if verb == "cut" else part
