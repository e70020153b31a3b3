"""Which addresses of a subnet are free, and taking them.

An address is taken by the row (subnet, address) of `ip_allocations`, whose primary key is what makes it impossible to
take one twice. Free addresses are guessed at random, so that workers that allocate at the same moment rarely meet and
an address is not soon used again; when the guesses are all taken, the subnet is locked and its first free address is
used.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.exceptions import (
    InvalidInput,
    InvalidIpForNetwork,
    InvalidIpForSubnet,
    IpAddressAlreadyAllocated,
    IpAddressGenerationFailure,
)

_GUESSES = 32
_allocations = tables.ip_allocations

#: Addresses as numbers, first and last.
Pool = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """What allocation must know of a subnet."""

    id: str
    network_id: str
    cidr: ipaddress.IPv4Network
    gateway_ip: str | None
    pools: tuple[Pool, ...]

    def admits(self, address: str) -> bool:
        """Whether a host of the subnet may have `address`."""
        ip = ipaddress.IPv4Address(address)
        return ip in self.cidr and ip not in (self.cidr.network_address, self.cidr.broadcast_address)


@dataclass(frozen=True, slots=True)
class Allocation:
    subnet_id: str
    ip_address: str


def subnets_where(connection: Connection, condition: sa.ColumnElement[bool]) -> list[Subnet]:
    """The subnets that satisfy `condition`, oldest first, with their pools."""
    subnets, pools = tables.subnets, tables.allocation_pools
    rows = connection.execute(
        sa.select(
            subnets.c.id,
            subnets.c.network_id,
            subnets.c.cidr,
            subnets.c.gateway_ip,
            pools.c.first_ip,
            pools.c.last_ip,
        )
        .select_from(subnets.outerjoin(pools))
        .where(condition)
        .order_by(subnets.c.created_at, subnets.c.id, pools.c.id)
    ).all()
    grouped: dict[str, list[Any]] = {}
    for row in rows:
        grouped.setdefault(row.id, []).append(row)
    return [
        Subnet(
            id=subnet_id,
            network_id=members[0].network_id,
            cidr=ipaddress.IPv4Network(members[0].cidr),
            gateway_ip=members[0].gateway_ip,
            pools=tuple((_number(row.first_ip), _number(row.last_ip)) for row in members if row.first_ip is not None),
        )
        for subnet_id, members in grouped.items()
    ]


def choose(
    connection: Connection, network_id: str, requests: Sequence[Mapping[str, str | None]] | None
) -> list[Allocation]:
    """Free addresses of the network for each of `requests` ({subnet_id, ip_address}, either may be missing).

    None asks for one address of any subnet; a network without subnets has none to give. Nothing is written.
    Raises InvalidInput, InvalidIpForSubnet, InvalidIpForNetwork, IpAddressAlreadyAllocated,
    IpAddressGenerationFailure.
    """
    if requests is not None and not requests:
        return []
    subnets = subnets_where(connection, tables.subnets.c.network_id == network_id)
    if requests is None:
        if not subnets:
            return []
        requests = [{}]
    chosen: list[Allocation] = []
    for request in requests:
        address = request.get("ip_address")
        candidates = _candidates(network_id, subnets, request.get("subnet_id"), address)
        if address is not None:
            chosen.append(_specific(connection, candidates[0], address, chosen))
        else:
            chosen.append(_any(connection, network_id, candidates, chosen))
    return chosen


def take(connection: Connection, port_id: str, chosen: Sequence[Allocation], *, first_position: int = 0) -> None:
    """Give the port the addresses. Raises (by its primary key) WriteConflict when somebody was quicker."""
    if chosen:
        connection.execute(
            _allocations.insert(),
            [
                {
                    "subnet_id": allocation.subnet_id,
                    "ip_address": allocation.ip_address,
                    "port_id": port_id,
                    "position": position,
                }
                for position, allocation in enumerate(chosen, first_position)
            ],
        )


def taken(connection: Connection, subnet_id: str, addresses: Collection[str] | None = None) -> set[str]:
    """Those of `addresses` (None: of all) that a port has."""
    statement = sa.select(_allocations.c.ip_address).where(_allocations.c.subnet_id == subnet_id)
    if addresses is not None:
        statement = statement.where(_allocations.c.ip_address.in_(addresses))
    return set(connection.scalars(statement))


def _candidates(
    network_id: str, subnets: Sequence[Subnet], subnet_id: str | None, address: str | None
) -> Sequence[Subnet]:
    """The subnets that the request can be met from; at least one."""
    if subnet_id is not None:
        matching = [subnet for subnet in subnets if subnet.id == subnet_id]
        if not matching:
            raise InvalidInput(
                error_message=f"Failed to create port on network {network_id}, because fixed_ips included "
                f"invalid subnet {subnet_id}"
            )
        if address is not None and not matching[0].admits(address):
            raise InvalidIpForSubnet(ip_address=address)
        return matching
    if address is not None:
        matching = [subnet for subnet in subnets if subnet.admits(address)]
        if not matching:
            raise InvalidIpForNetwork(ip_address=address)
        return matching
    if not subnets:
        raise IpAddressGenerationFailure(network_id=network_id)
    return subnets


def _specific(connection: Connection, subnet: Subnet, address: str, chosen: Sequence[Allocation]) -> Allocation:
    allocation = Allocation(subnet.id, address)
    if allocation in chosen or taken(connection, subnet.id, [address]):
        raise IpAddressAlreadyAllocated(ip=address, subnet_id=subnet.id)
    return allocation


def _any(
    connection: Connection, network_id: str, subnets: Sequence[Subnet], chosen: Sequence[Allocation]
) -> Allocation:
    for subnet in subnets:
        own = {allocation.ip_address for allocation in chosen if allocation.subnet_id == subnet.id}
        address = _guess(connection, subnet, own) or _first_free(connection, subnet, own)
        if address is not None:
            return Allocation(subnet.id, address)
    raise IpAddressGenerationFailure(network_id=network_id)


def _guess(connection: Connection, subnet: Subnet, own: set[str]) -> str | None:
    guesses = [_text(number) for number in draw(subnet.pools, _GUESSES)]
    used = taken(connection, subnet.id, guesses) | own
    return next((address for address in guesses if address not in used), None)


def _first_free(connection: Connection, subnet: Subnet, own: set[str]) -> str | None:
    # whoever else comes here waits, so that the last few addresses are not fought for
    connection.execute(sa.select(tables.subnets.c.id).where(tables.subnets.c.id == subnet.id).with_for_update())
    used = taken(connection, subnet.id) | own
    return next((address for address in map(_text, _addresses(subnet.pools)) if address not in used), None)


def draw(pools: Sequence[Pool], count: int) -> list[int]:
    """Up to `count` different addresses of `pools`, at random."""
    sizes = [last - first + 1 for first, last in pools]
    total = sum(sizes)
    drawn = []
    for offset in random.sample(range(total), min(count, total)):
        remaining = offset
        for (first, _), size in zip(pools, sizes, strict=True):
            if remaining < size:
                drawn.append(first + remaining)
                break
            remaining -= size
    return drawn


def _addresses(pools: Sequence[Pool]) -> Iterator[int]:
    for first, last in pools:
        yield from range(first, last + 1)


def _number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def _text(number: int) -> str:
    return str(ipaddress.IPv4Address(number))
