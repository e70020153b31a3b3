"""The rules of writing networks: segments that nobody else has, and what may be deleted."""

from __future__ import annotations

import random
from collections.abc import Sequence

import sqlalchemy as sa

from haqn.db import contains, outbox, tables, tags, zones
from haqn.db.owners import DeviceOwner
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row, Store, select_in
from haqn.exceptions import (
    ExternalNetworkInUse,
    FlatNetworkInUse,
    InvalidInput,
    NetworkInUse,
    NetworkNotFound,
    NoNetworkAvailable,
    TunnelIdInUse,
)
from haqn.model import AgentType, NetworkType

#: Outer Ethernet (14), IPv4 (20), UDP (8) and VXLAN (8) headers, RFC 7348.
VXLAN_OVERHEAD = 50
_GUESSES = 32
_networks = tables.networks


def _load_subnets(connection: Connection, rows: Sequence[Row]) -> None:
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row["subnets"] = []
    subnets = tables.subnets
    statement = sa.select(subnets.c.id, subnets.c.network_id).order_by(subnets.c.created_at, subnets.c.id)
    for child in select_in(connection, statement, subnets.c.network_id, by_id):
        by_id[child["network_id"]]["subnets"].append(child["id"])


def _with_subnets(values: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.exists().where(tables.subnets.c.network_id == _networks.c.id, tables.subnets.c.id.in_(values))


STORE = Store(
    kind="network",
    table=_networks,
    not_found=NetworkNotFound,
    children={"subnets": _load_subnets, "availability_zones": zones.load_of_networks, **tags.CHILDREN},
    conditions={
        "subnets": _with_subnets,
        "availability_zone_hints": contains.with_words(_networks.c.availability_zone_hints),
        "availability_zones": zones.networks_in,
        **tags.conditions(_networks),
    },
)


def create(connection: Connection, settings: Settings, values: Row) -> Row:
    """Insert a network.

    Raises AvailabilityZoneNotFound, InvalidInput, FlatNetworkInUse, TunnelIdInUse, NoNetworkAvailable.
    """
    zones.check(connection, AgentType.LINUX_BRIDGE, values["availability_zone_hints"])
    network_type = NetworkType(values.get("network_type") or NetworkType.VXLAN)
    physical_network, segmentation_id = values.get("physical_network"), values.get("segmentation_id")
    _check_provider(network_type, physical_network, segmentation_id)
    chosen = network_type is NetworkType.VXLAN and segmentation_id is None
    if chosen:
        segmentation_id = _free_vni(connection, settings)
    segment_key = _segment_key(network_type, physical_network, segmentation_id)
    # one that was chosen here and taken in the same moment is no fault of who asks: the write is tried again
    if not chosen:
        _check_segment(connection, network_type, physical_network, segmentation_id, segment_key)
    row = STORE.insert(
        connection,
        {
            **values,
            "status": "ACTIVE",
            "network_type": str(network_type),
            "physical_network": physical_network,
            "segmentation_id": segmentation_id,
            "segment_key": segment_key,
            "mtu": _mtu(settings, network_type, values.get("mtu")),
        },
    )
    return {**row, "subnets": [], "availability_zones": []}


def update(connection: Connection, settings: Settings, network_id: str, changes: Row) -> Row:
    """Change a network. Raises NetworkNotFound, InvalidInput, ExternalNetworkInUse."""
    row = STORE.bare(connection, network_id, lock=True)
    if "mtu" in changes:
        changes["mtu"] = _mtu(settings, NetworkType(row["network_type"]), changes["mtu"])
    if row["external"] and not changes.get("external", True):
        ports = tables.ports
        gateway = sa.select(ports.c.id).where(
            ports.c.network_id == network_id,
            ports.c.device_owner.in_((DeviceOwner.ROUTER_GATEWAY, DeviceOwner.FLOATING_IP)),
        )
        if connection.execute(gateway.limit(1)).first() is not None:
            raise ExternalNetworkInUse(network_id=network_id)
    STORE.update(connection, network_id, changes)
    return STORE.get(connection, network_id)


def delete(connection: Connection, _settings: Settings, network_id: str) -> None:
    """Delete a network and its subnets. Raises NetworkNotFound, NetworkInUse (ports are left)."""
    STORE.bare(connection, network_id, lock=True)
    ports = tables.ports
    left = connection.scalars(sa.select(ports.c.id).where(ports.c.network_id == network_id).limit(10)).all()
    if left:
        raise NetworkInUse(network_id=network_id, ports=", ".join(left))
    subnets = tables.subnets
    for subnet_id in connection.scalars(sa.select(subnets.c.id).where(subnets.c.network_id == network_id)).all():
        outbox.record(connection, "subnet", subnet_id)
        tags.clear(connection, subnet_id)
    connection.execute(subnets.delete().where(subnets.c.network_id == network_id))
    STORE.delete(connection, network_id)


def _check_provider(network_type: NetworkType, physical_network: str | None, segmentation_id: int | None) -> None:
    if network_type is NetworkType.FLAT and not physical_network:
        raise InvalidInput(error_message="provider:physical_network is required for a flat network")
    if network_type is not NetworkType.FLAT and physical_network is not None:
        raise InvalidInput(error_message=f"provider:physical_network cannot be given for a {network_type} network")
    if network_type is not NetworkType.VXLAN and segmentation_id is not None:
        raise InvalidInput(error_message=f"provider:segmentation_id cannot be given for a {network_type} network")


def _segment_key(network_type: NetworkType, physical_network: str | None, segmentation_id: int | None) -> str | None:
    """What no two networks have; unique in the table."""
    match network_type:
        case NetworkType.FLAT:
            return f"flat:{physical_network}"
        case NetworkType.VXLAN:
            return f"vxlan:{segmentation_id}"
        case NetworkType.LOCAL:
            return None


def _check_segment(
    connection: Connection,
    network_type: NetworkType,
    physical_network: str | None,
    segmentation_id: int | None,
    segment_key: str | None,
) -> None:
    if segment_key is None or not _used(connection, [segment_key]):
        return
    if network_type is NetworkType.FLAT:
        raise FlatNetworkInUse(physical_network=physical_network)
    raise TunnelIdInUse(tunnel_id=segmentation_id)


def _free_vni(connection: Connection, settings: Settings) -> int:
    """A VXLAN id that no network has; guessed at random, because workers allocate at the same moment."""
    vnis = range(settings.vni_min, settings.vni_max + 1)
    guesses = random.sample(vnis, min(_GUESSES, len(vnis)))
    used = _used(connection, [f"vxlan:{vni}" for vni in guesses])
    free = next((vni for vni in guesses if f"vxlan:{vni}" not in used), None)
    if free is None:
        used = _used(connection, None)
        free = next((vni for vni in vnis if f"vxlan:{vni}" not in used), None)
    if free is None:
        raise NoNetworkAvailable()
    return free


def _used(connection: Connection, keys: Sequence[str] | None) -> set[str | None]:
    statement = sa.select(_networks.c.segment_key).where(_networks.c.segment_key.is_not(None))
    if keys is not None:
        statement = statement.where(_networks.c.segment_key.in_(keys))
    return set(connection.scalars(statement))


def _mtu(settings: Settings, network_type: NetworkType, asked: int | None) -> int:
    overhead = VXLAN_OVERHEAD if network_type is NetworkType.VXLAN else 0
    largest = settings.physical_network_mtu - overhead
    if not asked:
        return largest
    if asked > largest:
        raise InvalidInput(error_message=f"mtu {asked} is larger than {largest}, the most that the underlay carries")
    return asked
