"""What a project may see and write, for callers that are no admins.

A project sees what it owns, what is shared, and networks that are external. What it cannot see does not exist for it
(404); what it sees and does not own it may not change (403). Identity comes from outside: here a caller is the id of
a project, and "" (nobody's) sees nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.exceptions import (
    BadRequest,
    HTTPBadRequest,
    NetworkNotFound,
    PolicyNotAuthorized,
    PortNotFound,
    SecurityGroupNotFound,
    SubnetNotFound,
    SubnetPoolNotFound,
)

_networks, _subnets, _ports, _groups = tables.networks, tables.subnets, tables.ports, tables.security_groups


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a project, and whether it may do what a rule of the policy is about (`create_port:fixed_ips`)."""

    project_id: str
    may: Callable[[str], bool]

    def check(self, rule: str) -> None:
        """Raises PolicyNotAuthorized."""
        if not self.may(rule):
            raise PolicyNotAuthorized(action=rule)


def visible(table: sa.Table, project_id: str) -> sa.ColumnElement[bool]:
    """The rows of `table` that exist for the project."""
    if not project_id or "project_id" not in table.c:
        return sa.false()
    alternatives = [table.c.project_id == project_id]
    alternatives += [table.c[name].is_(True) for name in ("shared", "external") if name in table.c]
    if table in (_subnets, _ports):
        mine = [_networks.c.project_id == project_id]
        if table is _subnets:
            mine.append(_networks.c.shared.is_(True))
        alternatives.append(table.c.network_id.in_(sa.select(_networks.c.id).where(sa.or_(*mine))))
    return sa.or_(*alternatives)


def owned(table: sa.Table, project_id: str, *, deleting: bool = False) -> sa.ColumnElement[bool]:
    """The rows of `table` that the project may change; a network's owner may delete the ports on it, too."""
    if not project_id or "project_id" not in table.c:
        return sa.false()
    own = table.c.project_id == project_id
    if table is _ports and deleting:
        on_own_network = sa.select(_networks.c.id).where(_networks.c.project_id == project_id)
        return sa.or_(own, _ports.c.network_id.in_(on_own_network))
    return own


def meets(connection: Connection, table: sa.Table, object_id: str, condition: sa.ColumnElement[bool]) -> bool:
    """Whether the row exists and `condition` holds for it."""
    statement = sa.select(table.c.id).where(table.c.id == object_id, condition)
    return connection.execute(statement).first() is not None


def check_create(connection: Connection, kind: str, caller: Caller, values: Mapping[str, Any]) -> None:
    """Whether the project may create an object of `kind` like this, on what it refers to.

    Raises HTTPBadRequest (for another project), PolicyNotAuthorized, the NotFound of what it refers to, BadRequest.
    """
    if not caller.project_id:
        raise HTTPBadRequest(reason="Running without keystone AuthN requires that project_id is specified")
    if values["project_id"] != caller.project_id:
        raise HTTPBadRequest(
            reason="Specifying 'project_id' or 'tenant_id' other than the authenticated project in request "
            "requires admin privileges"
        )
    if kind in _CREATING:
        _CREATING[kind](connection, caller, values, "create")


def check_update(connection: Connection, kind: str, caller: Caller, object_id: str, changes: Mapping[str, Any]) -> None:
    """Whether the project may make these changes to an object that it owns. Raises what `check_create` raises."""
    if kind == "port":
        network_id = connection.scalar(sa.select(_ports.c.network_id).where(_ports.c.id == object_id))
        _check_port_values(connection, caller, network_id or "", changes, "update")
        if "mac_address" in changes:
            caller.check("update_port:mac_address")
    elif kind in ("router", "floatingip"):
        _CREATING[kind](connection, caller, changes, "update")


def check_interface(connection: Connection, project_id: str, subnet_id: str | None, port_id: str | None) -> None:
    """Whether the project may attach these to its router.

    Raises SubnetNotFound, PortNotFound, BadRequest (a subnet that is seen and not owned), PolicyNotAuthorized.
    """
    if subnet_id is not None:
        if not meets(connection, _subnets, subnet_id, visible(_subnets, project_id)):
            raise SubnetNotFound(subnet_id=subnet_id)
        if not meets(connection, _subnets, subnet_id, owned(_subnets, project_id)):
            raise BadRequest(
                resource="router",
                msg=f"Cannot add interface to router because subnet {subnet_id} is not owned by project making the "
                "request",
            )
    if port_id is not None:
        _check_port_is_seen(connection, project_id, port_id)
        if not meets(connection, _ports, port_id, owned(_ports, project_id)):
            raise PolicyNotAuthorized(action="attaching another project's port to a router")


