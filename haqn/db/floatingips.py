"""The rules of writing floating IPs: an address of an external network that leads to one address of one port.

The address is held by a port of its own on the external network. How it is carried out is not known here: the router
concerned gets an outbox line.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import sqlalchemy as sa

from haqn.db import ipam, outbox, ports, tables, tags
from haqn.db.networks import STORE as NETWORKS
from haqn.db.owners import INTERFACE_OWNERS, DeviceOwner
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row, Store, select_in
from haqn.exceptions import (
    BadRequest,
    ExternalGatewayForFloatingIPNotFound,
    FloatingIPNotFound,
    FloatingIPPortAlreadyAssociated,
)

_fips = tables.floatingips
_ports = tables.ports
_subnets = tables.subnets
_allocations = tables.ip_allocations
_ASSOCIATION = ("port_id", "fixed_ip_address")
_PORT_DETAILS = ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")


def _load_port_details(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `port_details` (None: not associated)."""
    statement = sa.select(_ports.c.id, *(_ports.c[name] for name in _PORT_DETAILS))
    wanted = {row["port_id"] for row in rows if row["port_id"] is not None}
    found = {port["id"]: port for port in select_in(connection, statement, _ports.c.id, wanted)}
    for row in rows:
        port = found.get(row["port_id"])
        row["port_details"] = None if port is None else {name: port[name] for name in _PORT_DETAILS}


STORE = Store(
    kind="floatingip",
    table=_fips,
    not_found=FloatingIPNotFound,
    children={"port_details": _load_port_details, **tags.CHILDREN},
    conditions=tags.conditions(_fips),
)


def create(connection: Connection, settings: Settings, values: Row) -> Row:
    """Insert a floating IP with the port that holds its address, associated when `port_id` is given.

    Raises NetworkNotFound, BadRequest (no external network, no subnet, no such address of the port), PortNotFound,
    ExternalGatewayForFloatingIPNotFound, FloatingIPPortAlreadyAssociated, and the errors of `ipam.choose`.
    """
    network_id = values["floating_network_id"]
    if not NETWORKS.bare(connection, network_id)["external"]:
        raise BadRequest(resource="floatingip", msg=f"Network {network_id} is not a valid external network")
    subnet_id, address = values.pop("subnet_id", None), values.pop("floating_ip_address", None)
    chosen = _choose_address(connection, network_id, subnet_id, address)
    floatingip_id = ports.new_id()
    wanted = {name: values.pop(name, None) for name in _ASSOCIATION}
    identity = {"id": floatingip_id, "floating_ip_address": chosen.ip_address, "floating_network_id": network_id}
    association = _associate(connection, identity, wanted)
    holder = {
        "network_id": network_id,
        # as in Neutron, the port belongs to no project: tenants do not see it
        "project_id": "",
        "device_id": floatingip_id,
        "device_owner": str(DeviceOwner.FLOATING_IP),
    }
    port = ports.insert(connection, settings, holder, [chosen])
    STORE.insert(connection, {**values, **identity, **association, "floating_port_id": port["id"], "status": "DOWN"})
    _tell_routers(connection, association["router_id"])
    return STORE.get(connection, floatingip_id)


def update(connection: Connection, _settings: Settings, floatingip_id: str, changes: Row) -> Row:
    """Associate with another address, or none (`port_id` None), or change the description.

    Raises FloatingIPNotFound, and what `create` raises of associations.
    """
    row = STORE.bare(connection, floatingip_id, lock=True)
    if changes.keys() & set(_ASSOCIATION):
        # a new port comes without the old one's address
        kept = row if "port_id" not in changes else {"port_id": None, "fixed_ip_address": None}
        wanted = {name: changes.get(name, kept[name]) for name in _ASSOCIATION}
        changes |= _associate(connection, row, wanted)
        changes["status"] = "DOWN" if _differs(row, changes) else row["status"]
    STORE.update(connection, floatingip_id, changes)
    if _differs(row, changes):
        _tell_routers(connection, row["router_id"], changes["router_id"])
    return STORE.get(connection, floatingip_id)


def delete(connection: Connection, _settings: Settings, floatingip_id: str) -> None:
    """Delete a floating IP and give its address back. Raises FloatingIPNotFound."""
    row = STORE.bare(connection, floatingip_id, lock=True)
    STORE.delete(connection, floatingip_id)
    ports.STORE.delete(connection, row["floating_port_id"])
    _tell_routers(connection, row["router_id"])


def _differs(row: Row, changes: Row) -> bool:
    return any(changes.get(name, row[name]) != row[name] for name in (*_ASSOCIATION, "router_id"))


def _tell_routers(connection: Connection, *router_ids: str | None) -> None:
    for router_id in sorted({router_id for router_id in router_ids if router_id is not None}):
        outbox.record(connection, "router", router_id)


