"""The rules of writing ports: addresses and MACs that nobody else has. Ports of routers are written by `routers`."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from haqn.db import associations, contains, ipam, portoptions, securitygroups, tables, tags
from haqn.db.networks import STORE as NETWORKS
from haqn.db.owners import ROUTER_OWNERS, SERVICE_OWNERS
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row, Store, select_in
from haqn.exceptions import InvalidInput, MacAddressInUse, PortNotFound, ServicePortInUse

_ports = tables.ports
_allocations = tables.ip_allocations
#: `binding:vif_type`, as Nova knows it.
_BOUND, _UNBOUND = "bridge", "unbound"
#: What may be changed on a port that belongs to a router or a floating IP.
_SERVICE_PORT_CHANGES = frozenset({"name", "description", "admin_state_up"})


def load_fixed_ips(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `fixed_ips` to rows of ports."""
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row["fixed_ips"] = []
    statement = sa.select(_allocations.c.port_id, _allocations.c.subnet_id, _allocations.c.ip_address).order_by(
        _allocations.c.port_id, _allocations.c.position, _allocations.c.ip_address
    )
    for child in select_in(connection, statement, _allocations.c.port_id, by_id):
        by_id[child["port_id"]]["fixed_ips"].append(
            {"subnet_id": child["subnet_id"], "ip_address": child["ip_address"]}
        )


