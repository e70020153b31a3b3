"""The rules of writing subnets: ranges that fit each other, and what may be deleted."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence

import sqlalchemy as sa

from haqn.db import contains, ipam, subnetpools, tables, tags
from haqn.db.addresses import IpNetwork, Pool, hosts, is_automatic, is_of_host, number, text
from haqn.db.networks import STORE as NETWORKS
from haqn.db.owners import INTERFACE_OWNERS
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
#: The longest prefix of each IP version that leaves room for a gateway and a host.
LONGEST_PREFIX = {4: 30, 6: 126}
#: RFC 4862, section 5.5.3: prefix and identifier of the interface (64 bits, RFC 4291) make the address.
_AUTO_ADDRESS_PREFIX = 64
_MODES = ("ipv6_ra_mode", "ipv6_address_mode")


def _load_pools(connection: Connection, rows: Sequence[Row]) -> None:
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row["allocation_pools"] = []
    statement = sa.select(_pools.c.subnet_id, _pools.c.first_ip, _pools.c.last_ip).order_by(_pools.c.id)
    for child in select_in(connection, statement, _pools.c.subnet_id, by_id):
        by_id[child["subnet_id"]]["allocation_pools"].append({"start": child["first_ip"], "end": child["last_ip"]})


def _with_pool(values: Sequence[tuple[str, str]]) -> sa.ColumnElement[bool]:
    """Subnets with a pool that meets every key of `values` ((start|end, address))."""
    columns = {"start": _pools.c.first_ip, "end": _pools.c.last_ip}
    meets = [columns[name].in_(addresses) for name, addresses in contains.by_name(values)]
    return sa.exists().where(_pools.c.subnet_id == tables.subnets.c.id, *meets)


STORE = Store(
    kind="subnet",
    table=tables.subnets,
    not_found=SubnetNotFound,
    children={"allocation_pools": _load_pools, **tags.CHILDREN},
    conditions={
        "allocation_pools": _with_pool,
        "dns_nameservers": contains.with_words(tables.subnets.c.dns_nameservers),
        "host_routes": contains.with_objects(tables.subnets.c.host_routes),
        **tags.conditions(tables.subnets),
    },
)


def create(connection: Connection, _settings: Settings, values: Row) -> Row:
    """Insert a subnet. Without `gateway_ip` in `values` the first address is the gateway; None: no gateway.

    Raises NetworkNotFound, InvalidInput, the errors of pools and those of `subnetpools.choose_prefix`.
    """
    network = NETWORKS.bare(connection, values["network_id"], lock=True)
    values = subnetpools.choose_prefix(connection, values)
    cidr = ipaddress.ip_network(values["cidr"])
    gateway_ip = values.get("gateway_ip", text(cidr, hosts(cidr)[0]))
    _check_versions(values["ip_version"], {**values, "gateway_ip": gateway_ip})
    _check_cidr(connection, network["id"], cidr)
    _check_modes(values, cidr)
    _check_gateway(cidr, gateway_ip)
    pools = values.pop("allocation_pools", None)
    ranges = _default_ranges(cidr, gateway_ip) if pools is None else _checked_ranges(cidr, gateway_ip, pools)
    row = STORE.insert(connection, {**values, "gateway_ip": gateway_ip})
    stored = _write_pools(connection, row["id"], cidr, ranges)
    for subnet in ipam.subnets_where(connection, tables.subnets.c.id == row["id"]):
        if subnet.is_automatic:
            ipam.serve_ports(connection, subnet)
    NETWORKS.update(connection, network["id"], {})
    return {**row, "allocation_pools": stored}


def update(connection: Connection, _settings: Settings, subnet_id: str, changes: Row) -> Row:
    """Change a subnet. Raises SubnetNotFound, GatewayIpInUse, InvalidInput and the errors of pools."""
    row = STORE.bare(connection, subnet_id, lock=True)
    cidr = ipaddress.ip_network(row["cidr"])
    gateway_ip = changes.get("gateway_ip", row["gateway_ip"])
    _check_versions(row["ip_version"], changes)
    if changes.get("enable_dhcp") is False and any(row[mode] is not None for mode in _MODES):
        raise InvalidInput(error_message="Cannot disable enable_dhcp with ipv6 attributes set")
    pools = changes.pop("allocation_pools", None)
    if gateway_ip != row["gateway_ip"]:
        _check_gateway(cidr, gateway_ip)
        _check_gateway_is_free(connection, row)
    if pools is not None:
        ranges = _checked_ranges(cidr, gateway_ip, pools)
        connection.execute(_pools.delete().where(_pools.c.subnet_id == subnet_id))
        _write_pools(connection, subnet_id, cidr, ranges)
    elif gateway_ip != row["gateway_ip"]:
        _load_pools(connection, [row])
        _checked_ranges(cidr, gateway_ip, row["allocation_pools"])
    STORE.update(connection, subnet_id, changes)
    return STORE.get(connection, subnet_id)


def delete(connection: Connection, _settings: Settings, subnet_id: str) -> None:
    """Delete a subnet and its pools; addresses that ports have unasked go with it. Raises SubnetNotFound, SubnetInUse
    (a port has an address)."""
    row = STORE.bare(connection, subnet_id, lock=True)
    in_use = sa.select(_allocations.c.port_id).where(_allocations.c.subnet_id == subnet_id)
    automatic = is_automatic(*(row[mode] for mode in _MODES))
    if automatic:
        ports = tables.ports
        in_use = in_use.join(ports, ports.c.id == _allocations.c.port_id).where(
            ports.c.device_owner.in_(INTERFACE_OWNERS)
        )
    if connection.execute(in_use.limit(1)).first() is not None:
        raise SubnetInUse(subnet_id=subnet_id, reason="One or more ports have an IP allocation from this subnet")
    if automatic:
        connection.execute(_allocations.delete().where(_allocations.c.subnet_id == subnet_id))
    STORE.delete(connection, subnet_id)
    NETWORKS.update(connection, row["network_id"], {})


def _check_versions(ip_version: int, values: Row) -> None:
    """All addresses are of one IP version; servers of names may be of either. Raises InvalidInput."""
    named = [(name, values[name]) for name in ("cidr", "gateway_ip") if values.get(name) is not None]
    for pool in values.get("allocation_pools") or ():
        named += [("allocation_pools", address) for address in pool.values()]
    for route in values.get("host_routes") or ():
        named += list(route.items())
    for name, value in named:
        if ipaddress.ip_network(value).version != ip_version:
            raise InvalidInput(error_message=f"{name} '{value}' does not match the ip_version '{ip_version}'")


def _check_modes(values: Row, cidr: IpNetwork) -> None:
    """Neutron's rules of ipv6_ra_mode and ipv6_address_mode. Raises InvalidInput."""
    given = [mode for mode in _MODES if values[mode] is not None]
    if not given:
        return
    if cidr.version != 6:
        raise InvalidInput(error_message=f"{given[0]} is not valid when ip_version is 4")
    if not values["enable_dhcp"]:
        raise InvalidInput(
            error_message="ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False"
        )
    if len({values[mode] for mode in given}) > 1:
        raise InvalidInput(
            error_message=f"ipv6_ra_mode set to '{values['ipv6_ra_mode']}' with ipv6_address_mode set to "
            f"'{values['ipv6_address_mode']}' is not valid. If both attributes are set, they must be the same value"
        )
    if is_automatic(*(values[mode] for mode in _MODES)) and cidr.prefixlen != _AUTO_ADDRESS_PREFIX:
        raise InvalidInput(
            error_message=f"Invalid CIDR {cidr} for IPv6 address mode. OpenStack uses the EUI-64 address format, "
            "which requires the prefix to be /64"
        )


