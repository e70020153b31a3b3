"""Rows of one kind of resource: list by query, show, and writes that carry their revision and outbox line.

Knows how a query becomes one SELECT (and one more for each kind of child rows, however long the page), on every
database. Knows no resource's rules: those are in `networks`, `subnets`, `ports`, `routers` and `agents`.
"""

from __future__ import annotations

import functools
import itertools
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from haqn.db import access, outbox, tables
from haqn.db.clock import utcnow
from haqn.db.session import Connection
from haqn.exceptions import NotFound, RevisionNumberConstraintFailed

#: A row by column name; child rows and computed values under names of their own.
Row = dict[str, Any]
#: Adds its field to each of the rows.
Loader = Callable[[Connection, Sequence[Row]], None]
#: Makes a condition of the values of a filter.
Condition = Callable[[Sequence[Any]], sa.ColumnElement[bool]]

#: The filter of lists by the time of the last change.
CHANGED_SINCE = "changed_since"
#: The filter that no row meets, whatever its values.
NEVER = "never"
#: SQLite takes 32766 variables in a statement, PostgreSQL 65535.
_CHUNK = 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a list is asked for. Names are fields of the store."""

    #: field -> values: any of the values, all of the fields
    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    #: (field, descending); the id comes last by itself
    sort: Sequence[tuple[str, bool]] = ()
    limit: int | None = None
    #: id of the last row of the page before
    marker: str | None = None
    #: the page before the marker instead of the one after it
    reverse: bool = False
    #: fields that are to be loaded; None: all
    wanted: frozenset[str] | None = None
    #: the project that asks: only what it may see; None: an admin
    viewer: str | None = None


@dataclass(frozen=True, kw_only=True)
class Store:
    """The rows of `table`. `kind` is the resource's name in the outbox."""

    kind: str
    table: sa.Table
    not_found: type[NotFound]
    #: field -> what loads it, for many rows in one statement
    children: Mapping[str, Loader] = field(default_factory=dict)
    #: field -> condition, for filters on what is no column
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    #: field -> what SQL computes it from; never NULL
    computed: Mapping[str, sa.ColumnElement[Any]] = field(default_factory=dict)

    def sortable(self, name: str) -> bool:
        """Whether lists can be sorted by the field; databases do not compare JSON."""
        if name in self.computed:
            return True
        return name in self.table.c and not isinstance(self.table.c[name].type, sa.JSON)

    def filterable(self, name: str) -> bool:
        return (
            self.sortable(name) or name in self.conditions or (name == CHANGED_SINCE and "updated_at" in self.table.c)
        )

    def list(self, connection: Connection, query: Query) -> list[Row]:
        """The rows that `query` asks for, in its order. Raises `not_found` for an unknown marker."""
        order = [*((self._comparable(name), down) for name, down in query.sort), (self.table.c.id, False)]
        statement = self._select()
        if query.viewer is not None:
            statement = statement.where(access.visible(self.table, query.viewer))
        for name, values in query.filters.items():
            statement = statement.where(self._condition(name, values))
        if query.marker is not None:
            statement = statement.where(self._after(connection, query, query.marker, order))
        statement = statement.order_by(*(_ordered(column, down != query.reverse) for column, down in order))
        if query.limit is not None:
            statement = statement.limit(query.limit)
        result = connection.execute(statement)
        # twice as fast as `mappings`: there may be thousands
        names = tuple(result.keys())
        rows = [dict(zip(names, row, strict=True)) for row in result.all()]
        if query.reverse:
            rows.reverse()
        self._load_children(connection, rows, query.wanted)
        return rows

    def get(self, connection: Connection, object_id: str, wanted: frozenset[str] | None = None) -> Row:
        """One row with its children. Raises `not_found`."""
        row = self.bare(connection, object_id)
        self._load_children(connection, [row], wanted)
        return row

    def bare(self, connection: Connection, object_id: str, *, lock: bool = False, share: bool = False) -> Row:
        """One row without children, locked until the transaction ends if asked: for nobody else to change (`share`),
        or to lock either (`lock`). Raises `not_found`."""
        statement = self._select().where(self.table.c.id == object_id)
        if lock or share:
            statement = statement.with_for_update(read=not lock)
        row = connection.execute(statement).mappings().first()
        if row is None:
            raise self.missing(object_id)
        return dict(row)

    def missing(self, object_id: str) -> NotFound:
        return self.not_found(**{f"{self.kind}_id": object_id})

    def check_revision(self, connection: Connection, object_id: str, expected: int | None) -> None:
        """The row, locked, must be at the revision `expected` (None: any).

        Raises `not_found`, RevisionNumberConstraintFailed.
        """
        if expected is None:
            return
        current = self.bare(connection, object_id, lock=True).get("revision_number")
        if current != expected:
            raise RevisionNumberConstraintFailed(expected=expected, current=current)

    def insert(self, connection: Connection, values: Mapping[str, Any]) -> Row:
        """Insert a row with an id (unless given), its times and revision, and its outbox line."""
        now = utcnow()
        row: Row = {
            "id": str(uuid.uuid4()),
            "created_at": now,
            "updated_at": now,
            "revision_number": 1,
            **values,
        }
        connection.execute(self._insert, row)
        outbox.record(connection, self.kind, row["id"])
        return {**row, "tags": []} if "tags" in self.children else row

    def update(self, connection: Connection, object_id: str, changes: Mapping[str, Any]) -> None:
        """Write `changes` (may be none: the object changed elsewhere), one revision on, and the outbox line."""
        values = dict(changes)
        if "revision_number" in self.table.c:
            values |= {"revision_number": self.table.c.revision_number + 1, "updated_at": utcnow()}
        connection.execute(self.table.update().where(self.table.c.id == object_id).values(values))
        outbox.record(connection, self.kind, object_id)

    def delete(self, connection: Connection, object_id: str) -> None:
        """Delete the row and record it. Raises `not_found` when it is gone already."""
        result = connection.execute(self.table.delete().where(self.table.c.id == object_id))
        if result.rowcount == 0:
            raise self.missing(object_id)
        if "tags" in self.children:
            connection.execute(tables.tags.delete().where(tables.tags.c.object_id == object_id))
        outbox.record(connection, self.kind, object_id)

    @functools.cached_property
    def _insert(self) -> sa.Insert:
        return self.table.insert()

    def _select(self) -> sa.Select[Any]:
        return sa.select(self.table, *(expression.label(name) for name, expression in self.computed.items()))

    def _condition(self, name: str, values: Sequence[Any]) -> sa.ColumnElement[bool]:
        if name in self.conditions:
            return self.conditions[name](values)
        if name == NEVER:
            return sa.false()
        if name == CHANGED_SINCE:
            return sa.and_(self.table.c.updated_at >= max(values))
        column = self.computed[name] if name in self.computed else self.table.c[name]
        given = [value for value in values if value is not None]
        condition = column == given[0] if len(given) == 1 else column.in_(given)
        return condition if len(given) == len(values) else sa.or_(condition, column.is_(None))

    def _comparable(self, name: str) -> sa.ColumnElement[Any]:
        if name in self.computed:
            return self.computed[name]
        column = self.table.c[name]
        # what a subquery computes has no word on that, and must never be NULL
        if not getattr(column, "nullable", False):
            return column
        # databases disagree on where NULL sorts, and a marker cannot be compared with it
        return sa.func.coalesce(column, -1 if isinstance(column.type, sa.Integer) else "")

    def _after(
        self,
        connection: Connection,
        query: Query,
        marker: str,
        order: Sequence[tuple[sa.ColumnElement[Any], bool]],
    ) -> sa.ColumnElement[bool]:
        """The condition that a row comes after (before, for the page before) the row whose id is `marker`."""
        columns = [column.label(f"c{n}") for n, (column, _) in enumerate(order)]
        statement = sa.select(*columns).where(self.table.c.id == marker)
        if query.viewer is not None:
            statement = statement.where(access.visible(self.table, query.viewer))
        values = connection.execute(statement).first()
        if values is None:
            raise self.missing(marker)
        alternatives = []
        equal: list[sa.ColumnElement[bool]] = []
        for (column, down), value in zip(order, values, strict=True):
            beyond = column < value if down != query.reverse else column > value
            alternatives.append(sa.and_(*equal, beyond))
            equal.append(column == value)
        return sa.or_(*alternatives)

    def _load_children(self, connection: Connection, rows: Sequence[Row], wanted: frozenset[str] | None) -> None:
        if not rows:
            return
        for name, load in self.children.items():
            if wanted is None or name in wanted:
                load(connection, rows)


def _ordered(column: sa.ColumnElement[Any], down: bool) -> sa.ColumnElement[Any]:
    return column.desc() if down else column.asc()


def select_in(
    connection: Connection, statement: sa.Select[Any], column: sa.ColumnElement[str], values: Iterable[str]
) -> Iterable[sa.RowMapping]:
    """The rows of `statement` whose `column` is among `values` (ids: without commas): one statement, or one for each
    10,000 values."""
    iterator = iter(values)
    is_postgresql = connection.dialect.name == "postgresql"
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        # one array is quicker to plan than thousands of variables, and one text quicker to send than an array
        array = sa.func.string_to_array(",".join(chunk), ",", type_=ARRAY(sa.String))
        among = column == sa.any_(array) if is_postgresql else column.in_(chunk)
        yield from connection.execute(statement.where(among)).mappings()
