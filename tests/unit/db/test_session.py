"""Transactions on SQLite: nothing half-written, readers see one snapshot, writers wait for each other."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import OperationalError

from haqn.db import schema, tables
from haqn.db.session import Database
from haqn.exceptions import DatabaseUnavailable, SchemaOutdated, WriteConflict

sequences = tables.sequences


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/haqn.sqlite"
    schema.upgrade(url)
    return url


@pytest.fixture
def database(url):
    database = Database(url)
    yield database
    database.close()


def value(connection, name="a"):
    return connection.scalar(sa.select(sequences.c.next_value).where(sequences.c.name == name))


def insert(connection, name="a", next_value=1):
    connection.execute(sequences.insert().values(name=name, next_value=next_value))


def test_an_error_leaves_nothing_behind(database):
    def fail(connection):
        insert(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(fail)
    with database.read() as connection:
        assert value(connection) is None


def test_a_reader_sees_one_snapshot_and_does_not_wait_for_a_writer(database):
    with database.transaction() as connection:
        insert(connection)
    with database.read() as reader:
        assert value(reader) == 1
        with database.transaction() as writer:
            writer.execute(sequences.update().values(next_value=2))
        assert value(reader) == 1
    with database.read() as reader:
        assert value(reader) == 2


def test_writers_do_not_lose_each_others_updates(database):
    with database.transaction() as connection:
        insert(connection, next_value=0)

    def add_one(connection):
        seen = value(connection)
        connection.execute(sequences.update().values(next_value=seen + 1))

    def work():
        for _ in range(25):
            database.write(add_one)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert value(connection) == 100


def test_a_write_whose_check_was_overtaken_is_tried_again_from_the_start(database):
    tries = []

    def create(connection):
        tries.append(value(connection))
        insert(connection)
        if len(tries) == 1:
            insert(connection)  # as if another writer had committed the same name after the check

    database.write(create)
    assert tries == [None, None]
    with database.read() as connection:
        assert value(connection) == 1


def test_a_constraint_that_never_holds_is_a_conflict(database):
    def twice(connection):
        insert(connection)
        insert(connection)

    with pytest.raises(WriteConflict, match="constraint"):
        database.write(twice)


def test_foreign_keys_are_enforced(database):
    with pytest.raises(WriteConflict), database.transaction() as connection:
        connection.execute(
            tables.allocation_pools.insert().values(subnet_id="no-such", first_ip="10.0.0.1", last_ip="10.0.0.2")
        )


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/no/such/directory/haqn.sqlite")
    with pytest.raises(DatabaseUnavailable), database.read() as connection:
        value(connection)


def test_the_migrations_make_exactly_the_tables(url):
    database = Database(url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    database.close()


def test_an_empty_database_is_outdated_and_an_upgraded_one_is_not(tmp_path, url):
    schema.upgrade(url)
    schema.check(url)
    with pytest.raises(SchemaOutdated, match="haqn-manage"):
        schema.check(f"sqlite:///{tmp_path}/empty.sqlite")


def test_a_schema_that_cannot_be_read_is_unavailable(tmp_path):
    with pytest.raises(DatabaseUnavailable):
        schema.check(f"sqlite:///{tmp_path}/no/such/directory/haqn.sqlite")


def test_the_upgrade_is_atomic(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/half.sqlite"
    real = op.create_table
    made = []

    def fail_at_the_third(*args, **kwargs):
        made.append(args)
        if len(made) == 3:
            raise OperationalError("create table", {}, Exception("disk full"))
        return real(*args, **kwargs)

    monkeypatch.setattr(op, "create_table", fail_at_the_third)
    with pytest.raises(DatabaseUnavailable, match="disk full"):
        schema.upgrade(url)
    monkeypatch.undo()
    schema.upgrade(url)
    schema.check(url)