def _check_cidr(connection: Connection, network_id: str, cidr: IpNetwork) -> None:
    longest = LONGEST_PREFIX[cidr.version]
    if cidr.prefixlen > longest or cidr.prefixlen == 0:
        raise InvalidInput(error_message=f"cidr {cidr} must have a prefix of 1 to {longest}")
    # a link of IPv6 has its own link-local addresses, whatever its subnets are
    its_own = cidr.version == 6 and cidr.is_link_local
    if its_own or cidr.is_multicast or cidr.is_loopback or cidr.network_address.is_unspecified:
        raise InvalidInput(error_message=f"cidr {cidr} is not made of addresses that a host can have")
    subnets = tables.subnets
    same_version = sa.and_(subnets.c.network_id == network_id, subnets.c.ip_version == cidr.version)
    for other in connection.scalars(sa.select(subnets.c.cidr).where(same_version)):
        if cidr.overlaps(ipaddress.ip_network(other)):
            raise InvalidInput(
                error_message=f"Requested subnet with cidr: {cidr} for network: {network_id} "
                f"overlaps with another subnet ({other})"
            )


def _check_gateway(cidr: IpNetwork, gateway_ip: str | None) -> None:
    """An address of a host; a router of IPv6 may be named by its link-local address. Raises InvalidInput."""
    if gateway_ip is None:
        return
    if cidr.version == 6 and ipaddress.ip_address(gateway_ip).is_link_local:
        return
    if not is_of_host(cidr, gateway_ip):
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


def _default_ranges(cidr: IpNetwork, gateway_ip: str | None) -> list[Pool]:
    """Every address of a host but the gateway's."""
    first, last = hosts(cidr)
    if gateway_ip is None or not is_of_host(cidr, gateway_ip):
        return [(first, last)]
    gateway = number(gateway_ip)
    halves = [(first, gateway - 1), (gateway + 1, last)]
    return [(start, end) for start, end in halves if start <= end]


def _checked_ranges(cidr: IpNetwork, gateway_ip: str | None, pools: Sequence[Row]) -> list[Pool]:
    first, last = hosts(cidr)
    ranges = sorted((number(pool["start"]), number(pool["end"])) for pool in pools)
    for start, end in ranges:
        shown = f"{text(cidr, start)}-{text(cidr, end)}"
        if start > end:
            raise InvalidAllocationPool(pool=shown)
        if start < first or end > last:
            raise OutOfBoundsAllocationPool(pool=shown, subnet_cidr=cidr)
        if gateway_ip is not None and start <= number(gateway_ip) <= end:
            raise GatewayConflictWithAllocationPools(ip_address=gateway_ip, pool=shown)
    for (start, end), (next_start, next_end) in itertools.pairwise(ranges):
        if next_start <= end:
            raise OverlappingAllocationPools(
                pool_1=f"{text(cidr, start)}-{text(cidr, end)}",
                pool_2=f"{text(cidr, next_start)}-{text(cidr, next_end)}",
                subnet_cidr=cidr,
            )
    return ranges


def _write_pools(connection: Connection, subnet_id: str, cidr: IpNetwork, ranges: Sequence[Pool]) -> list[Row]:
    stored = [{"start": text(cidr, start), "end": text(cidr, end)} for start, end in ranges]
    if stored:
        connection.execute(
            _pools.insert(),
            [{"subnet_id": subnet_id, "first_ip": pool["start"], "last_ip": pool["end"]} for pool in stored],
        )
    return stored
