"""The rules of writing subnets: ranges that fit each other, and what may be deleted."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence

import sqlalchemy as sa

from haqn.db import tables, tags
from haqn.db.networks import STORE as NETWORKS
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row, Store, select_in
from haqn.exceptions import (
    GatewayConflictWithAllocationPools,
    GatewayIpInUse,
    InvalidAllocationPool,
    InvalidInput,
    OutOfBoundsAllocationPool,
    OverlappingAllocationPools,
    SubnetInUse,
    SubnetNotFound,
)

_pools = tables.allocation_pools
_allocations = tables.ip_allocations
#: The longest IPv4 prefix that leaves room for a gateway and a host.
LONGEST_PREFIX = 30

_Range = tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]


def _load_pools(connection: Connection, rows: Sequence[Row]) -> None:
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row["allocation_pools"] = []
    statement = sa.select(_pools.c.subnet_id, _pools.c.first_ip, _pools.c.last_ip).order_by(_pools.c.id)
    for child in select_in(connection, statement, _pools.c.subnet_id, by_id):
        by_id[child["subnet_id"]]["allocation_pools"].append({"start": child["first_ip"], "end": child["last_ip"]})


STORE = Store(
    kind="subnet",
    table=tables.subnets,
    not_found=SubnetNotFound,
    children={"allocation_pools": _load_pools, **tags.CHILDREN},
    conditions=tags.conditions(tables.subnets),
)


def create(connection: Connection, _settings: Settings, values: Row) -> Row:
    """Insert a subnet. Without `gateway_ip` in `values` the first address is the gateway; None: no gateway.

    Raises NetworkNotFound, InvalidInput and the errors of pools.
    """
    network = NETWORKS.bare(connection, values["network_id"], lock=True)
    cidr = ipaddress.IPv4Network(values["cidr"])
    _check_cidr(connection, network["id"], cidr)
    gateway_ip = values.get("gateway_ip", str(cidr.network_address + 1))
    _check_gateway(cidr, gateway_ip)
    pools = values.pop("allocation_pools", None)
    ranges = _default_ranges(cidr, gateway_ip) if pools is None else _checked_ranges(cidr, gateway_ip, pools)
    row = STORE.insert(connection, {**values, "gateway_ip": gateway_ip})
    stored = _write_pools(connection, row["id"], ranges)
    NETWORKS.update(connection, network["id"], {})
    return {**row, "allocation_pools": stored}


def update(connection: Connection, _settings: Settings, subnet_id: str, changes: Row) -> Row:
    """Change a subnet. Raises SubnetNotFound, GatewayIpInUse, InvalidInput and the errors of pools."""
    row = STORE.bare(connection, subnet_id, lock=True)
    cidr = ipaddress.IPv4Network(row["cidr"])
    gateway_ip = changes.get("gateway_ip", row["gateway_ip"])
    pools = changes.pop("allocation_pools", None)
    if gateway_ip != row["gateway_ip"]:
        _check_gateway(cidr, gateway_ip)
        _check_gateway_is_free(connection, row)
    if pools is not None:
        ranges = _checked_ranges(cidr, gateway_ip, pools)
        connection.execute(_pools.delete().where(_pools.c.subnet_id == subnet_id))
        _write_pools(connection, subnet_id, ranges)
    elif gateway_ip != row["gateway_ip"]:
        _load_pools(connection, [row])
        _checked_ranges(cidr, gateway_ip, row["allocation_pools"])
    STORE.update(connection, subnet_id, changes)
    return STORE.get(connection, subnet_id)


def delete(connection: Connection, _settings: Settings, subnet_id: str) -> None:
    """Delete a subnet and its pools. Raises SubnetNotFound, SubnetInUse (a port has an address)."""
    row = STORE.bare(connection, subnet_id, lock=True)
    in_use = sa.select(_allocations.c.port_id).where(_allocations.c.subnet_id == subnet_id).limit(1)
    if connection.execute(in_use).first() is not None:
        raise SubnetInUse(subnet_id=subnet_id, reason="One or more ports have an IP allocation from this subnet")
    STORE.delete(connection, subnet_id)
    NETWORKS.update(connection, row["network_id"], {})


def _check_cidr(connection: Connection, network_id: str, cidr: ipaddress.IPv4Network) -> None:
    if cidr.prefixlen > LONGEST_PREFIX or cidr.prefixlen == 0:
        raise InvalidInput(error_message=f"cidr {cidr} must have a prefix of 1 to {LONGEST_PREFIX}")
    if cidr.is_multicast or cidr.is_loopback or cidr.network_address.is_unspecified:
        raise InvalidInput(error_message=f"cidr {cidr} is not made of addresses that a host can have")
    subnets = tables.subnets
    for other in connection.scalars(sa.select(subnets.c.cidr).where(subnets.c.network_id == network_id)):
        if cidr.overlaps(ipaddress.IPv4Network(other)):
            raise InvalidInput(
                error_message=f"Requested subnet with cidr: {cidr} for network: {network_id} "
                f"overlaps with another subnet ({other})"
            )


def _check_gateway(cidr: ipaddress.IPv4Network, gateway_ip: str | None) -> None:
    if gateway_ip is None:
        return
    address = ipaddress.IPv4Address(gateway_ip)
    if address not in cidr or address in (cidr.network_address, cidr.broadcast_address):
        raise InvalidInput(error_message=f"gateway_ip {gateway_ip} is not an address of a host in {cidr}")


def _check_gateway_is_free(connection: Connection, row: Row) -> None:
    """The gateway cannot move away from a router that has its address."""
    ports = tables.ports
    holder = connection.scalar(
        sa.select(ports.c.id)
        .join(_allocations, _allocations.c.port_id == ports.c.id)
        .where(
            _allocations.c.subnet_id == row["id"],
            _allocations.c.ip_address == row["gateway_ip"],
            ports.c.device_owner.like("network:%"),
        )
    )
    if holder is not None:
        raise GatewayIpInUse(ip_address=row["gateway_ip"], port_id=holder)


def _default_ranges(cidr: ipaddress.IPv4Network, gateway_ip: str | None) -> list[_Range]:
    """Every address of a host but the gateway's."""
    first, last = cidr.network_address + 1, cidr.broadcast_address - 1
    if gateway_ip is None:
        return [(first, last)]
    gateway = ipaddress.IPv4Address(gateway_ip)
    halves = [(first, gateway - 1), (gateway + 1, last)]
    return [(start, end) for start, end in halves if start <= end]


