"""The rules of subnet pools, and of taking a subnet's prefix from one.

A prefix is taken by the row of its subnet. Whoever takes one locks the pool first, so that no two subnets of a pool
overlap, whatever their networks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from haqn.db import contains, prefixes, tables, tags
from haqn.db.addresses import IpNetwork
from haqn.db.prefixes import BOUNDS
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row, Store
from haqn.exceptions import (
    BadRequest,
    IllegalSubnetPoolPrefixBounds,
    IllegalSubnetPoolPrefixUpdate,
    InvalidInput,
    MaxPrefixSubnetAllocationError,
    MinPrefixSubnetAllocationError,
    NetworkSubnetPoolAffinityError,
    SubnetAllocationError,
    SubnetPoolDeleteError,
    SubnetPoolNotFound,
    SubnetPoolQuotaExceeded,
)

_pools, _subnets = tables.subnetpools, tables.subnets


STORE = Store(
    kind="subnetpool",
    table=_pools,
    not_found=SubnetPoolNotFound,
    children=tags.CHILDREN,
    conditions={"prefixes": contains.with_words(_pools.c.prefixes), **tags.conditions(_pools)},
    computed={"is_default": _pools.c.default_of.is_not(None)},
)


def create(connection: Connection, _settings: Settings, values: Row) -> Row:
    """Insert a pool.

    Raises EmptySubnetPoolPrefixList, PrefixVersionMismatch, IllegalSubnetPoolPrefixBounds, InvalidInput (a second
    default).
    """
    merged = prefixes.merged(values["prefixes"])
    version = merged[0].version
    shortest, longest = BOUNDS[version]
    row = {
        **values,
        "ip_version": version,
        "prefixes": [str(prefix) for prefix in merged],
        "min_prefixlen": _given(values, "min_prefixlen", shortest),
        "max_prefixlen": _given(values, "max_prefixlen", longest),
    }
    row["default_prefixlen"] = _given(values, "default_prefixlen", row["min_prefixlen"])
    _check_bounds(row)
    _settle_default(connection, row, version)
    return STORE.get(connection, STORE.insert(connection, row)["id"])


def update(connection: Connection, _settings: Settings, subnetpool_id: str, changes: Row) -> Row:
    """Change a pool; what it had it keeps.

    Raises SubnetPoolNotFound, IllegalSubnetPoolPrefixUpdate, and what `create` raises.
    """
    row = STORE.bare(connection, subnetpool_id, lock=True)
    if "prefixes" in changes:
        merged = prefixes.merged(changes["prefixes"])
        if not all(prefixes.contains(merged, ipaddress.ip_network(prefix)) for prefix in row["prefixes"]):
            raise IllegalSubnetPoolPrefixUpdate(msg="Existing prefixes must be a subset of the new prefixes")
        changes["prefixes"] = [str(prefix) for prefix in merged]
    _check_bounds({**row, **changes})
    if "is_default" in changes:
        _settle_default(connection, changes, row["ip_version"], subnetpool_id)
    STORE.update(connection, subnetpool_id, changes)
    return STORE.get(connection, subnetpool_id)


def delete(connection: Connection, _settings: Settings, subnetpool_id: str) -> None:
    """Delete a pool. Raises SubnetPoolNotFound, SubnetPoolDeleteError (a subnet is from it)."""
    STORE.bare(connection, subnetpool_id, lock=True)
    if connection.scalar(sa.select(_subnets.c.id).where(_subnets.c.subnetpool_id == subnetpool_id).limit(1)):
        raise SubnetPoolDeleteError(reason=f"Subnet pool {subnetpool_id} has existing allocations")
    STORE.delete(connection, subnetpool_id)


def choose_prefix(connection: Connection, values: Mapping[str, Any]) -> Row:
    """What was asked of a new subnet, with `cidr` and `subnetpool_id` settled: the pool's choice, or checked by it.

    Raises BadRequest (what does not fit together), SubnetPoolNotFound, SubnetAllocationError (no room), Min- and
    MaxPrefixSubnetAllocationError, SubnetPoolQuotaExceeded, NetworkSubnetPoolAffinityError.
    """
    rest = {name: value for name, value in values.items() if name not in ("prefixlen", "use_default_subnetpool")}
    cidr, prefixlen = values.get("cidr"), values.get("prefixlen")
    if cidr is not None and prefixlen is not None:
        raise BadRequest(resource="subnets", msg="cidr and prefixlen must not be supplied together")
    pool_id = _wanted_pool(connection, values)
    if pool_id is None:
        if cidr is None:
            raise BadRequest(resource="subnets", msg="a subnetpool must be specified in the absence of a cidr")
        _check_affinity(connection, values, None)
        return {**rest, "subnetpool_id": None}
    if cidr is None and values.get("allocation_pools") is not None:
        raise BadRequest(resource="subnets", msg="allocation_pools allowed only for specific subnet requests.")
    pool = STORE.bare(connection, pool_id, lock=True)
    if pool["ip_version"] != values["ip_version"]:
        raise BadRequest(resource="subnets", msg=f"Cannot allocate IPv{values['ip_version']} subnet from subnet pool")
    _check_affinity(connection, values, pool_id)
    chosen = _allocate(connection, pool, cidr, prefixlen)
    _check_quota(connection, pool, chosen, values["project_id"])
    return {**rest, "cidr": str(chosen), "subnetpool_id": pool_id}


def _given(values: Mapping[str, Any], name: str, default: int) -> int:
    found: int | None = values.get(name)
    return default if found is None else found


def _check_bounds(row: Mapping[str, Any]) -> None:
    longest = BOUNDS[row["ip_version"]][1]
    bounds = (
        ("min_prefixlen", 0, longest),
        ("max_prefixlen", row["min_prefixlen"], longest),
        ("default_prefixlen", row["min_prefixlen"], row["max_prefixlen"]),
    )
    for name, least, most in bounds:
        if not least <= row[name] <= most:
            base = ("min_prefixlen", least) if row[name] < least else ("max_prefixlen", most)
            raise IllegalSubnetPoolPrefixBounds(
                prefix_type=name, prefixlen=row[name], base_prefix_type=base[0], base_prefixlen=base[1]
            )


def _settle_default(connection: Connection, values: Row, version: int, subnetpool_id: str = "") -> None:
    """Turn `is_default` into the column. Raises InvalidInput: another pool is the default."""
    wanted = values.pop("is_default", False)
    values["default_of"] = version if wanted else None
    other = _default_pool(connection, version)
    if wanted and other not in (None, subnetpool_id):
        raise InvalidInput(
            error_message="A default subnetpool for this IP family has already been set. Only one default may exist "
            "per IP family"
        )


def _default_pool(connection: Connection, version: int) -> str | None:
    return connection.scalar(sa.select(_pools.c.id).where(_pools.c.default_of == version))


def _wanted_pool(connection: Connection, values: Mapping[str, Any]) -> str | None:
    pool_id: str | None = values.get("subnetpool_id")
    if not values.get("use_default_subnetpool"):
        return pool_id
    if pool_id is not None:
        raise BadRequest(resource="subnets", msg="subnetpool_id and use_default_subnetpool cannot both be specified")
    default = _default_pool(connection, values["ip_version"])
    if default is None:
        raise BadRequest(resource="subnets", msg=f"No default subnetpool found for IPv{values['ip_version']}")
    return default


def _check_affinity(connection: Connection, values: Mapping[str, Any], pool_id: str | None) -> None:
    """The subnets of one version on a network are all of one pool, or all of none."""
    others = sa.select(_subnets.c.subnetpool_id).where(
        _subnets.c.network_id == values["network_id"], _subnets.c.ip_version == values["ip_version"]
    )
    if any(other != pool_id for other in connection.scalars(others)):
        raise NetworkSubnetPoolAffinityError()


def _allocate(connection: Connection, pool: Row, cidr: str | None, prefixlen: int | None) -> IpNetwork:
    wanted = None if cidr is None else ipaddress.ip_network(cidr)
    length = pool["default_prefixlen"] if prefixlen is None else prefixlen
    length = length if wanted is None else wanted.prefixlen
    if length < pool["min_prefixlen"]:
        raise MinPrefixSubnetAllocationError(prefixlen=length, min_prefixlen=pool["min_prefixlen"])
    if length > pool["max_prefixlen"]:
        raise MaxPrefixSubnetAllocationError(prefixlen=length, max_prefixlen=pool["max_prefixlen"])
    own = [ipaddress.ip_network(prefix) for prefix in pool["prefixes"]]
    statement = sa.select(_subnets.c.cidr).where(_subnets.c.subnetpool_id == pool["id"])
    taken = [ipaddress.ip_network(found) for found in connection.scalars(statement)]
    if wanted is None:
        found = prefixes.first_free(own, taken, length)
        if found is None:
            raise SubnetAllocationError(reason=f"Insufficient prefix space to allocate subnet size /{length}")
        return found
    if not prefixes.contains(own, wanted) or any(wanted.overlaps(other) for other in taken):
        raise SubnetAllocationError(reason=f"Cannot allocate requested subnet {wanted} from the available prefixes")
    return wanted


def _check_quota(connection: Connection, pool: Row, chosen: IpNetwork, project_id: str) -> None:
    if pool["default_quota"] is None:
        return
    statement = sa.select(_subnets.c.cidr).where(
        _subnets.c.subnetpool_id == pool["id"], _subnets.c.project_id == project_id
    )
    used = sum(prefixes.units(ipaddress.ip_network(cidr)) for cidr in connection.scalars(statement))
    if used + prefixes.units(chosen) > pool["default_quota"]:
        raise SubnetPoolQuotaExceeded()
