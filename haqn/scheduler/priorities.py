"""Who of a pair's members forwards: the one table. Pure.

Working uplinks count more than a live lease, a live lease more than the designated role. Two of the three are VRRP's
business, as a priority for which a host needs nobody but itself. The lease is not: only etcd can say that one has ended
while others live, so the leader turns its loss into a role (doc/adr/0004). Knows no keepalived and no etcd.
"""

from __future__ import annotations

#: of a member whose uplinks all work, at role level 0. As high as it may be, because a backup waits
#: (256 - its priority) / 256 of an advert interval longer (RFC 5798 section 6.1)
WHOLE = 220
#: of all uplinks together
UPLINKS = 80
#: of one role level; levels are 0..3 (haqn.failover.levels). The same on every host, whatever uplinks it has
LEVEL = 2
#: one uplink counts more than all role levels
_LEAST = 3 * LEVEL + 1
MAX_UPLINKS = (WHOLE - 1) // _LEAST


def uplink_weight(uplinks: int) -> int:
    """What each of a host's uplinks counts. `uplinks`: up to MAX_UPLINKS."""
    return max(UPLINKS // max(uplinks, 1), _LEAST)


def base(uplinks: int) -> int:
    """The priority of a host of whose uplinks none works, at role level 0. Without uplinks all of them work."""
    return WHOLE - uplinks * uplink_weight(uplinks)


def priority(uplinks: int, dead: int, level: int) -> int:
    """The VRRP priority of a host with so many uplinks, `dead` of which do not work, at this role level."""
    return WHOLE - dead * uplink_weight(uplinks) + LEVEL * level


def elected(one: int, other: int) -> int:
    """Who of two members that hear each other and are not in FAULT becomes MASTER, 0 or 1, by their priorities.

    -1: they are equal, and who is MASTER stays it; if both are, the one with the higher HA address
    (RFC 5798 section 6.4.3). That is the only tie-break there is.
    """
    return -1 if one == other else int(other > one)
