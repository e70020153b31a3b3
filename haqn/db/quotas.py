"""How many objects a project may have, and how many it has.

Usage is always counted, never kept, so that it cannot be wrong. Projects have limits of their own or the defaults; -1
is no limit. What belongs to no project ("") has none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.exceptions import InvalidQuotaValue, OverQuota

_ProjectId = str | sa.BindParameter[str]

UNLIMITED = -1
#: So far below its limit no project can exceed it before a writer notices: the largest bulk request makes 1000
#: objects, and this many are more than 25 of them make at the same moment.
_FAR = 25_000
_quotas, _locks = tables.quotas, tables.quota_locks
#: Projects that were found near a limit: a hint to lock without looking first, which is right whatever it says.
_near: set[str] = set()
_MOST_HINTS = 10_000
#: resource, as in the API -> its objects
TRACKED: Mapping[str, sa.Table] = {
    "network": tables.networks,
    "subnet": tables.subnets,
    "subnetpool": tables.subnetpools,
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

    Near its limit, a project is locked until the commit, so that of two transactions the second counts what the first
    has written. Far from it nobody waits for anybody: see `_FAR`.
    """
    tracked = [resource for resource in resources if resource in TRACKED]
    if not tracked:
        return
    for project_id in sorted(set(project_ids) - {""}):
        if project_id not in _near and _is_far(_room(connection, settings, project_id, tracked)):
            continue
        _lock(connection, project_id)
        room = _room(connection, settings, project_id, tracked)
        _remember(project_id, is_near=not _is_far(room))
        overs = [resource for resource in tracked if room[resource] < 0]
        if overs:
            raise OverQuota(overs=overs)


def _is_far(room: Mapping[str, float]) -> bool:
    return min(room.values()) >= _FAR


def _remember(project_id: str, *, is_near: bool) -> None:
    if len(_near) >= _MOST_HINTS:
        _near.clear()
    if is_near:
        _near.add(project_id)
    else:
        _near.discard(project_id)


@functools.cache
def _room_statement(resources: tuple[str, ...]) -> sa.Select[Any]:
    """`<resource>_used` and `<resource>_most` of the project `project_id`."""
    project_id = sa.bindparam("project_id", type_=sa.String)
    columns: list[sa.Label[Any]] = []
    for resource in resources:
        columns.append(_count(resource, project_id).label(f"{resource}_used"))
        columns.append(_own_limit(resource, project_id).label(f"{resource}_most"))
    return sa.select(*columns)


def _room(connection: Connection, settings: Settings, project_id: str, resources: Sequence[str]) -> dict[str, float]:
    """resource -> how many more the project may have; negative: too many. One statement."""
    found = connection.execute(_room_statement(tuple(resources)), {"project_id": project_id}).mappings().one()
    room = {}
    for resource in resources:
        most = found[f"{resource}_most"]
        most = settings.quotas[resource] if most is None else most
        room[resource] = math.inf if most == UNLIMITED else most - found[f"{resource}_used"]
    return room


def _count(resource: str, project_id: _ProjectId) -> sa.ScalarSelect[int]:
    table = TRACKED[resource]
    return sa.select(sa.func.count()).select_from(table).where(table.c.project_id == project_id).scalar_subquery()


def _own_limit(resource: str, project_id: _ProjectId) -> sa.ScalarSelect[int]:
    return (
        sa.select(_quotas.c.most)
        .where(_quotas.c.project_id == project_id, _quotas.c.resource == resource)
        .scalar_subquery()
    )


#: Made once, as near a limit it is part of every create.
_HOLD = (
    sa.select(_locks.c.project_id)
    .where(_locks.c.project_id == sa.bindparam("project_id", type_=sa.String))
    .with_for_update()
)


def _lock(connection: Connection, project_id: str) -> None:
    if connection.execute(_HOLD, {"project_id": project_id}).first() is None:
        # whoever inserts it at the same moment violates the primary key, and tries again
        connection.execute(_locks.insert().values(project_id=project_id))
