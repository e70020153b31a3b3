"""How many objects a project may have, and how many it has.

Usage is always counted, never kept, so that it cannot be wrong. Projects have limits of their own or the defaults; -1
is no limit. What belongs to no project ("") has none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.exceptions import InvalidQuotaValue, OverQuota

UNLIMITED = -1
_quotas, _locks = tables.quotas, tables.quota_locks
#: resource, as in the API -> its objects
TRACKED: Mapping[str, sa.Table] = {
    "network": tables.networks,
    "subnet": tables.subnets,
    "port": tables.ports,
    "router": tables.routers,
    "floatingip": tables.floatingips,
    "security_group": tables.security_groups,
    "security_group_rule": tables.security_group_rules,
}


def limits_of(connection: Connection, settings: Settings, project_id: str) -> dict[str, int]:
    """resource -> the most that the project may have."""
    own = connection.execute(
        sa.select(_quotas.c.resource, _quotas.c.most).where(_quotas.c.project_id == project_id)
    ).all()
    return defaults(settings) | {row.resource: row.most for row in own if row.resource in TRACKED}


def defaults(settings: Settings) -> dict[str, int]:
    """resource -> the most that a project without limits of its own may have."""
    return {resource: settings.quotas[resource] for resource in TRACKED}


def projects(connection: Connection, settings: Settings) -> dict[str, dict[str, int]]:
    """The limits of the projects that have some of their own."""
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(sa.select(_quotas).order_by(_quotas.c.project_id)):
        limits = found.setdefault(row.project_id, defaults(settings))
        if row.resource in TRACKED:
            limits[row.resource] = row.most
    return found


def usage(connection: Connection, project_id: str, resources: Iterable[str] = TRACKED) -> dict[str, int]:
    """resource -> how many of it the project has; one statement."""
    counts = [_count(resource, project_id).label(resource) for resource in resources]
    return dict(connection.execute(sa.select(*counts)).mappings().one())


def set_limits(
    connection: Connection, project_id: str, limits: Mapping[str, int], *, check_usage: bool = False
) -> None:
    """Give the project limits of its own; other resources keep theirs.

    Raises InvalidQuotaValue (`check_usage`: it has more than that already).
    """
    _lock(connection, project_id)
    if check_usage:
        used = usage(connection, project_id)
        unders = sorted(name for name, most in limits.items() if UNLIMITED < most < used[name])
        if unders:
            raise InvalidQuotaValue(unders=unders)
    for resource, most in limits.items():
        connection.execute(_quotas.delete().where(_quotas.c.project_id == project_id, _quotas.c.resource == resource))
        connection.execute(_quotas.insert().values(project_id=project_id, resource=resource, most=most))


def reset(connection: Connection, project_id: str) -> None:
    """Give the project the default limits."""
    connection.execute(_quotas.delete().where(_quotas.c.project_id == project_id))


def enforce(
    connection: Connection, settings: Settings, project_ids: Collection[str], resources: Collection[str]
) -> None:
    """To be called after objects were inserted, in their transaction, as its last step. Raises OverQuota.

    The lock that it takes on the project lasts until the commit, so that of two transactions the second counts what
    the first has written.
    """
    tracked = [resource for resource in resources if resource in TRACKED]
    if not tracked:
        return
    for project_id in sorted(set(project_ids) - {""}):
        _lock(connection, project_id)
        columns = [
            column
            for resource in tracked
            for column in (
                _count(resource, project_id).label(f"{resource}_used"),
                _own_limit(resource, project_id).label(f"{resource}_limit"),
            )
        ]
        found = connection.execute(sa.select(*columns)).mappings().one()
        overs = [
            resource
            for resource in tracked
            if _is_over(found[f"{resource}_used"], found[f"{resource}_limit"], settings.quotas[resource])
        ]
        if overs:
            raise OverQuota(overs=overs)


def _is_over(used: int, own_limit: int | None, default: int) -> bool:
    most = default if own_limit is None else own_limit
    return most != UNLIMITED and used > most


def _count(resource: str, project_id: str) -> sa.ScalarSelect[int]:
    table = TRACKED[resource]
    return sa.select(sa.func.count()).select_from(table).where(table.c.project_id == project_id).scalar_subquery()


def _own_limit(resource: str, project_id: str) -> sa.ScalarSelect[int]:
    return (
        sa.select(_quotas.c.most)
        .where(_quotas.c.project_id == project_id, _quotas.c.resource == resource)
        .scalar_subquery()
    )


def _lock(connection: Connection, project_id: str) -> None:
    held = sa.select(_locks.c.project_id).where(_locks.c.project_id == project_id).with_for_update()
    if connection.execute(held).first() is None:
        # whoever inserts it at the same moment violates the primary key, and tries again
        connection.execute(_locks.insert().values(project_id=project_id))