def _choose_address(
    connection: Connection, network_id: str, subnet_id: str | None, address: str | None
) -> ipam.Allocation:
    asked = {"subnet_id": subnet_id, "ip_address": address}
    request = {name: value for name, value in asked.items() if value is not None}
    for chosen in ipam.choose(connection, network_id, [request] if request else None):
        if ipaddress.ip_address(chosen.ip_address).version == 4:
            return chosen
    raise BadRequest(resource="floatingip", msg=f"Network {network_id} does not contain any IPv4 subnet")


def _associate(connection: Connection, floatingip: Row, wanted: Row) -> Row:
    """The association's columns: the port's address that is meant, and the router that leads to it."""
    port_id, address = wanted["port_id"], wanted["fixed_ip_address"]
    if port_id is None:
        if address is not None:
            raise BadRequest(resource="floatingip", msg="fixed_ip_address cannot be specified without a port_id")
        return {"port_id": None, "fixed_ip_address": None, "router_id": None}
    port = ports.STORE.bare(connection, port_id, lock=True)
    ports.load_fixed_ips(connection, [port])
    meant = _meant_address(port, address)
    _check_not_associated(connection, floatingip, port_id, meant["ip_address"])
    router_id = _router_between(connection, floatingip["floating_network_id"], meant["subnet_id"], port_id)
    return {"port_id": port_id, "fixed_ip_address": meant["ip_address"], "router_id": router_id}


def _meant_address(port: Row, address: str | None) -> Row:
    fixed_ips: list[Row] = [ip for ip in port["fixed_ips"] if ipaddress.ip_address(ip["ip_address"]).version == 4]
    if address is not None:
        for fixed_ip in fixed_ips:
            if fixed_ip["ip_address"] == address:
                return fixed_ip
        raise BadRequest(resource="floatingip", msg=f"Port {port['id']} does not have fixed ip {address}")
    if not fixed_ips:
        raise BadRequest(
            resource="floatingip",
            msg=f"Cannot add floating IP to port {port['id']} that has no fixed IPv4 addresses",
        )
    if len(fixed_ips) > 1:
        raise BadRequest(
            resource="floatingip",
            msg=f"Port {port['id']} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when "
            "assigning a floating IP",
        )
    return fixed_ips[0]


def _check_not_associated(connection: Connection, floatingip: Row, port_id: str, address: str) -> None:
    other = connection.scalar(
        sa.select(_fips.c.id).where(
            _fips.c.port_id == port_id,
            _fips.c.fixed_ip_address == address,
            _fips.c.floating_network_id == floatingip["floating_network_id"],
            _fips.c.id != floatingip["id"],
        )
    )
    if other is not None:
        raise FloatingIPPortAlreadyAssociated(
            floating_ip_address=floatingip["floating_ip_address"],
            fip_id=floatingip["id"],
            port_id=port_id,
            fixed_ip=address,
            net_id=floatingip["floating_network_id"],
        )


def _router_between(connection: Connection, network_id: str, subnet_id: str, port_id: str) -> str:
    """The router with an interface in the subnet and its gateway on the external network; of several, the one that
    is the subnet's own gateway."""
    candidates = _routers_between(connection, network_id, subnet_id)
    # whoever takes a gateway or an interface away holds the router's lock, and has committed before we look again
    locked = sa.select(tables.routers.c.id).where(tables.routers.c.id.in_([row["id"] for row in candidates]))
    connection.execute(locked.order_by(tables.routers.c.id).with_for_update())
    found = _routers_between(connection, network_id, subnet_id)
    if not found:
        raise ExternalGatewayForFloatingIPNotFound(external_network_id=network_id, subnet_id=subnet_id, port_id=port_id)
    router_id: str = next((row["id"] for row in found if row["ip_address"] == row["gateway_ip"]), found[0]["id"])
    return router_id


def _routers_between(connection: Connection, network_id: str, subnet_id: str) -> Sequence[sa.RowMapping]:
    routers, gateway = tables.routers, _ports.alias("gateway")
    return (
        connection.execute(
            sa.select(routers.c.id, _allocations.c.ip_address, _subnets.c.gateway_ip)
            .select_from(_allocations)
            .join(_subnets, _subnets.c.id == _allocations.c.subnet_id)
            .join(_ports, _ports.c.id == _allocations.c.port_id)
            .join(routers, routers.c.id == _ports.c.device_id)
            .join(gateway, gateway.c.id == routers.c.gateway_port_id)
            .where(
                _allocations.c.subnet_id == subnet_id,
                _ports.c.device_owner.in_(INTERFACE_OWNERS),
                gateway.c.network_id == network_id,
            )
            .order_by(routers.c.id)
        )
        .mappings()
        .all()
    )
