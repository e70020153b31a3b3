"""How many addresses networks have, and how many of them are in use."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.db.store import Row, Store, select_in
from haqn.exceptions import NetworkNotFound

_subnets, _pools, _allocations = tables.subnets, tables.allocation_pools, tables.ip_allocations


def _load(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `subnet_ip_availability` and its sums, `total_ips` and `used_ips`."""
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row["subnet_ip_availability"] = []
    totals = _totals(connection, by_id)
    used = _used(connection, by_id)
    columns = (_subnets.c.id, _subnets.c.network_id, _subnets.c.name, _subnets.c.cidr, _subnets.c.ip_version)
    statement = sa.select(*columns).order_by(_subnets.c.created_at, _subnets.c.id)
    for subnet in select_in(connection, statement, _subnets.c.network_id, by_id):
        by_id[subnet["network_id"]]["subnet_ip_availability"].append(
            {
                "subnet_id": subnet["id"],
                "subnet_name": subnet["name"],
                "cidr": subnet["cidr"],
                "ip_version": subnet["ip_version"],
                # as in Neutron, a subnet without pools counts whole
                "total_ips": totals.get(subnet["id"], ipaddress.ip_network(subnet["cidr"]).num_addresses),
                "used_ips": used.get(subnet["id"], 0),
            }
        )
    for row in rows:
        for name in ("total_ips", "used_ips"):
            row[name] = sum(subnet[name] for subnet in row["subnet_ip_availability"])


def _totals(connection: Connection, network_ids: dict[str, Row]) -> dict[str, int]:
    statement = sa.select(_pools.c.subnet_id, _pools.c.first_ip, _pools.c.last_ip).join(_subnets)
    totals: Counter[str] = Counter()
    for pool in select_in(connection, statement, _subnets.c.network_id, network_ids):
        first, last = (int(ipaddress.ip_address(pool[name])) for name in ("first_ip", "last_ip"))
        totals[pool["subnet_id"]] += last - first + 1
    return totals


def _used(connection: Connection, network_ids: dict[str, Row]) -> dict[str, int]:
    statement = (
        sa.select(_allocations.c.subnet_id, sa.func.count().label("used"))
        .join(_subnets, _subnets.c.id == _allocations.c.subnet_id)
        .group_by(_allocations.c.subnet_id)
    )
    found = select_in(connection, statement, _subnets.c.network_id, network_ids)
    return {row["subnet_id"]: row["used"] for row in found}


def _of_version(values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Networks with a subnet of one of the versions."""
    return sa.exists().where(_subnets.c.network_id == tables.networks.c.id, _subnets.c.ip_version.in_(values))


STORE = Store(
    kind="network",
    table=tables.networks,
    not_found=NetworkNotFound,
    children={"subnet_ip_availability": _load},
    conditions={"ip_version": _of_version},
)
