"""What can go wrong in a lab, one word each, and what it takes away. Pure: the words, not the deeds."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """A kind of fault. Those below `# hosts` are of one network host, the others of the control plane."""

    # hosts
    CRASH = "crash"
    FREEZE = "freeze"
    POWER_OFF = "power-off"
    CUT_HA = "cut-ha"
    CUT_HA_IN = "cut-ha-in"
    CUT_HA_OUT = "cut-ha-out"
    CUT_UPLINK = "cut-uplink"
    CUT_UPLINK_IN = "cut-uplink-in"
    CUT_UPLINK_OUT = "cut-uplink-out"
    CUT_MGMT = "cut-mgmt"
    CUT_MGMT_IN = "cut-mgmt-in"
    CUT_MGMT_OUT = "cut-mgmt-out"
    KILL_KEEPALIVED = "kill-keepalived"
    PAUSE_KEEPALIVED = "pause-keepalived"
    KILL_AGENT = "kill-agent"
    PAUSE_AGENT = "pause-agent"
    REVOKE_LEASE = "revoke-lease"
    # the control plane
    KILL_API = "kill-api"
    PAUSE_API = "pause-api"
    KILL_MONITOR = "kill-monitor"
    PAUSE_MONITOR = "pause-monitor"
    KILL_MONITORS = "kill-monitors"
    KILL_ETCD_MEMBER = "kill-etcd-member"
    PAUSE_ETCD_MEMBER = "pause-etcd-member"
    CRASH_CONTROL = "crash-control"
    NO_QUORUM = "no-quorum"
    #: nobody can write: what a primary that is lost looks like until another one is promoted
    SQL_AWAY = "sql-away"


#: nothing of the host's own runs on while it lasts; when it ends the host is as it was, or has booted
DEAD = frozenset({Kind.CRASH, Kind.FREEZE, Kind.POWER_OFF})
#: the host's gates are shut by the kernel alone, when their leases run out
GATES_RUN_OUT = frozenset({Kind.FREEZE, Kind.KILL_KEEPALIVED, Kind.PAUSE_KEEPALIVED, Kind.CRASH})
NO_KEEPALIVED = frozenset({Kind.KILL_KEEPALIVED, Kind.PAUSE_KEEPALIVED})
#: the peers' adverts do not reach the host
DEAF = frozenset({Kind.CUT_HA, Kind.CUT_HA_IN})
#: the host's adverts do not reach its peers
MUTE = frozenset({Kind.CUT_HA, Kind.CUT_HA_OUT})
NO_UPLINK = frozenset({Kind.CUT_UPLINK})
#: frames are lost although the link has a carrier
LOSSY_UPLINK = frozenset({Kind.CUT_UPLINK_IN, Kind.CUT_UPLINK_OUT})
#: nobody carries out what the leader asks of the host, for a moment at least
NO_AGENT = frozenset(
    {Kind.KILL_AGENT, Kind.PAUSE_AGENT, Kind.REVOKE_LEASE, Kind.CUT_MGMT, Kind.CUT_MGMT_IN, Kind.CUT_MGMT_OUT}
)
OF_HOSTS = DEAD | NO_KEEPALIVED | DEAF | MUTE | NO_UPLINK | LOSSY_UPLINK | NO_AGENT

_API = "api"
_SQL = "sql"
_MONITORS = frozenset({"monitor1", "monitor2"})
_ETCD = frozenset({"etcd1", "etcd2", "etcd3"})
_PROGRAMS: dict[Kind, frozenset[str]] = {
    Kind.KILL_API: frozenset({_API}),
    Kind.PAUSE_API: frozenset({_API}),
    Kind.KILL_MONITORS: _MONITORS,
    Kind.NO_QUORUM: _ETCD,
    Kind.SQL_AWAY: frozenset({_SQL}),
}
_ON_CONTROL = {"ctl2": frozenset({"monitor2", "etcd2"}), "ctl3": frozenset({"etcd3"})}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault. `target` is a network host, or names which of the control plane's programs (`monitor1`, `etcd2`,
    `ctl2`); empty where there is but one."""

    kind: Kind
    target: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.target}".rstrip()

    @property
    def of_host(self) -> bool:
        """Whether it is of one network host, and not of the control plane."""
        return self.kind in OF_HOSTS

    @property
    def programs(self) -> frozenset[str]:
        """The programs of the control plane that it takes away."""
        if self.of_host:
            return frozenset()
        return _PROGRAMS.get(self.kind) or _ON_CONTROL.get(self.target) or frozenset({self.target})


class Control(enum.IntEnum):
    """What is left of the control plane."""

    NONE = 0
    #: one of several programs is away: another one does its work after a while
    SLOW = 1
    WHOLE = 2


def control(faults: Iterable[Fault]) -> Control:
    """What the faults leave of the control plane; the API is no part of it."""
    away = frozenset(program for one in faults for program in one.programs) - {_API}
    if _SQL in away or away >= _MONITORS or len(away & _ETCD) > 1:
        return Control.NONE
    return Control.SLOW if away else Control.WHOLE


def api_answers(faults: Iterable[Fault]) -> bool:
    """Whether writes are taken: what the API asks for, and it itself, is there."""
    away = frozenset(program for one in faults for program in one.programs)
    return not away & {_API, _SQL}
