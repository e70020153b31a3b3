"""The schema comes to the newest revision from nothing and from every earlier one, with the rows that are there."""

from __future__ import annotations

import datetime
import uuid

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from haqn.db import schema, tables
from haqn.db.session import Database
from haqn.exceptions import SchemaOutdated

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
SCRIPTS = ScriptDirectory(str(schema.MIGRATIONS))
REVISIONS = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]
#: what a constraint forbids to be filled together with another column
EMPTY = {("bindings", "agent_id")}


def test_there_is_one_newest_revision():
    assert len(SCRIPTS.get_heads()) == 1


def test_a_new_database_gets_exactly_the_tables(new_database):
    url = new_database()
    with pytest.raises(SchemaOutdated, match="haqn-manage"):
        schema.check(url)
    schema.upgrade(url)
    check_complete(url)
    schema.upgrade(url)
    check_complete(url)


def test_every_row_of_every_earlier_revision_is_kept(new_database):
    """Each table has a row as each revision writes it before the next one comes."""
    url, written = new_database(), {}
    for revision in REVISIONS:
        schema.upgrade(url, revision)
        written[revision] = fill(url, revision)
    assert {len(rows) for rows in written.values()} >= {len(tables.metadata.tables)}
    check_complete(url)
    for revision, rows in written.items():
        assert kept(url, rows) == rows, revision


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_earlier_revision_is_brought_up_to_date_at_once(tmp_path, revision):
    url = f"sqlite:///{tmp_path}/haqn.sqlite"
    schema.upgrade(url, revision)
    rows = fill(url, revision)
    schema.upgrade(url)
    check_complete(url)
    assert kept(url, rows) == rows


def fill(url, revision):
    """One row in each table that there is at this revision: table -> column -> value, for today's columns."""
    engine = sa.create_engine(url)
    present = sa.MetaData()
    present.reflect(engine)
    rows = {}
    with engine.begin() as connection:
        for table in present.sorted_tables:
            if table.name not in tables.metadata.tables:
                continue  # Alembic's own
            today = tables.metadata.tables[table.name].c
            # JSON is called otherwise by some databases; the type of a column that is gone is only known to them
            types = {name: today[name].type if name in today else table.c[name].type for name in table.c.keys()}  # noqa: SIM118 columns
            row = {name: value(table, name, kind, revision) for name, kind in types.items()}
            columns = [sa.column(name, kind) for name, kind in types.items()]
            connection.execute(sa.table(table.name, *columns).insert().values(row))
            rows[table.name] = {name: value for name, value in row.items() if name in today}
    engine.dispose()
    return rows


def value(table, name, kind, revision):
    """What fits the column, and is no other revision's; a reference is to the row of the same revision."""
    if (table.name, name) in EMPTY:
        return None
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(kind, sa.Integer):
        return int(revision)
    if isinstance(kind, sa.DateTime):
        return NOW
    if isinstance(kind, sa.JSON):
        return {"of": revision}
    if kind.length == 36:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, revision))
    return f"{revision} {name}"[: kind.length]


def kept(url, rows):
    """The same rows as they are today."""
    engine = sa.create_engine(url)
    found = {}
    with engine.connect() as connection:
        for name, row in rows.items():
            table = tables.metadata.tables[name]
            key = [column == row[column.name] for column in table.primary_key]
            today = connection.execute(sa.select(table).where(*key)).mappings().one()
            found[name] = {column: today[column] for column in row}
    engine.dispose()
    return found


def check_complete(url):
    schema.check(url)
    database = Database(url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    database.close()