def _checked_ranges(cidr: ipaddress.IPv4Network, gateway_ip: str | None, pools: Sequence[Row]) -> list[_Range]:
    ranges = sorted((ipaddress.IPv4Address(pool["start"]), ipaddress.IPv4Address(pool["end"])) for pool in pools)
    for start, end in ranges:
        if start > end:
            raise InvalidAllocationPool(pool=f"{start}-{end}")
        if start <= cidr.network_address or end >= cidr.broadcast_address:
            raise OutOfBoundsAllocationPool(pool=f"{start}-{end}", subnet_cidr=cidr)
        if gateway_ip is not None and start <= ipaddress.IPv4Address(gateway_ip) <= end:
            raise GatewayConflictWithAllocationPools(ip_address=gateway_ip, pool=f"{start}-{end}")
    for (start, end), (next_start, next_end) in itertools.pairwise(ranges):
        if next_start <= end:
            raise OverlappingAllocationPools(
                pool_1=f"{start}-{end}", pool_2=f"{next_start}-{next_end}", subnet_cidr=cidr
            )
    return ranges


def _write_pools(connection: Connection, subnet_id: str, ranges: Sequence[_Range]) -> list[Row]:
    if ranges:
        connection.execute(
            _pools.insert(),
            [{"subnet_id": subnet_id, "first_ip": str(start), "last_ip": str(end)} for start, end in ranges],
        )
    return [{"start": str(start), "end": str(end)} for start, end in ranges]
