"""Subnets as ranges of addresses, of IPv4 and IPv6 alike. PURE: no SQL, but chance.

Nothing here counts through a range: a subnet of IPv6 has 2^64 addresses.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from haqn.model import AUTO_ADDRESS_MODES

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Addresses as numbers, first and last.
Pool = tuple[int, int]

#: `random.sample` takes ranges up to the largest C integer only.
_SAMPLED = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """What allocation must know of a subnet."""

    id: str
    network_id: str
    cidr: IpNetwork
    gateway_ip: str | None
    pools: tuple[Pool, ...]
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None

    @property
    def is_automatic(self) -> bool:
        """Whether hosts make their addresses of the prefix and their MACs (RFC 4862)."""
        return is_automatic(self.ipv6_ra_mode, self.ipv6_address_mode)

    def admits(self, address: str) -> bool:
        """Whether a host of the subnet may have `address`."""
        return is_of_host(self.cidr, address)

    def addresses(self) -> Iterator[str]:
        """The addresses of the pools, from the first one on."""
        for first, last in self.pools:
            number = first
            while number <= last:
                yield text(self.cidr, number)
                number += 1

    def draw(self, count: int) -> list[str]:
        """Up to `count` different addresses of the pools, at random."""
        return [text(self.cidr, number) for number in draw(self.pools, count)]

    def eui64(self, mac: str) -> str:
        """The address that the host with this MAC makes for itself: RFC 4291, appendix A."""
        octets = bytes.fromhex(mac.replace(":", ""))
        identifier = bytes([octets[0] ^ 0x02]) + octets[1:3] + b"\xff\xfe" + octets[3:]
        return text(self.cidr, int(self.cidr.network_address) + int.from_bytes(identifier, "big"))


def is_automatic(ra_mode: str | None, address_mode: str | None) -> bool:
    """Whether a subnet of these modes is one of addresses that hosts make themselves."""
    return ra_mode in AUTO_ADDRESS_MODES or address_mode in AUTO_ADDRESS_MODES


def hosts(cidr: IpNetwork) -> Pool:
    """The addresses that hosts may have: neither the network's (in IPv6 all its routers': RFC 4291, 2.6.1) nor, in
    IPv4, the broadcast address."""
    return int(cidr.network_address) + 1, int(cidr.broadcast_address) - (1 if cidr.version == 4 else 0)


def is_of_host(cidr: IpNetwork, address: str) -> bool:
    """Whether a host of `cidr` may have `address`."""
    ip = ipaddress.ip_address(address)
    first, last = hosts(cidr)
    return ip in cidr and first <= int(ip) <= last


def number(address: str) -> int:
    """The address as a number."""
    return int(ipaddress.ip_address(address))


def text(cidr: IpNetwork, number: int) -> str:
    """The address that is this number, of the IP version of `cidr`."""
    return str(ipaddress.IPv4Address(number) if cidr.version == 4 else ipaddress.IPv6Address(number))


def draw(pools: Sequence[Pool], count: int) -> list[int]:
    """Up to `count` different addresses of `pools`, at random."""
    sizes = [last - first + 1 for first, last in pools]
    total = sum(sizes)
    if total <= _SAMPLED:
        offsets = random.sample(range(total), min(count, total))
    else:
        # of so many that hardly two are the same
        offsets = list({random.randrange(total) for _ in range(count)})  # noqa: S311 chance, not a secret
    drawn = []
    for offset in offsets:
        remaining = offset
        for (first, _), size in zip(pools, sizes, strict=True):
            if remaining < size:
                drawn.append(first + remaining)
                break
            remaining -= size
    return drawn
