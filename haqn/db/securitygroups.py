"""The rules of writing security groups and their rules. They are records: nothing here lets or keeps traffic out."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Sequence

import sqlalchemy as sa

from haqn.db import tables, tags
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Query, Row, Store, select_in
from haqn.exceptions import (
    SecurityGroupCannotRemoveDefault,
    SecurityGroupCannotUpdateDefault,
    SecurityGroupDefaultAlreadyExists,
    SecurityGroupInUse,
    SecurityGroupInvalidPortRange,
    SecurityGroupNotFound,
    SecurityGroupProtocolRequiredWithPorts,
    SecurityGroupRemoteGroupAndRemoteIpPrefix,
    SecurityGroupRuleExists,
    SecurityGroupRuleNotFound,
    SecurityGroupRuleParameterConflict,
)

DEFAULT = "default"
_groups, _rules, _of_ports = tables.security_groups, tables.security_group_rules, tables.port_security_groups
_NAMESPACE = uuid.UUID("0d3a2a4c-6a0e-4d0b-9d2b-7a1f5cbb6d1e")
_ETHERTYPES = {4: "IPv4", 6: "IPv6"}
_PORT_PROTOCOLS = frozenset({"tcp", "udp", "6", "17"})
#: what makes two rules of a group the same
_MEANING = (
    "security_group_id",
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
)


def _load_rules(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `security_group_rules`."""
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row["security_group_rules"] = []
    statement = sa.select(_rules).order_by(_rules.c.created_at, _rules.c.id)
    found = [dict(rule) for rule in select_in(connection, statement, _rules.c.security_group_id, by_id)]
    if found:
        tags.CHILDREN["tags"](connection, found)
    for rule in found:
        by_id[rule["security_group_id"]]["security_group_rules"].append(rule)


GROUPS = Store(
    kind="security_group",
    table=_groups,
    not_found=SecurityGroupNotFound,
    children={"security_group_rules": _load_rules, **tags.CHILDREN},
    conditions=tags.conditions(_groups),
)
RULES = Store(
    kind="security_group_rule",
    table=_rules,
    not_found=SecurityGroupRuleNotFound,
    children=tags.CHILDREN,
    conditions=tags.conditions(_rules),
)


def default_id(project_id: str) -> str:
    """The id of a project's default group: it follows from the project, so that two requests cannot make two."""
    return str(uuid.uuid5(_NAMESPACE, project_id))


def has_default(connection: Connection, project_id: str) -> bool:
    """Whether the project's default group was made."""
    return connection.scalar(sa.select(_groups.c.id).where(_groups.c.id == default_id(project_id))) is not None


def ensure_default(connection: Connection, project_id: str) -> str:
    """Make the project's default group unless it is there; its id.

    As in Neutron, its rules let its members in, and everything out.
    """
    group_id = default_id(project_id)
    if has_default(connection, project_id):
        return group_id
    values = {"id": group_id, "name": DEFAULT, "description": "Default security group", "project_id": project_id}
    _insert(connection, {**values, "stateful": True})
    for ethertype in _ETHERTYPES.values():
        _insert_rule(
            connection, project_id, group_id, direction="ingress", ethertype=ethertype, remote_group_id=group_id
        )
    return group_id


def create_group(connection: Connection, _settings: Settings, values: Row) -> Row:
    """Insert a group that lets everything out. Raises SecurityGroupDefaultAlreadyExists."""
    if values["name"] == DEFAULT:
        raise SecurityGroupDefaultAlreadyExists()
    ensure_default(connection, values["project_id"])
    return GROUPS.get(connection, _insert(connection, values))


def _insert(connection: Connection, values: Row) -> str:
    group_id: str = GROUPS.insert(connection, values)["id"]
    for ethertype in _ETHERTYPES.values():
        _insert_rule(connection, values["project_id"], group_id, direction="egress", ethertype=ethertype)
    return group_id


def _insert_rule(connection: Connection, project_id: str, group_id: str, **rule: str) -> None:
    RULES.insert(connection, {"project_id": project_id, "security_group_id": group_id, **rule})


def update_group(connection: Connection, _settings: Settings, group_id: str, changes: Row) -> Row:
    """Change a group. Raises SecurityGroupNotFound, SecurityGroupCannotUpdateDefault (its name)."""
    row = GROUPS.bare(connection, group_id, lock=True)
    if changes.get("name", row["name"]) != row["name"]:
        if row["name"] == DEFAULT:
            raise SecurityGroupCannotUpdateDefault()
        if changes["name"] == DEFAULT:
            raise SecurityGroupDefaultAlreadyExists()
    GROUPS.update(connection, group_id, changes)
    return GROUPS.get(connection, group_id)


