"""The rules of attaching subnets and ports to routers."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import sqlalchemy as sa

from haqn.db import associations, ipam, ports, quotas, routers, tables
from haqn.db.addresses import Subnet
from haqn.db.owners import INTERFACE_OWNERS, interface_owner
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row
from haqn.exceptions import (
    BadRequest,
    PortInUse,
    RouterInterfaceInUseByRoute,
    RouterInterfaceNotFound,
    RouterInterfaceNotFoundForSubnet,
    SubnetMismatchForPort,
    SubnetNotFound,
)

_ports = tables.ports
_allocations = tables.ip_allocations
_subnets = tables.subnets


def add_subnet(connection: Connection, settings: Settings, router_id: str, subnet_id: str) -> Row:
    """Give the router a new port with the subnet's gateway address; the answer of add_router_interface.

    A subnet of IPv6 comes to the router's port on its network that has IPv6 already, if there is one, because hosts
    would take each port for a router of its own. Raises RouterNotFound, SubnetNotFound, BadRequest (no gateway,
    another router's announcements, overlap), InvalidIpForSubnet (a gateway beyond the subnet),
    IpAddressAlreadyAllocated, OverQuota.
    """
    router = routers.STORE.bare(connection, router_id, lock=True)
    found = ipam.subnets_where(connection, _subnets.c.id == subnet_id)
    if not found:
        raise SubnetNotFound(subnet_id=subnet_id)
    subnet = found[0]
    if subnet.gateway_ip is None:
        raise BadRequest(
            resource="router",
            msg=f"Subnet for router interface must have a gateway IP: subnet {subnet_id} has no gateway_ip",
        )
    _check_announced_here(subnet)
    routers.check_no_overlap(found, routers.connected_subnets(connection, router_id))
    wanted = {"subnet_id": subnet.id, "ip_address": subnet.gateway_ip}
    chosen = ipam.choose(connection, subnet.network_id, [wanted])
    present = _ipv6_interface(connection, router_id, subnet.network_id) if subnet.cidr.version == 6 else None
    if present is not None:
        ipam.take(connection, present["id"], chosen, first_position=len(_subnets_of(connection, present["id"])))
        ports.STORE.update(connection, present["id"], {})
        routers.STORE.update(connection, router_id, {})
        return _answer(router, present["id"], subnet.network_id, [subnet.id])
    values = {
        "network_id": subnet.network_id,
        "project_id": router["project_id"],
        "device_id": router_id,
        "device_owner": str(interface_owner(router["ha"])),
    }
    port = ports.insert(connection, settings, values, chosen)
    routers.STORE.update(connection, router_id, {})
    quotas.enforce(connection, settings, [router["project_id"]], ["port"])
    return _answer(router, port["id"], port["network_id"], [subnet.id])


def add_port(connection: Connection, _settings: Settings, router_id: str, port_id: str) -> Row:
    """Make an existing port an interface of the router; the answer of add_router_interface.

    Raises RouterNotFound, PortNotFound, PortInUse, BadRequest (no address, overlap, another router's announcements,
    a second port with IPv6 on the network).
    """
    router = routers.STORE.bare(connection, router_id, lock=True)
    port = ports.STORE.bare(connection, port_id, lock=True)
    if port["device_id"]:
        raise PortInUse(port_id=port_id, network_id=port["network_id"], device_id=port["device_id"])
    subnet_ids = _subnets_of(connection, port_id)
    if not subnet_ids:
        raise BadRequest(resource="router", msg=f"Port {port_id} must have at least one fixed IP")
    subnets = ipam.subnets_where(connection, _subnets.c.id.in_(subnet_ids))
    routers.check_no_overlap(subnets, routers.connected_subnets(connection, router_id))
    for subnet in subnets:
        _check_announced_here(subnet)
    _check_only_ipv6_port(connection, router_id, port, subnets)
    owner = str(interface_owner(router["ha"]))
    ports.STORE.update(connection, port_id, {"device_id": router_id, "device_owner": owner, "binding_host_id": ""})
    routers.STORE.update(connection, router_id, {})
    return _answer(router, port_id, port["network_id"], subnet_ids)


def remove(
    connection: Connection, _settings: Settings, router_id: str, subnet_id: str | None, port_id: str | None
) -> Row:
    """Delete the router's port that is `port_id`, or has an address in `subnet_id`, or both.

    A port with several subnets, of which one is named, only loses that one.

    Raises RouterNotFound, RouterInterfaceNotFound, RouterInterfaceNotFoundForSubnet, SubnetNotFound,
    SubnetMismatchForPort, RouterInterfaceInUseByRoute, RouterInterfaceInUseByFloatingIP.
    """
    router = routers.STORE.bare(connection, router_id, lock=True)
    port = _find_interface(connection, router_id, subnet_id, port_id)
    subnet_ids = _subnets_of(connection, port["id"])
    if subnet_id is not None and subnet_id not in subnet_ids:
        raise SubnetMismatchForPort(port_id=port["id"], subnet_id=subnet_id)
    leaving = subnet_ids if port_id is not None or subnet_id is None else [subnet_id]
    _check_no_route_needs(connection, router, leaving)
    associations.check_interface_is_free(connection, router_id, leaving)
    if len(leaving) < len(subnet_ids):
        of_port = sa.and_(_allocations.c.port_id == port["id"], _allocations.c.subnet_id.in_(leaving))
        connection.execute(_allocations.delete().where(of_port))
        ports.STORE.update(connection, port["id"], {})
    else:
        associations.disassociate_port(connection, port["id"])
        ports.STORE.delete(connection, port["id"])
    routers.STORE.update(connection, router_id, {})
    return _answer(router, port["id"], port["network_id"], leaving)


def _check_announced_here(subnet: Subnet) -> None:
    """Raises BadRequest for a subnet whose hosts listen to a router that is not of this service."""
    if subnet.ipv6_ra_mode is None and subnet.ipv6_address_mode is not None:
        raise BadRequest(
            resource="router",
            msg=f"IPv6 subnet {subnet.id} configured to receive RAs from an external router cannot be added to "
            "Neutron Router.",
        )


def _ipv6_interface(connection: Connection, router_id: str, network_id: str) -> Row | None:
    """The router's interface on the network that has IPv6."""
    statement = (
        sa.select(_ports)
        .join(_allocations, _allocations.c.port_id == _ports.c.id)
        .join(_subnets, _subnets.c.id == _allocations.c.subnet_id)
        .where(
            _ports.c.device_id == router_id,
            _ports.c.device_owner.in_(INTERFACE_OWNERS),
            _ports.c.network_id == network_id,
            _subnets.c.ip_version == 6,
        )
    )
    row = connection.execute(statement).mappings().first()
    return None if row is None else dict(row)


def _check_only_ipv6_port(connection: Connection, router_id: str, port: Row, subnets: Sequence[Subnet]) -> None:
    if all(subnet.cidr.version == 4 for subnet in subnets):
        return
    other = _ipv6_interface(connection, router_id, port["network_id"])
    if other is not None:
        raise BadRequest(
            resource="router",
            msg=f"Router already contains IPv6 port {other['id']} belonging to network id {port['network_id']}. "
            "Only one IPv6 port from the same network subnet can be connected to a router.",
        )


def _find_interface(connection: Connection, router_id: str, subnet_id: str | None, port_id: str | None) -> Row:
    statement = sa.select(_ports).where(_ports.c.device_id == router_id, _ports.c.device_owner.in_(INTERFACE_OWNERS))
    if port_id is not None:
        row = connection.execute(statement.where(_ports.c.id == port_id)).mappings().first()
        if row is None:
            raise RouterInterfaceNotFound(router_id=router_id, port_id=port_id)
        return dict(row)
    statement = statement.join(_allocations, _allocations.c.port_id == _ports.c.id)
    row = connection.execute(statement.where(_allocations.c.subnet_id == subnet_id)).mappings().first()
    if row is None:
        known = connection.execute(sa.select(_subnets.c.id).where(_subnets.c.id == subnet_id)).first()
        if known is None:
            raise SubnetNotFound(subnet_id=subnet_id)
        raise RouterInterfaceNotFoundForSubnet(router_id=router_id, subnet_id=subnet_id)
    return dict(row)


def _check_no_route_needs(connection: Connection, router: Row, subnet_ids: Sequence[str]) -> None:
    if not router["routes"]:
        return
    nexthops = [ipaddress.ip_address(route["nexthop"]) for route in router["routes"]]
    for subnet in ipam.subnets_where(connection, _subnets.c.id.in_(subnet_ids)):
        if any(nexthop in subnet.cidr for nexthop in nexthops):
            raise RouterInterfaceInUseByRoute(router_id=router["id"], subnet_id=subnet.id)


def _subnets_of(connection: Connection, port_id: str) -> list[str]:
    statement = sa.select(_allocations.c.subnet_id).where(_allocations.c.port_id == port_id)
    return list(dict.fromkeys(connection.scalars(statement.order_by(_allocations.c.position))))


def _answer(router: Row, port_id: str, network_id: str, subnet_ids: Sequence[str]) -> Row:
    return {
        "id": router["id"],
        "project_id": router["project_id"],
        "tenant_id": router["project_id"],
        "port_id": port_id,
        "network_id": network_id,
        "subnet_id": subnet_ids[0],
        "subnet_ids": list(subnet_ids),
    }
