"""What must hold for a router while faults are in force. Pure: it follows from the faults and from who has the router.

Bounds are in seconds, and generous: they tell a broken promise from a busy machine. How fast failovers are is measured
by the bench.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from haqn.lab.chaos import fault
from haqn.lab.chaos.fault import Control, Fault, Kind

#: of a handover between two members that both live
_HANDOVER = 2.0
#: until a peer has noticed, opened its gate and announced itself
_TAKEOVER = 4.0
#: after which the kernel shuts a gate that nobody refreshes ([agent] gate_lease_ms)
_GATE_LEASE = 3.0
#: until one of two that do not hear each other yields: detection, and 2 s
_RESOLVED = 12.0
#: nobody who forwards was touched
_QUIET = 1.0
#: from the last change of anything until packets flow
_FORWARDS = 20.0
#: leases' lifetimes until another leader has taken over and believes what it sees
_ANOTHER_LEADER = 4
#: leases' lifetimes until a lease has ended, and that is believed
_ONE_LEASE = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a router is."""

    #: hosts of the pair that it is bound to in SQL
    bound: frozenset[str] = frozenset()
    #: hosts that have built all of it
    ready: frozenset[str] = frozenset()
    #: hosts that have something of it
    holders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Promise:
    """What holds for one router. None: nothing is promised."""

    #: from the last change until packets flow
    forwards_within: float | None = None
    #: longest time without an answer
    gap: float | None = None
    #: longest time for which two hosts let its frames pass
    overlap: float | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a promise depends on besides the place of the router."""

    #: in force now, and those that have just been healed: what they did is being undone
    faults: frozenset[Fault]
    #: hosts that have come back and are not whole yet
    recovering: frozenset[str] = frozenset()
    #: lifetime of leases, in seconds
    ttl: float = 10.0

    def of(self, host: str) -> frozenset[Kind]:
        """The faults of this host."""
        return frozenset(one.kind for one in self.faults if one.of_host and one.target == host)

    def runs(self, host: str) -> bool:
        """Its keepalived sends adverts, and opens gates."""
        return host not in self.recovering and not self.of(host) & (fault.DEAD | fault.NO_KEEPALIVED)

    def carries(self, host: str) -> bool:
        """It can forward for the routers that it has."""
        return self.runs(host) and not self.of(host) & (fault.NO_UPLINK | fault.LOSSY_UPLINK)

    def hears(self, listener: str, speaker: str) -> bool:
        """Adverts get from one to the other."""
        return not (self.of(listener) & fault.DEAF or self.of(speaker) & fault.MUTE)


def promise(place: Place, now: Situation) -> Promise:
    """What holds for the router that is in this place, in this situation."""
    members = place.bound | place.holders
    touched = frozenset().union(*(now.of(host) for host in members)) if members else frozenset()
    apart = _apart(members, now)
    overlap = _overlap(members, touched, now, apart=apart)
    able = {host for host in place.bound & place.ready if now.carries(host)}
    # a host whose uplink loses frames looks healthy to everybody
    if not able or overlap is None or touched & fault.LOSSY_UPLINK:
        return Promise(overlap=overlap)
    if not apart and touched & (fault.DEAF | fault.MUTE) and touched & (fault.DEAD | fault.NO_KEEPALIVED):
        return _after_yielding(touched, now, overlap)
    gap = _gap(touched, disturbed=bool(members & now.recovering))
    return Promise(
        forwards_within=max(_FORWARDS, overlap + _TAKEOVER),
        gap=max(gap, overlap + _TAKEOVER) if apart else gap,
        overlap=overlap,
    )


def _after_yielding(touched: frozenset[Kind], now: Situation, overlap: float) -> Promise:
    """Who is left may have yielded to who is gone, until the leader says that it need not any more."""
    control = fault.control(now.faults)
    if control is Control.NONE or touched & fault.NO_AGENT:
        return Promise(overlap=overlap)
    leases = _ONE_LEASE + (_ANOTHER_LEADER if control is Control.SLOW else 0)
    within = _FORWARDS + leases * now.ttl
    return Promise(forwards_within=within, gap=within, overlap=overlap)


def _apart(members: Collection[str], now: Situation) -> bool:
    """Two of them run and do not hear each other, in one direction at least."""
    return any(
        not now.hears(one, other)
        for one in members
        for other in members
        if one != other and not (now.of(one) | now.of(other)) & (fault.DEAD - {Kind.FREEZE})
    )


def _overlap(members: Collection[str], touched: frozenset[Kind], now: Situation, *, apart: bool) -> float | None:
    """How long two of the hosts may forward at once."""
    if apart:
        alone = touched <= fault.DEAF | fault.MUTE and not set(members) & now.recovering
        control = fault.control(now.faults)
        if not alone or control is Control.NONE:
            # VRRP cannot tell them, and nobody else can
            return None
        return _RESOLVED + (_ANOTHER_LEADER * now.ttl if control is Control.SLOW else 0.0)
    return _HANDOVER + (_GATE_LEASE if touched & fault.GATES_RUN_OUT or set(members) & now.recovering else 0.0)


def _gap(touched: frozenset[Kind], *, disturbed: bool) -> float:
    """How long packets may be lost while members hear each other."""
    if touched & fault.GATES_RUN_OUT or disturbed:
        return _TAKEOVER + _GATE_LEASE
    return _TAKEOVER if touched & (fault.DEAD | fault.NO_UPLINK) or touched & fault.NO_AGENT else _QUIET
