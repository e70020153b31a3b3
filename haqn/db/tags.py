"""Tags: words that users put on objects and find them by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection
from haqn.db.store import Condition, Row, Store, select_in
from haqn.exceptions import TagNotFound

_tags = tables.tags


def _load(connection: Connection, rows: Sequence[Row]) -> None:
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row["tags"] = []
    statement = sa.select(_tags.c.object_id, _tags.c.tag).order_by(_tags.c.object_id, _tags.c.tag)
    for child in select_in(connection, statement, _tags.c.object_id, by_id):
        by_id[child["object_id"]]["tags"].append(child["tag"])


#: What a store of tagged rows loads.
CHILDREN: Mapping[str, Callable[[Connection, Sequence[Row]], None]] = {"tags": _load}
#: Filters by tags, which are no attributes. The values of each are lists of words.
FILTERS = ("tags", "tags-any", "not-tags", "not-tags-any")


def conditions(table: sa.Table) -> dict[str, Condition]:
    """The conditions of FILTERS for the rows of `table`."""

    def some(values: Sequence[Any]) -> sa.ColumnElement[bool]:
        return sa.exists().where(_tags.c.object_id == table.c.id, _tags.c.tag.in_(_words(values)))

    def every(values: Sequence[Any]) -> sa.ColumnElement[bool]:
        return sa.and_(*(some([[word]]) for word in sorted(_words(values))))

    return {
        "tags": every,
        "tags-any": some,
        "not-tags": lambda values: sa.not_(every(values)),
        "not-tags-any": lambda values: sa.not_(some(values)),
    }


def _words(values: Sequence[Collection[str]]) -> set[str]:
    return {word for value in values for word in value}


def clear(connection: Connection, object_id: str) -> None:
    """The object is deleted by other ways than its store's."""
    connection.execute(_tags.delete().where(_tags.c.object_id == object_id))


def of(connection: Connection, store: Store, object_id: str) -> list[str]:
    """The object's tags, sorted. Raises the store's `not_found`."""
    row = store.bare(connection, object_id)
    _load(connection, [row])
    found: list[str] = row["tags"]
    return found


def replace(connection: Connection, store: Store, object_id: str, words: Collection[str]) -> None:
    """Let the object have exactly these tags. Raises the store's `not_found`."""
    store.bare(connection, object_id, lock=True)
    connection.execute(_tags.delete().where(_tags.c.object_id == object_id))
    if words:
        connection.execute(_tags.insert(), [{"object_id": object_id, "tag": word} for word in sorted(set(words))])
    store.update(connection, object_id, {})


def add(connection: Connection, store: Store, object_id: str, word: str) -> None:
    """Put one tag on the object; nothing when it is there. Raises the store's `not_found`."""
    store.bare(connection, object_id, lock=True)
    if word not in of(connection, store, object_id):
        connection.execute(_tags.insert().values(object_id=object_id, tag=word))
        store.update(connection, object_id, {})


def remove(connection: Connection, store: Store, object_id: str, word: str) -> None:
    """Take one tag off the object. Raises the store's `not_found`, TagNotFound."""
    store.bare(connection, object_id, lock=True)
    removed = connection.execute(_tags.delete().where(_tags.c.object_id == object_id, _tags.c.tag == word))
    if removed.rowcount == 0:
        raise TagNotFound(tag=word)
    store.update(connection, object_id, {})