def _load_router_binding(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `router_binding` ({pair_id, hosts, the designated ACTIVE's first} or None): where a router's port may be."""
    for row in rows:
        row["router_binding"] = None
    owned = [row for row in rows if row["device_owner"] in ROUTER_OWNERS]
    if not owned:
        return
    found = router_hosts(connection, {row["device_id"] for row in owned})
    for row in owned:
        row["router_binding"] = found.get(row["device_id"])


def router_hosts(connection: Connection, router_ids: set[str]) -> dict[str, Row]:
    """router -> {pair_id, hosts}, for the routers that are bound."""
    bindings, pairs = tables.bindings, tables.pairs
    active, backup = tables.agents.alias("active"), tables.agents.alias("backup")
    statement = sa.select(
        bindings.c.router_id, bindings.c.pair_id, active.c.host.label("active"), backup.c.host.label("backup")
    ).select_from(
        bindings.outerjoin(pairs, pairs.c.id == bindings.c.pair_id)
        .join(active, active.c.id == sa.func.coalesce(pairs.c.active_agent_id, bindings.c.agent_id))
        .outerjoin(backup, backup.c.id == pairs.c.backup_agent_id)
    )
    return {
        row["router_id"]: {
            "pair_id": row["pair_id"],
            "hosts": [host for host in (row["active"], row["backup"]) if host is not None],
        }
        for row in select_in(connection, statement, bindings.c.router_id, router_ids)
    }


def _with_fixed_ip(values: Sequence[tuple[str, str]]) -> sa.ColumnElement[bool]:
    """Ports with an address that meets every key of `values` ((subnet_id|ip_address|ip_address_substr, text))."""
    meets = [_allocations.c.port_id == _ports.c.id]
    for key, texts in contains.by_name(values):
        if key == "ip_address_substr":
            meets.append(sa.or_(*(_allocations.c.ip_address.contains(text, autoescape=True) for text in texts)))
        else:
            meets.append(_allocations.c[key].in_(texts))
    return sa.exists().where(*meets)


def _on_host(values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Ports that are bound to one of the hosts; a router's port is on the host of the designated ACTIVE."""
    bindings, pairs, agents = tables.bindings, tables.pairs, tables.agents
    routers = (
        sa.select(bindings.c.router_id)
        .select_from(
            bindings.outerjoin(pairs, pairs.c.id == bindings.c.pair_id).join(
                agents, agents.c.id == sa.func.coalesce(pairs.c.active_agent_id, bindings.c.agent_id)
            )
        )
        .where(agents.c.host.in_(values))
    )
    of_router = _ports.c.device_owner.in_(ROUTER_OWNERS)
    return sa.or_(
        sa.and_(sa.not_(of_router), _ports.c.binding_host_id.in_(values)),
        sa.and_(of_router, _ports.c.device_id.in_(routers)),
    )


def vif_type(host: str) -> str:
    """How a port is plugged on the host that it is bound to; "": it is bound to none."""
    return _BOUND if host else _UNBOUND


def _of_vif_type(values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Ports that are plugged in one of these ways. A router's port is bound as soon as its router is."""
    of_router = _ports.c.device_owner.in_(ROUTER_OWNERS)
    bound = sa.or_(
        sa.and_(sa.not_(of_router), _ports.c.binding_host_id != ""),
        sa.and_(of_router, _ports.c.device_id.in_(sa.select(tables.bindings.c.router_id))),
    )
    by_type = {_BOUND: bound, _UNBOUND: sa.not_(bound)}
    return sa.or_(sa.false(), *(by_type[value] for value in values if value in by_type))


STORE = Store(
    kind="port",
    table=_ports,
    not_found=PortNotFound,
    children={
        "fixed_ips": load_fixed_ips,
        "router_binding": _load_router_binding,
        "security_groups": securitygroups.load_of_ports,
        **tags.CHILDREN,
    },
    conditions={
        "allowed_address_pairs": contains.with_objects(_ports.c.allowed_address_pairs),
        "binding_host_id": _on_host,
        "fixed_ips": _with_fixed_ip,
        "security_groups": securitygroups.with_port_groups,
        "vif_type": _of_vif_type,
        **tags.conditions(_ports),
    },
)


def insert(connection: Connection, settings: Settings, values: Row, chosen: Sequence[ipam.Allocation]) -> Row:
    """Insert a port that has the addresses `chosen`. Raises SecurityGroupNotFound."""
    group_ids = values.pop("security_groups", [])
    row = STORE.insert(
        connection,
        {
            "status": "DOWN",
            "admin_state_up": True,
            "device_id": "",
            "device_owner": "",
            "binding_host_id": "",
            "binding_profile": {},
            "binding_vnic_type": "normal",
            "name": "",
            "description": "",
            "allowed_address_pairs": [],
            "extra_dhcp_opts": [],
            # a port of the network service is trusted
            "port_security_enabled": False,
            **values,
            "mac_address": values.get("mac_address") or new_mac(settings),
        },
    )
    ipam.take(connection, row["id"], chosen)
    securitygroups.set_of_port(connection, row["id"], group_ids, new=True)
    fixed_ips = [_as_row(allocation) for allocation in chosen]
    return {**row, "fixed_ips": fixed_ips, "router_binding": None, "security_groups": sorted(group_ids)}


def create(connection: Connection, settings: Settings, values: Row) -> Row:
    """Insert a port; `fixed_ips` None: what `ipam.choose` gives unasked.

    Raises NetworkNotFound, MacAddressInUse, InvalidInput and the errors of `ipam.choose` and `portoptions.secure_new`.
    """
    _check_owner(values)
    # no subnet comes into the network meanwhile, of which the port would have to have an address
    network = NETWORKS.bare(connection, values["network_id"], share=True)
    portoptions.secure_new(connection, values, network)
    values["extra_dhcp_opts"] = portoptions.merged_dhcp_opts([], values.get("extra_dhcp_opts") or ())
    requests = values.pop("fixed_ips", None)
    mac = _mac(connection, settings, values["network_id"], values.get("mac_address"))
    chosen = ipam.choose(connection, values["network_id"], requests, mac=mac)
    return insert(connection, settings, {**values, "mac_address": mac}, chosen)


def update(connection: Connection, settings: Settings, port_id: str, changes: Row) -> Row:
    """Change a port. Raises PortNotFound, ServicePortInUse (a router's port, or a floating IP's), BadRequest (a
    floating IP needs the address), the errors of `portoptions.check_security`, and what `create` raises."""
    row = STORE.bare(connection, port_id, lock=True)
    if row["device_owner"] in SERVICE_OWNERS:
        forbidden = {name for name in changes.keys() - _SERVICE_PORT_CHANGES if changes[name] != row.get(name)}
        if forbidden:
            raise ServicePortInUse(port_id=port_id, reason=f"has device owner {row['device_owner']}")
    else:
        _check_owner(changes)
    portoptions.check_security(connection, row, changes)
    if "extra_dhcp_opts" in changes:
        present = row["extra_dhcp_opts"] or ()
        changes["extra_dhcp_opts"] = portoptions.merged_dhcp_opts(present, changes["extra_dhcp_opts"])
    new_mac_address = changes.get("mac_address", row["mac_address"])
    if new_mac_address != row["mac_address"]:
        _mac(connection, settings, row["network_id"], new_mac_address)
        ipam.forget_mac(connection, port_id, row["mac_address"])
        row["mac_address"] = new_mac_address
        changes.setdefault("fixed_ips", _addresses_of(connection, row))
    if "fixed_ips" in changes:
        replace_addresses(connection, row, changes.pop("fixed_ips"))
    if "security_groups" in changes:
        securitygroups.set_of_port(connection, port_id, changes.pop("security_groups"))
    STORE.update(connection, port_id, changes)
    return STORE.get(connection, port_id)


def delete(connection: Connection, _settings: Settings, port_id: str) -> None:
    """Delete a port; its floating IPs lead nowhere then. Raises PortNotFound, ServicePortInUse (a router's port, or a
    floating IP's)."""
    row = STORE.bare(connection, port_id, lock=True)
    if row["device_owner"] in SERVICE_OWNERS:
        raise ServicePortInUse(port_id=port_id, reason=f"has device owner {row['device_owner']}")
    associations.disassociate_port(connection, port_id)
    STORE.delete(connection, port_id)


def replace_addresses(connection: Connection, port: Row, requests: Sequence[Row] | None) -> None:
    """Give the port the addresses that `requests` ask for, keeping those that it has already; what it has unasked
    (see `ipam.choose`) stays."""
    had = _addresses_of(connection, port)
    kept: list[Row] = []
    missing: list[Row] = []
    for request in [{}] if requests is None else requests:
        match = next((ip for ip in had if ip not in kept and request.items() <= ip.items()), None)
        if match is None:
            missing.append(request)
        else:
            kept.append(match)
    unasked = ipam.automatic_subnets(connection, {ip["subnet_id"] for ip in had})
    kept += [ip for ip in had if ip not in kept and ip["subnet_id"] in unasked]
    for address in had:
        if address not in kept:
            ipam.give_back(connection, _as_allocation(address))
    chosen = ipam.choose(
        connection,
        port["network_id"],
        missing,
        mac=port["mac_address"],
        present=[_as_allocation(address) for address in kept],
    )
    addresses = [*(ip["ip_address"] for ip in kept), *(allocation.ip_address for allocation in chosen)]
    associations.check_addresses_are_kept(connection, port["id"], addresses)
    ipam.take(connection, port["id"], chosen, first_position=len(had))


def _addresses_of(connection: Connection, port: Row) -> list[Row]:
    load_fixed_ips(connection, [port])
    found: list[Row] = port["fixed_ips"]
    return found


def _check_owner(values: Row) -> None:
    if values.get("device_owner") in SERVICE_OWNERS:
        raise InvalidInput(
            error_message=f"device_owner {values['device_owner']} belongs to the network service: "
            "use add_router_interface, external_gateway_info or floatingips"
        )


def new_mac(settings: Settings) -> str:
    """A MAC that no port of the network has, by a constraint; a clash (1 in 16 million ports) tries the transaction
    again."""
    return settings.base_mac[:9] + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))


def _mac(connection: Connection, settings: Settings, network_id: str, asked: str | None) -> str:
    if asked is None:
        return new_mac(settings)
    holder = sa.select(_ports.c.id).where(_ports.c.network_id == network_id, _ports.c.mac_address == asked)
    if connection.execute(holder).first() is not None:
        raise MacAddressInUse(network_id=network_id, mac=asked)
    return asked


def _as_row(allocation: ipam.Allocation) -> dict[str, Any]:
    return {"subnet_id": allocation.subnet_id, "ip_address": allocation.ip_address}


def _as_allocation(fixed_ip: Row) -> ipam.Allocation:
    return ipam.Allocation(fixed_ip["subnet_id"], fixed_ip["ip_address"])


def new_id() -> str:
    """An id for an object that another one must name before it is written."""
    return str(uuid.uuid4())
