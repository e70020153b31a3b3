"""The rules of writing routers and their gateways. Interfaces are in `interfaces`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from haqn.db import associations, contains, ipam, ports, redundancy, tables, tags, zones
from haqn.db.addresses import Subnet
from haqn.db.networks import STORE as NETWORKS
from haqn.db.owners import INTERFACE_OWNERS, ROUTER_OWNERS, DeviceOwner, interface_owner
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row, Store, select_in
from haqn.exceptions import BadRequest, InvalidRoutes, RouterInUse, RouterNotFound
from haqn.model import AgentType

_routers = tables.routers
_ports = tables.ports
_allocations = tables.ip_allocations
_subnets = tables.subnets


def _load_gateways(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `external_gateway_info` (None: no gateway)."""
    by_port = {row["gateway_port_id"]: row for row in rows if row["gateway_port_id"] is not None}
    for row in rows:
        row["external_gateway_info"] = None
    statement = (
        sa.select(_ports.c.id, _ports.c.network_id, _allocations.c.subnet_id, _allocations.c.ip_address)
        .select_from(_ports.outerjoin(_allocations))
        .order_by(_ports.c.id, _allocations.c.position, _allocations.c.ip_address)
    )
    for child in select_in(connection, statement, _ports.c.id, by_port):
        row = by_port[child["id"]]
        info = row["external_gateway_info"] or _gateway_info(child["network_id"], row["enable_snat"], [])
        if child["ip_address"] is not None:
            info["external_fixed_ips"].append({"subnet_id": child["subnet_id"], "ip_address": child["ip_address"]})
        row["external_gateway_info"] = info


def _gateway_info(network_id: str, enable_snat: bool, fixed_ips: list[Row]) -> Row:
    return {"network_id": network_id, "enable_snat": enable_snat, "external_fixed_ips": fixed_ips}


def _with_gateway(values: Sequence[tuple[str, Any] | None]) -> sa.ColumnElement[bool]:
    """Routers whose gateway meets every name of `values` ((network_id|enable_snat|external_fixed_ips, value)); None:
    routers without a gateway."""
    without = _routers.c.gateway_port_id.is_(None)
    asked = [value for value in values if value is not None]
    if not asked:
        return without
    meets = [sa.not_(without)]
    for name, wanted in contains.by_name(asked):
        if name == "enable_snat":
            meets.append(_routers.c.enable_snat.in_(wanted))
        elif name == "network_id":
            on_network = sa.select(_ports.c.id).where(_ports.c.network_id.in_(wanted))
            meets.append(_routers.c.gateway_port_id.in_(on_network))
        else:
            own = [_allocations.c[key].in_(texts) for key, texts in contains.by_name(wanted)]
            meets.append(_routers.c.gateway_port_id.in_(sa.select(_allocations.c.port_id).where(*own)))
    condition = sa.and_(*meets)
    return condition if len(asked) == len(values) else sa.or_(condition, without)


STORE = Store(
    kind="router",
    table=_routers,
    not_found=RouterNotFound,
    children={
        "external_gateway_info": _load_gateways,
        "availability_zones": zones.load_of_routers,
        "redundancy": redundancy.load,
        **tags.CHILDREN,
    },
    conditions={
        "availability_zone_hints": contains.with_words(_routers.c.availability_zone_hints),
        "availability_zones": zones.routers_in,
        "external_gateway_info": _with_gateway,
        "redundancy": redundancy.among,
        "routes": contains.with_objects(_routers.c.routes),
        **tags.conditions(_routers),
    },
)


def create(connection: Connection, settings: Settings, values: Row) -> Row:
    """Insert a router, and the port of its gateway when `external_gateway_info` is given.

    Raises AvailabilityZoneNotFound, NetworkNotFound, BadRequest (no external network), and the errors of `ipam.choose`.
    """
    zones.check(connection, AgentType.L3, values["availability_zone_hints"])
    router_id = ports.new_id()
    info = values.pop("external_gateway_info", None)
    port = None if info is None else _insert_gateway(connection, settings, router_id, info)
    enable_snat = True if info is None else info.get("enable_snat", True)
    if values.get("ha") is None:
        values["ha"] = settings.default_ha
    row = STORE.insert(
        connection,
        {
            **values,
            "id": router_id,
            "status": "BUILD",
            "enable_snat": enable_snat,
            "gateway_port_id": None if port is None else port["id"],
            "routes": [],
        },
    )
    gateway = None if port is None else _gateway_info(port["network_id"], enable_snat, port["fixed_ips"])
    return {**row, "external_gateway_info": gateway, "availability_zones": [], **redundancy.not_looked_at(row)}


def update(connection: Connection, settings: Settings, router_id: str, changes: Row) -> Row:
    """Change a router. Raises RouterNotFound, InvalidRoutes, RouterExternalGatewayInUseByFloatingIp, and what `create`
    raises."""
    row = STORE.bare(connection, router_id, lock=True)
    obsolete_port = None
    if "external_gateway_info" in changes:
        obsolete_port = _change_gateway(connection, settings, row, changes)
    if "ha" in changes and changes["ha"] != row["ha"]:
        _change_interface_owners(connection, router_id, changes["ha"])
    STORE.update(connection, router_id, changes)
    if obsolete_port is not None:
        ports.STORE.delete(connection, obsolete_port)
    if "routes" in changes or ("gateway_port_id" in changes and row["routes"]):
        check_routes(connection, router_id, changes["routes"] if "routes" in changes else row["routes"])
    return STORE.get(connection, router_id)


