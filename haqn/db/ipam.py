"""Which addresses of a subnet are free, and taking them.

An address is taken by the row (subnet, address) of `ip_allocations`, whose primary key is what makes it impossible to
take one twice. Free addresses are guessed at random, so that workers that allocate at the same moment rarely meet and
an address is not soon used again; when the guesses are all taken, the subnet is locked and its first free address is
used.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.addresses import Subnet, number
from haqn.db.clock import utcnow
from haqn.db.owners import INTERFACE_OWNERS, DeviceOwner
from haqn.db.session import Connection
from haqn.exceptions import (
    AllocationOnAutoAddressSubnet,
    InvalidInput,
    InvalidIpForNetwork,
    InvalidIpForSubnet,
    IpAddressAlreadyAllocated,
    IpAddressGenerationFailure,
)

_GUESSES = 32
#: position of an address that comes after those that were there before
_LAST = 1000
_allocations = tables.ip_allocations


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
            subnets.c.ipv6_ra_mode,
            subnets.c.ipv6_address_mode,
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
            cidr=ipaddress.ip_network(members[0].cidr),
            gateway_ip=members[0].gateway_ip,
            ipv6_ra_mode=members[0].ipv6_ra_mode,
            ipv6_address_mode=members[0].ipv6_address_mode,
            pools=tuple((number(row.first_ip), number(row.last_ip)) for row in members if row.first_ip is not None),
        )
        for subnet_id, members in grouped.items()
    ]


def choose(
    connection: Connection,
    network_id: str,
    requests: Sequence[Mapping[str, str | None]] | None,
    *,
    mac: str | None = None,
    present: Collection[Allocation] = (),
) -> list[Allocation]:
    """Free addresses of the network for each of `requests` ({subnet_id, ip_address}, either may be missing).

    None asks for one address of each IP version that the network has subnets of; a network without subnets has none
    to give. A port with `mac` has, unasked, the address that its host makes for itself in each subnet of automatic
    addresses; a router's interface (mac None) has not. `present`: what the port keeps. Nothing is written.

    Raises InvalidInput, InvalidIpForSubnet, InvalidIpForNetwork, AllocationOnAutoAddressSubnet,
    IpAddressAlreadyAllocated, IpAddressGenerationFailure.
    """
    if requests is not None and not requests and mac is None:
        return []
    subnets = subnets_where(connection, tables.subnets.c.network_id == network_id)
    automatic = [subnet for subnet in subnets if mac is not None and subnet.is_automatic]
    chosen: list[Allocation] = []
    if requests is None:
        ordinary = [subnet for subnet in subnets if subnet not in automatic]
        for version in (4, 6):
            if of_version := [subnet for subnet in ordinary if subnet.cidr.version == version]:
                chosen.append(_any(connection, network_id, of_version, chosen))
    for request in requests or ():
        address = request.get("ip_address")
        candidates = _candidates(network_id, subnets, request.get("subnet_id"), address)
        if candidates[0] not in automatic:
            if address is not None:
                chosen.append(_specific(connection, candidates[0], address, chosen))
            else:
                chosen.append(_any(connection, network_id, candidates, chosen))
        elif address is not None:
            raise AllocationOnAutoAddressSubnet(ip=address, subnet_id=candidates[0].id)
    served = {allocation.subnet_id for allocation in present}
    for subnet in automatic:
        if mac is not None and subnet.id not in served:
            chosen.append(_specific(connection, subnet, subnet.eui64(mac), chosen))
    return chosen


def automatic_subnets(connection: Connection, subnet_ids: Collection[str]) -> set[str]:
    """Those of the subnets whose addresses hosts make themselves."""
    found = subnets_where(connection, tables.subnets.c.id.in_(subnet_ids)) if subnet_ids else []
    return {subnet.id for subnet in found if subnet.is_automatic}


def serve_ports(connection: Connection, subnet: Subnet) -> None:
    """Give the ports of a new subnet of automatic addresses theirs."""
    ports = tables.ports
    hosts = sa.and_(
        ports.c.network_id == subnet.network_id,
        ports.c.device_owner.not_in([*INTERFACE_OWNERS, DeviceOwner.FLOATING_IP]),
    )
    found = connection.execute(sa.select(ports.c.id, ports.c.mac_address).where(hosts)).all()
    if not found:
        return
    connection.execute(
        _allocations.insert(),
        [
            {"subnet_id": subnet.id, "ip_address": subnet.eui64(mac), "port_id": port_id, "position": _LAST}
            for port_id, mac in found
        ],
    )
    connection.execute(
        ports.update().where(hosts).values(revision_number=ports.c.revision_number + 1, updated_at=utcnow())
    )


def forget_mac(connection: Connection, port_id: str, mac: str) -> None:
    """Take away the addresses that the port has because of its MAC."""
    held = sa.select(_allocations.c.subnet_id).where(_allocations.c.port_id == port_id)
    for subnet in subnets_where(connection, tables.subnets.c.id.in_(held)):
        if subnet.is_automatic:
            give_back(connection, Allocation(subnet.id, subnet.eui64(mac)))


def give_back(connection: Connection, allocation: Allocation) -> None:
    """The address is free again."""
    connection.execute(
        _allocations.delete().where(
            _allocations.c.subnet_id == allocation.subnet_id, _allocations.c.ip_address == allocation.ip_address
        )
    )


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
    return [subnet for subnet in subnets if not subnet.is_automatic] or subnets


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
    guesses = subnet.draw(_GUESSES)
    used = taken(connection, subnet.id, guesses) | own
    return next((address for address in guesses if address not in used), None)


def _first_free(connection: Connection, subnet: Subnet, own: set[str]) -> str | None:
    # whoever else comes here waits, so that the last few addresses are not fought for
    connection.execute(sa.select(tables.subnets.c.id).where(tables.subnets.c.id == subnet.id).with_for_update())
    used = taken(connection, subnet.id) | own
    return next((address for address in subnet.addresses() if address not in used), None)