def _check_network_is_seen(connection: Connection, project_id: str, network_id: str) -> None:
    if not meets(connection, _networks, network_id, visible(_networks, project_id)):
        raise NetworkNotFound(network_id=network_id)


def _check_port_is_seen(connection: Connection, project_id: str, port_id: str) -> None:
    if not meets(connection, _ports, port_id, visible(_ports, project_id)):
        raise PortNotFound(port_id=port_id)


def _check_groups_are_seen(connection: Connection, project_id: str, group_ids: Iterable[str]) -> None:
    for group_id in group_ids:
        if not meets(connection, _groups, group_id, visible(_groups, project_id)):
            raise SecurityGroupNotFound(security_group_id=group_id)


def _check_rule(connection: Connection, caller: Caller, values: Mapping[str, Any], _verb: str) -> None:
    named = (values["security_group_id"], values.get("remote_group_id"))
    _check_groups_are_seen(connection, caller.project_id, [group_id for group_id in named if group_id is not None])


def _check_subnet(connection: Connection, caller: Caller, values: Mapping[str, Any], _verb: str) -> None:
    network_id, project_id = values["network_id"], caller.project_id
    _check_network_is_seen(connection, project_id, network_id)
    if not meets(connection, _networks, network_id, owned(_networks, project_id)):
        raise PolicyNotAuthorized(action="creating a subnet on another project's network")
    _check_pool_is_seen(connection, project_id, values)


def _check_pool_is_seen(connection: Connection, project_id: str, values: Mapping[str, Any]) -> None:
    pools = tables.subnetpools
    seen = sa.select(pools.c.id).where(visible(pools, project_id))
    pool_id, version = values.get("subnetpool_id"), values.get("ip_version")
    if pool_id is not None and connection.scalar(seen.where(pools.c.id == pool_id)) is None:
        raise SubnetPoolNotFound(subnetpool_id=pool_id)
    if values.get("use_default_subnetpool") and connection.scalar(seen.where(pools.c.default_of == version)) is None:
        raise BadRequest(resource="subnets", msg=f"No default subnetpool found for IPv{version}")


def _check_port(connection: Connection, caller: Caller, values: Mapping[str, Any], verb: str) -> None:
    network_id, project_id = values["network_id"], caller.project_id
    _check_network_is_seen(connection, project_id, network_id)
    usable = sa.or_(owned(_networks, project_id), _networks.c.shared.is_(True))
    if not meets(connection, _networks, network_id, usable):
        raise PolicyNotAuthorized(action="creating a port on an external network")
    _check_port_values(connection, caller, network_id, values, verb)


def _check_port_values(
    connection: Connection, caller: Caller, network_id: str, values: Mapping[str, Any], verb: str
) -> None:
    """On a network of others a project may not choose what could be taken for somebody else's."""
    project_id = caller.project_id
    _check_groups_are_seen(connection, project_id, values.get("security_groups") or ())
    chosen = [name for name in ("mac_address",) if values.get(name) is not None]
    chosen += [name for name in ("device_owner",) if (values.get(name) or "").startswith("network:")]
    chosen += ["fixed_ips" for ip in values.get("fixed_ips") or () if "ip_address" in ip]
    if chosen and not meets(connection, _networks, network_id, owned(_networks, project_id)):
        for name in chosen:
            caller.check(f"{verb}_port:{name}")


def _check_router(connection: Connection, caller: Caller, values: Mapping[str, Any], verb: str) -> None:
    gateway = values.get("external_gateway_info")
    if not gateway:
        return
    _check_network_is_seen(connection, caller.project_id, gateway["network_id"])
    if gateway.get("enable_snat") is False:
        caller.check(f"{verb}_router:external_gateway_info:enable_snat")
    if gateway.get("external_fixed_ips"):
        caller.check(f"{verb}_router:external_gateway_info:external_fixed_ips")


def _check_floating_ip(connection: Connection, caller: Caller, values: Mapping[str, Any], _verb: str) -> None:
    project_id = caller.project_id
    if "floating_network_id" in values:
        _check_network_is_seen(connection, project_id, values["floating_network_id"])
    if values.get("floating_ip_address") is not None:
        caller.check("create_floatingip:floating_ip_address")
    port_id = values.get("port_id")
    if port_id is not None:
        _check_port_is_seen(connection, project_id, port_id)
        if not meets(connection, _ports, port_id, owned(_ports, project_id)):
            raise BadRequest(
                resource="floatingip",
                msg=f"Port {port_id} is associated with a different project than the floating IP, "
                "and therefore cannot be bound",
            )


_CREATING: Mapping[str, Callable[[Connection, Caller, Mapping[str, Any], str], None]] = {
    "subnet": _check_subnet,
    "port": _check_port,
    "router": _check_router,
    "floatingip": _check_floating_ip,
    "security_group_rule": _check_rule,
}
