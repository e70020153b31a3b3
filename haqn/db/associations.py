"""Which floating IPs depend on a port, a subnet or a gateway: what the rules of other resources must ask.

Knows only the table; the rules of floating IPs themselves are in `floatingips`.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from haqn.db import outbox, tables
from haqn.db.clock import utcnow
from haqn.db.session import Connection
from haqn.exceptions import BadRequest, RouterExternalGatewayInUseByFloatingIp, RouterInterfaceInUseByFloatingIP

_fips = tables.floatingips
_allocations = tables.ip_allocations


def disassociate_port(connection: Connection, port_id: str) -> None:
    """The port is to be deleted: its floating IPs lead nowhere, and their routers must learn of it."""
    found = connection.execute(sa.select(_fips.c.id, _fips.c.router_id).where(_fips.c.port_id == port_id)).all()
    if not found:
        return
    connection.execute(
        _fips.update()
        .where(_fips.c.port_id == port_id)
        .values(
            port_id=None,
            fixed_ip_address=None,
            router_id=None,
            status="DOWN",
            revision_number=_fips.c.revision_number + 1,
            updated_at=utcnow(),
        )
    )
    for floatingip_id, _ in found:
        outbox.record(connection, "floatingip", floatingip_id)
    for router_id in {router_id for _, router_id in found}:
        outbox.record(connection, "router", router_id)


def check_addresses_are_kept(connection: Connection, port_id: str, kept: Collection[str]) -> None:
    """The addresses of a port that floating IPs lead to must stay. Raises BadRequest."""
    needed = connection.scalars(sa.select(_fips.c.fixed_ip_address).where(_fips.c.port_id == port_id))
    for address in needed:
        if address not in kept:
            raise BadRequest(
                resource="port",
                msg=f"Cannot update the fixed_ips of the port {port_id} because the original fixed_ip {address} "
                "is used by a floating IP",
            )


def check_interface_is_free(connection: Connection, router_id: str, subnet_ids: Collection[str]) -> None:
    """An interface that floating IPs are reached by must stay. Raises RouterInterfaceInUseByFloatingIP."""
    needed = connection.scalar(
        sa.select(_allocations.c.subnet_id)
        .join(
            _fips,
            sa.and_(_fips.c.port_id == _allocations.c.port_id, _fips.c.fixed_ip_address == _allocations.c.ip_address),
        )
        .where(_fips.c.router_id == router_id, _allocations.c.subnet_id.in_(subnet_ids))
        .limit(1)
    )
    if needed is not None:
        raise RouterInterfaceInUseByFloatingIP(router_id=router_id, subnet_id=needed)


def check_gateway_is_free(connection: Connection, router_id: str, network_id: str) -> None:
    """A gateway that floating IPs come in by must stay. Raises RouterExternalGatewayInUseByFloatingIp."""
    needed = connection.scalar(sa.select(_fips.c.id).where(_fips.c.router_id == router_id).limit(1))
    if needed is not None:
        raise RouterExternalGatewayInUseByFloatingIp(router_id=router_id, net_id=network_id)
