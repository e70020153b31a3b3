"""Everything that the leader needs to know of SQL, in two consistent snapshots.

One statement a table, whatever the number of routers; rows become small immutable facts, so
that the planner and the projection never see SQL. What users want is large and changes only
with an outbox line; what the leader itself writes is small, and read again after each of its
writes. Knows neither etcd nor what is alive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from haqn.db import monitorstatus, operations, tables
from haqn.db.monitorstatus import BrakeRelease
from haqn.db.owners import INTERFACE_OWNERS, ROUTER_OWNERS
from haqn.db.session import Connection, Database
from haqn.documents import FixedIp
from haqn.model import FIRST_PAIR_ID, AgentType, Binding, NetworkType, Pair
from haqn.scheduler.operations import Operation

PAIR_SEQUENCE = "pair"
#: prefix of the owners of ports that no compute host plugs
_SERVICE_OWNER = "network:"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFact:
    """An agent's row. `heartbeat` is its last heartbeat document, as plain data."""

    id: str
    agent_type: AgentType
    host: str
    admin_state_up: bool
    draining: bool
    heartbeat: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFact:
    id: str
    network_type: NetworkType
    mtu: int
    physical_network: str | None
    segmentation_id: int | None
    admin_state_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFact:
    """A router's port, or one that a host plugs (`host`)."""

    id: str
    network_id: str
    mac_address: str
    admin_state_up: bool
    status: str
    host: str
    #: of router ports only
    fixed_ips: tuple[FixedIp, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatingIpFact:
    """A floating IP that leads somewhere."""

    id: str
    router_id: str
    floating_ip_address: str
    fixed_ip_address: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterFact:
    id: str
    ha: bool
    admin_state_up: bool
    enable_snat: bool
    status: str
    routes: tuple[tuple[str, str], ...]
    availability_zone_hints: tuple[str, ...]
    gateway: PortFact | None = None
    #: by port id
    interfaces: tuple[PortFact, ...] = ()
    #: by floating address
    floating_ips: tuple[FloatingIpFact, ...] = ()


def router_ports(router: RouterFact) -> tuple[PortFact, ...]:
    """All ports of a router, the gateway's last."""
    return (*router.interfaces, router.gateway) if router.gateway is not None else router.interfaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What users asked for: changes with an outbox line only. Mappings are by id and sorted by it."""

    networks: Mapping[str, NetworkFact]
    routers: Mapping[str, RouterFact]
    #: ports that belong to no network service and are bound to a host
    host_ports: Mapping[str, PortFact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What the leader has made of it, and operators' wishes of who hosts what."""

    agents: Mapping[str, AgentFact]
    pairs: Mapping[int, Pair]
    bindings: Mapping[str, Binding]
    #: (router, agent)
    pins: tuple[tuple[str, str], ...]
    next_pair_id: int
    #: router -> agents that it is to leave
    exclusions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: open ones, oldest first
    operations: tuple[Operation, ...] = ()
    #: an operator's release of the brakes
    release: BrakeRelease | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Both. They may be of two moments: then a binding's router can be missing, or a router's binding."""

    wanted: Wanted
    placed: Placed


def read_wanted(database: Database) -> Wanted:
    """Read it in one transaction. Raises DatabaseUnavailable."""
    with database.read() as connection:
        host_ports, gateways, interfaces = _ports(connection)
        return Wanted(
            networks=_networks(connection),
            routers=_routers(connection, gateways, interfaces, _floating_ips(connection)),
            host_ports=host_ports,
        )


def read_placed(database: Database) -> Placed:
    """Read it in one transaction. Raises DatabaseUnavailable."""
    bindings, pins = tables.bindings, tables.pins
    with database.read() as connection:
        bound = connection.execute(
            sa.select(bindings.c.router_id, bindings.c.pair_id, bindings.c.agent_id).order_by(bindings.c.router_id)
        )
        pinned = connection.execute(sa.select(pins.c.router_id, pins.c.agent_id).order_by(*pins.primary_key))
        return Placed(
            agents=_agents(connection),
            pairs=_pairs(connection),
            bindings={
                router_id: Binding(router_id=router_id, pair_id=pair_id, agent_id=agent_id)
                for router_id, pair_id, agent_id in bound.all()
            },
            pins=tuple((router_id, agent_id) for router_id, agent_id in pinned.all()),
            next_pair_id=next_pair_id(connection),
            exclusions=_exclusions(connection),
            operations=operations.read_open(connection),
            release=monitorstatus.read_release(connection),
        )


def read_agents(database: Database) -> dict[str, AgentFact]:
    """The agents alone. Raises DatabaseUnavailable."""
    with database.read() as connection:
        return _agents(connection)


class OutboxEnd(NamedTuple):
    """What is in the outbox above some number: another one whenever a line has come, wherever in the order."""

    lines: int = 0
    #: number of the last one; 0: there is none
    last: int = 0


def outbox_end(database: Database, after: int) -> OutboxEnd:
    """The outbox lines above `after`, counted: a smaller number can become visible after a larger one."""
    number = tables.outbox.c.id
    with database.read() as connection:
        lines, last = connection.execute(sa.select(sa.func.count(), sa.func.max(number)).where(number > after)).one()
        return OutboxEnd(lines, last or 0)


def next_pair_id(connection: Connection) -> int:
    """The id of the next pair; ids are never used again."""
    number = connection.scalar(sa.select(tables.sequences.c.next_value).where(tables.sequences.c.name == PAIR_SEQUENCE))
    return number if number is not None else FIRST_PAIR_ID


def _exclusions(connection: Connection) -> dict[str, tuple[str, ...]]:
    table = tables.exclusions
    found: dict[str, tuple[str, ...]] = {}
    for router_id, agent_id in connection.execute(
        sa.select(table.c.router_id, table.c.agent_id).order_by(*table.primary_key)
    ).all():
        found[router_id] = (*found.get(router_id, ()), agent_id)
    return found


def _agents(connection: Connection) -> dict[str, AgentFact]:
    known_types = set(AgentType)
    return {
        row.id: AgentFact(
            id=row.id,
            agent_type=AgentType(row.agent_type),
            host=row.host,
            admin_state_up=row.admin_state_up,
            draining=row.draining,
            heartbeat=row.heartbeat,
        )
        for row in connection.execute(sa.select(tables.agents).order_by(tables.agents.c.id))
        if row.agent_type in known_types
    }


def _networks(connection: Connection) -> dict[str, NetworkFact]:
    table = tables.networks
    columns = (table.c[name] for name in NetworkFact.__slots__)
    return {
        row.id: NetworkFact(**{**row._mapping, "network_type": NetworkType(row.network_type)})
        for row in connection.execute(sa.select(*columns).order_by(table.c.id)).all()
    }


def _pairs(connection: Connection) -> dict[int, Pair]:
    table = tables.pairs
    columns = (table.c[name] for name in Pair.__slots__)
    return {row.id: Pair(**row._mapping) for row in connection.execute(sa.select(*columns).order_by(table.c.id))}


def _routers(
    connection: Connection,
    gateways: Mapping[str, PortFact],
    interfaces: Mapping[str, list[PortFact]],
    floating_ips: Mapping[str, list[FloatingIpFact]],
) -> dict[str, RouterFact]:
    table = tables.routers
    rows = connection.execute(
        sa.select(
            table.c.id,
            table.c.ha,
            table.c.admin_state_up,
            table.c.enable_snat,
            table.c.status,
            table.c.routes,
            table.c.availability_zone_hints,
            table.c.gateway_port_id,
        ).order_by(table.c.id)
    )
    return {
        router_id: RouterFact(
            id=router_id,
            ha=ha,
            admin_state_up=admin_state_up,
            enable_snat=enable_snat,
            status=status,
            routes=tuple((route["destination"], route["nexthop"]) for route in routes),
            availability_zone_hints=tuple(hints),
            gateway=gateways.get(gateway_port_id),
            interfaces=tuple(interfaces.get(router_id, ())),
            floating_ips=tuple(floating_ips.get(router_id, ())),
        )
        # unpacked rows and `all` are what makes this fast: there may be ten thousands
        for router_id, ha, admin_state_up, enable_snat, status, routes, hints, gateway_port_id in rows.all()
    }


def _ports(connection: Connection) -> tuple[dict[str, PortFact], dict[str, PortFact], dict[str, list[PortFact]]]:
    """Ports by their use: those of hosts by id, gateways by id, interfaces by router."""
    table = tables.ports
    fixed_ips = _fixed_ips(connection)
    host_ports: dict[str, PortFact] = {}
    gateways: dict[str, PortFact] = {}
    interfaces: dict[str, list[PortFact]] = defaultdict(list)
    rows = connection.execute(
        sa.select(
            table.c.id,
            table.c.network_id,
            table.c.mac_address,
            table.c.admin_state_up,
            table.c.status,
            table.c.device_id,
            table.c.device_owner,
            table.c.binding_host_id,
        )
        .where(sa.or_(table.c.device_owner.in_(ROUTER_OWNERS), table.c.binding_host_id != ""))
        .order_by(table.c.id)
    )
    for port_id, network_id, mac_address, admin_state_up, status, device_id, owner, host in rows.all():
        port = PortFact(
            id=port_id,
            network_id=network_id,
            mac_address=mac_address,
            admin_state_up=admin_state_up,
            status=status,
            host=host,
            fixed_ips=tuple(fixed_ips.get(port_id, ())),
        )
        if owner in INTERFACE_OWNERS:
            interfaces[device_id].append(port)
        elif owner in ROUTER_OWNERS:
            gateways[port_id] = port
        elif not owner.startswith(_SERVICE_OWNER):
            host_ports[port_id] = port
    return host_ports, gateways, interfaces


def _floating_ips(connection: Connection) -> dict[str, list[FloatingIpFact]]:
    """Those that are associated, by router."""
    table = tables.floatingips
    columns = (table.c[name] for name in FloatingIpFact.__slots__)
    found: dict[str, list[FloatingIpFact]] = defaultdict(list)
    for row in connection.execute(
        sa.select(*columns).where(table.c.router_id.is_not(None)).order_by(table.c.floating_ip_address)
    ).all():
        found[row.router_id].append(FloatingIpFact(**row._mapping))
    return found


def _fixed_ips(connection: Connection) -> dict[str, list[FixedIp]]:
    """Addresses of router ports, in their order, with what their subnets say: `gateway_ip` is for a router's gateway
    port, what is announced for the others."""
    ips, subnets, ports = tables.ip_allocations, tables.subnets, tables.ports
    rows = connection.execute(
        sa.select(
            ips.c.port_id,
            ips.c.subnet_id,
            ips.c.ip_address,
            subnets.c.cidr,
            subnets.c.gateway_ip,
            subnets.c.ipv6_ra_mode,
            subnets.c.dns_nameservers,
        )
        .join(subnets, subnets.c.id == ips.c.subnet_id)
        .join(ports, ports.c.id == ips.c.port_id)
        .where(ports.c.device_owner.in_(ROUTER_OWNERS))
        .order_by(ips.c.port_id, ips.c.position)
    )
    found: dict[str, list[FixedIp]] = defaultdict(list)
    for port_id, subnet_id, ip_address, cidr, gateway_ip, ra_mode, dns_nameservers in rows.all():
        found[port_id].append(
            FixedIp(
                subnet_id=subnet_id,
                ip_address=ip_address,
                prefix_length=int(cidr.rpartition("/")[2]),
                gateway_ip=gateway_ip,
                ra_mode=ra_mode,
                dns_nameservers=tuple(dns_nameservers) if ra_mode is not None else (),
            )
        )
    return found
