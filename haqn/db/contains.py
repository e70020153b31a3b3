"""Filters by what is in a JSON column: a list that has a word, or an object with a member of some value.

Knows each database's own way to ask for that; nobody else does. Rows are never read to find out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from haqn.db.store import Condition


class _Has(FunctionElement[bool]):
    """Whether the list in a JSON column has a member that is the word, or has the members of the object, in the list of
    one that is given as JSON. What is no list, and NULL, has none."""

    name = "haqn_has"
    type = sa.Boolean()
    inherit_cache = True


def _has(column: sa.ColumnElement[Any], wanted: object) -> sa.ColumnElement[bool]:
    return _Has(column, sa.literal(json.dumps([wanted], ensure_ascii=False), sa.Text))


def with_words(column: sa.ColumnElement[Any]) -> Condition:
    """Rows whose list in `column` has one of the words."""
    return lambda values: sa.or_(*(_has(column, value) for value in values))


def with_objects(column: sa.ColumnElement[Any]) -> Condition:
    """Rows whose list in `column` has, for each member that is asked for (name, value), an object with one of its
    values."""

    def condition(values: Sequence[tuple[str, Any]]) -> sa.ColumnElement[bool]:
        return sa.and_(*(sa.or_(*(_has(column, {name: each}) for each in some)) for name, some in by_name(values)))

    return condition


def by_name(values: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, list[Any]]]:
    """The values of each name."""
    found: dict[str, list[Any]] = {}
    for name, value in values:
        found.setdefault(name, []).append(value)
    return list(found.items())


@compiles(_Has, "postgresql")
def _postgresql(element: _Has, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
    column, wanted = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(CAST({column} AS JSONB) @> CAST({wanted} AS JSONB))"


@compiles(_Has, "mysql")
@compiles(_Has, "mariadb")
def _mysql(element: _Has, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
    column, wanted = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(COALESCE(JSON_CONTAINS({column}, {wanted}), 0) = 1)"


@compiles(_Has, "sqlite")
def _sqlite(element: _Has, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
    column_clause, wanted_clause = element.clauses

    def process(clause: sa.ColumnElement[Any]) -> str:
        return compiler.process(clause, **options)

    # the words in the order of the text, because variables are counted
    column = process(column_clause)
    is_object = f"json_type({process(wanted_clause)}, '$[0]') = 'object'"
    differs = (
        f"EXISTS (SELECT 1 FROM json_each({process(wanted_clause)}, '$[0]') AS haqn_wanted "  # noqa: S608 variables
        "WHERE json_extract(haqn_has.value, '$.' || haqn_wanted.key) IS NOT haqn_wanted.value)"
    )
    is_word = f"haqn_has.value = json_extract({process(wanted_clause)}, '$[0]')"
    return (
        f"EXISTS (SELECT 1 FROM json_each({column}) AS haqn_has "  # noqa: S608 variables, and a column
        f"WHERE CASE WHEN {is_object} THEN NOT {differs} ELSE {is_word} END)"
    )
