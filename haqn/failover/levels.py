"""What a member of a pair makes of itself: role levels, ways of yielding, and what VRRP's transitions do to them. Pure.

Knows neither files nor sockets: `consumer` and the agent carry out what is decided here, and the exploration of the
pair protocol (tests/unit/protocol) runs the same functions.
"""

from __future__ import annotations

#: role levels, see DESIGN.md
BACKUP_LEVEL = 0
DESIGNATED_LEVEL = 1
TOOK_OVER_LEVEL = 2
ORDERED_LEVEL = 3

#: ways of yielding (`<pair>.yield`): anything but NO puts keepalived's instance into FAULT
NO = 0
#: the leader knows that the peer forwards and that the two do not hear each other
TO_PEER = 1
#: the host has come back and does not know yet who forwards
RETURNING = 2
#: seconds after which a host that has come back claims what nobody else seems to have
RETURNING_FOR = 5.0

MASTER = "MASTER"


def level_after(state: str, level: int, *, was_master: bool) -> int:
    """The role level after keepalived has said that the instance is in `state`.

    Who takes over outranks the old MASTER, whatever that one believes when it wakes up; who gives way claims nothing.
    """
    if state == MASTER:
        return level if was_master else max(level, TOOK_OVER_LEVEL)
    return BACKUP_LEVEL if was_master else level


def yield_after(present: int, *, is_master: bool, heard: bool, seconds: float) -> int:
    """How a member yields that has been yielding for so long, by what it hears of its peer alone.

    Where adverts come through VRRP decides again, with or without an agent, etcd and a leader. But a member that hears
    and is not heard must have given way first: what it hears is no reason for a MASTER to do so.
    """
    if is_master:
        return present
    if heard or (present == RETURNING and seconds >= RETURNING_FOR):
        return NO
    return present