def delete_group(connection: Connection, _settings: Settings, group_id: str) -> None:
    """Delete a group with its rules, and others' rules about it.

    Raises SecurityGroupNotFound, SecurityGroupInUse (a port has it), SecurityGroupCannotRemoveDefault.
    """
    row = GROUPS.bare(connection, group_id, lock=True)
    if row["name"] == DEFAULT:
        raise SecurityGroupCannotRemoveDefault()
    holder = connection.scalar(sa.select(_of_ports.c.port_id).where(_of_ports.c.security_group_id == group_id).limit(1))
    if holder is not None:
        raise SecurityGroupInUse(id=group_id, reason=f"in use by port {holder}")
    about = sa.or_(_rules.c.security_group_id == group_id, _rules.c.remote_group_id == group_id)
    for rule_id in connection.scalars(sa.select(_rules.c.id).where(about)).all():
        RULES.delete(connection, rule_id)
    GROUPS.delete(connection, group_id)


def create_rule(connection: Connection, _settings: Settings, values: Row) -> Row:
    """Insert a rule.

    Raises SecurityGroupNotFound, SecurityGroupRuleExists, and BadRequest of what does not fit together.
    """
    _check_ports(values)
    _check_remote(values)
    GROUPS.bare(connection, values["security_group_id"], lock=True)
    if values.get("remote_group_id") is not None:
        GROUPS.bare(connection, values["remote_group_id"])
    same = connection.scalar(
        sa.select(_rules.c.id).where(*(_rules.c[name].is_not_distinct_from(values.get(name)) for name in _MEANING))
    )
    if same is not None:
        raise SecurityGroupRuleExists(rule_id=same)
    row = RULES.insert(connection, values)
    GROUPS.update(connection, values["security_group_id"], {})
    return RULES.get(connection, row["id"])


def delete_rule(connection: Connection, _settings: Settings, rule_id: str) -> None:
    """Delete a rule. Raises SecurityGroupRuleNotFound."""
    row = RULES.bare(connection, rule_id, lock=True)
    RULES.delete(connection, rule_id)
    GROUPS.update(connection, row["security_group_id"], {})


def _check_ports(values: Row) -> None:
    least, most, protocol = (values.get(name) for name in ("port_range_min", "port_range_max", "protocol"))
    if least is None and most is None:
        return
    if protocol is None:
        raise SecurityGroupProtocolRequiredWithPorts()
    if protocol in _PORT_PROTOCOLS and (least is None or most is None or least > most):
        raise SecurityGroupInvalidPortRange()


def _check_remote(values: Row) -> None:
    prefix = values.get("remote_ip_prefix")
    if prefix is None:
        return
    if values.get("remote_group_id") is not None:
        raise SecurityGroupRemoteGroupAndRemoteIpPrefix()
    if _ETHERTYPES[ipaddress.ip_network(prefix, strict=False).version] != values["ethertype"]:
        raise SecurityGroupRuleParameterConflict(ethertype=values["ethertype"], cidr=prefix)


# -- ports --------------------------------------------------------------------------------


def load_of_ports(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `security_groups` to rows of ports."""
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row["security_groups"] = []
    statement = sa.select(_of_ports).order_by(*_of_ports.primary_key)
    for child in select_in(connection, statement, _of_ports.c.port_id, by_id):
        by_id[child["port_id"]]["security_groups"].append(child["security_group_id"])


def set_of_port(connection: Connection, port_id: str, group_ids: Sequence[str], *, new: bool = False) -> None:
    """Let the port have exactly these groups. Raises SecurityGroupNotFound."""
    if not new:
        connection.execute(_of_ports.delete().where(_of_ports.c.port_id == port_id))
    if not group_ids:
        return
    known = {row["id"] for row in GROUPS.list(connection, Query(filters={"id": group_ids}, wanted=frozenset()))}
    for group_id in group_ids:
        if group_id not in known:
            raise SecurityGroupNotFound(security_group_id=group_id)
    connection.execute(
        _of_ports.insert(), [{"port_id": port_id, "security_group_id": group_id} for group_id in group_ids]
    )


def with_port_groups(values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Ports that have one of the groups."""
    return sa.exists().where(_of_ports.c.port_id == tables.ports.c.id, _of_ports.c.security_group_id.in_(values))
