"""Prefixes of a subnet pool: what may be in one, and where there is room. Pure; IPv4 and IPv6 alike."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from haqn.db.addresses import IpNetwork
from haqn.exceptions import EmptySubnetPoolPrefixList, PrefixVersionMismatch

#: IP version -> prefix lengths of subnets that a pool gives unless it says otherwise: the shortest and the longest
BOUNDS = {4: (8, 32), 6: (64, 128)}
#: IP version -> the length of the prefix that quotas of pools count: addresses of IPv4, /64 of IPv6, as in Neutron
_UNIT = {4: 32, 6: 64}


def merged(cidrs: Iterable[str]) -> list[IpNetwork]:
    """The prefixes, joined where they adjoin, in order.

    Raises EmptySubnetPoolPrefixList, PrefixVersionMismatch.
    """
    prefixes = [ipaddress.ip_network(cidr) for cidr in cidrs]
    fours = [prefix for prefix in prefixes if isinstance(prefix, ipaddress.IPv4Network)]
    sixes = [prefix for prefix in prefixes if isinstance(prefix, ipaddress.IPv6Network)]
    if not prefixes:
        raise EmptySubnetPoolPrefixList()
    if fours and sixes:
        raise PrefixVersionMismatch()
    return [*ipaddress.collapse_addresses(fours), *ipaddress.collapse_addresses(sixes)]


def contains(prefixes: Iterable[IpNetwork], cidr: IpNetwork) -> bool:
    """Whether one of `prefixes` has all of `cidr`."""
    first, last = _range(cidr)
    return any(
        prefix.version == cidr.version and low <= first and last <= high
        for prefix in prefixes
        for low, high in [_range(prefix)]
    )


def first_free(prefixes: Sequence[IpNetwork], taken: Iterable[IpNetwork], length: int) -> IpNetwork | None:
    """The first prefix of that length in `prefixes` that overlaps none of `taken`; None: there is no room."""
    ranges = sorted(map(_range, taken))
    for prefix in prefixes:
        if prefix.prefixlen > length:
            continue
        size = 1 << (prefix.max_prefixlen - length)
        candidate, last = _range(prefix)
        for low, high in ranges:
            if candidate + size <= low:
                break
            if high >= candidate:
                # on to the next multiple of the size
                candidate = -(-(high + 1) // size) * size
        if candidate + size - 1 <= last:
            return type(prefix)((candidate, length))
    return None


def units(cidr: IpNetwork) -> int:
    """What the prefix counts in a quota."""
    return 1 << max(_UNIT[cidr.version] - cidr.prefixlen, 0)


def _range(prefix: IpNetwork) -> tuple[int, int]:
    return int(prefix.network_address), int(prefix.broadcast_address)