def delete(connection: Connection, _settings: Settings, router_id: str) -> None:
    """Delete a router with its gateway. Raises RouterNotFound, RouterInUse (it has interfaces)."""
    row = STORE.bare(connection, router_id, lock=True)
    interface = sa.select(_ports.c.id).where(
        _ports.c.device_id == router_id, _ports.c.device_owner.in_(INTERFACE_OWNERS)
    )
    if connection.execute(interface.limit(1)).first() is not None:
        raise RouterInUse(router_id=router_id, reason="still has ports")
    STORE.delete(connection, router_id)
    if row["gateway_port_id"] is not None:
        ports.STORE.delete(connection, row["gateway_port_id"])


def _change_gateway(connection: Connection, settings: Settings, row: Row, changes: Row) -> str | None:
    """Put into `changes` what the router's row must say; the old gateway's port is returned if it must go."""
    info = changes.pop("external_gateway_info")
    old_port_id: str | None = row["gateway_port_id"]
    if info is None:
        _check_gateway_is_free(connection, row, old_port_id)
        changes |= {"gateway_port_id": None, "enable_snat": True}
        return old_port_id
    changes["enable_snat"] = info.get("enable_snat", True)
    if old_port_id is not None:
        port = ports.STORE.bare(connection, old_port_id, lock=True)
        if port["network_id"] == info["network_id"]:
            if info.get("external_fixed_ips") is not None:
                ports.replace_addresses(connection, port, info["external_fixed_ips"])
                ports.STORE.update(connection, old_port_id, {})
            return None
        _check_gateway_is_free(connection, row, old_port_id)
    port = _insert_gateway(connection, settings, row["id"], info, replaced_port=old_port_id)
    changes["gateway_port_id"] = port["id"]
    return old_port_id


def _check_gateway_is_free(connection: Connection, router: Row, port_id: str | None) -> None:
    if port_id is not None:
        network_id = ports.STORE.bare(connection, port_id)["network_id"]
        associations.check_gateway_is_free(connection, router["id"], network_id)


def _insert_gateway(
    connection: Connection, settings: Settings, router_id: str, info: Row, replaced_port: str | None = None
) -> Row:
    network_id = info["network_id"]
    if not NETWORKS.bare(connection, network_id)["external"]:
        raise BadRequest(resource="router", msg=f"Network {network_id} is not an external network")
    mac = ports.new_mac(settings)
    chosen = ipam.choose(connection, network_id, info.get("external_fixed_ips") or None, mac=mac)
    subnets = ipam.subnets_where(connection, _subnets.c.id.in_({ip.subnet_id for ip in chosen})) if chosen else []
    check_no_overlap(subnets, connected_subnets(connection, router_id, without_port=replaced_port))
    values = {
        "network_id": network_id,
        # as in Neutron, the port belongs to no project: tenants do not see it
        "project_id": "",
        "device_id": router_id,
        "device_owner": str(DeviceOwner.ROUTER_GATEWAY),
        "mac_address": mac,
    }
    return ports.insert(connection, settings, values, chosen)


def _change_interface_owners(connection: Connection, router_id: str, ha: bool) -> None:
    connection.execute(
        _ports.update()
        .where(_ports.c.device_id == router_id, _ports.c.device_owner.in_(INTERFACE_OWNERS))
        .values(device_owner=str(interface_owner(ha)))
    )


def connected_subnets(connection: Connection, router_id: str, *, without_port: str | None = None) -> list[Subnet]:
    """The subnets that the router has an address in, but for those of the port `without_port`."""
    own = (
        sa.select(_allocations.c.subnet_id)
        .join(_ports, _ports.c.id == _allocations.c.port_id)
        .where(_ports.c.device_id == router_id, _ports.c.device_owner.in_(ROUTER_OWNERS))
    )
    if without_port is not None:
        own = own.where(_ports.c.id != without_port)
    return ipam.subnets_where(connection, _subnets.c.id.in_(own))


def check_no_overlap(new: Iterable[Subnet], connected: Sequence[Subnet]) -> None:
    """A router cannot tell overlapping subnets apart. Raises BadRequest."""
    for subnet in new:
        for other in connected:
            if subnet.id == other.id:
                raise BadRequest(resource="router", msg=f"Router already has a port on subnet {subnet.id}")
            if subnet.cidr.overlaps(other.cidr):
                raise BadRequest(
                    resource="router",
                    msg=f"Cidr {subnet.cidr} of subnet {subnet.id} overlaps with cidr {other.cidr} "
                    f"of subnet {other.id}",
                )


def check_routes(connection: Connection, router_id: str, routes: Sequence[Row]) -> None:
    """Each next hop must be a neighbour. Raises InvalidRoutes."""
    if len({(route["destination"], route["nexthop"]) for route in routes}) != len(routes):
        raise InvalidRoutes(routes=list(routes), reason="the same route is given twice")
    connected = [subnet.cidr for subnet in connected_subnets(connection, router_id)]
    for route in routes:
        nexthop = ipaddress.ip_address(route["nexthop"])
        if nexthop.version != ipaddress.ip_network(route["destination"]).version:
            raise InvalidRoutes(routes=list(routes), reason=f"the nexthop {nexthop} is of another IP version")
        if not any(nexthop in cidr for cidr in connected):
            raise InvalidRoutes(routes=list(routes), reason=f"the nexthop {nexthop} is not connected with router")
    own = sa.select(_allocations.c.ip_address).join(_ports, _ports.c.id == _allocations.c.port_id)
    addresses = set(connection.scalars(own.where(_ports.c.device_id == router_id)))
    for route in routes:
        if route["nexthop"] in addresses:
            raise InvalidRoutes(routes=list(routes), reason=f"the nexthop {route['nexthop']} is used by router")
