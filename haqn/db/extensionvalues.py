"""What the attributes that extensions add are set to: one row for an object and an attribute, of any resource."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.db.store import Condition, Loader, Row, Store, select_in

_values = tables.extension_values


def with_fields(store: Store, names: Sequence[str]) -> Store:
    """The store with fields `names` (None: never set), which lists can be filtered by."""
    return dataclasses.replace(
        store,
        children={**store.children, **{name: _loader(name) for name in names}},
        conditions={**store.conditions, **{name: _condition(store.table, name) for name in names}},
    )


def write(connection: Connection, object_id: str, values: Mapping[str, Any]) -> None:
    """Set the object's fields."""
    if not values:
        return
    connection.execute(_values.delete().where(_values.c.object_id == object_id, _values.c.name.in_(values)))
    rows = [{"object_id": object_id, "name": name, "value": _text(value)} for name, value in values.items()]
    connection.execute(_values.insert(), rows)


def clear(connection: Connection, object_id: str) -> None:
    """The object is deleted."""
    connection.execute(_values.delete().where(_values.c.object_id == object_id))


def _loader(name: str) -> Loader:
    def load(connection: Connection, rows: Sequence[Row]) -> None:
        by_id = {row["id"]: row for row in rows}
        for row in rows:
            row[name] = None
        statement = sa.select(_values.c.object_id, _values.c.value).where(_values.c.name == name)
        for child in select_in(connection, statement, _values.c.object_id, by_id):
            by_id[child["object_id"]][name] = json.loads(child["value"])

    return load


def _condition(table: sa.Table, name: str) -> Condition:
    def condition(values: Sequence[Any]) -> sa.ColumnElement[bool]:
        texts = [_text(value) for value in values]
        return sa.exists().where(_values.c.object_id == table.c.id, _values.c.name == name, _values.c.value.in_(texts))

    return condition


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
