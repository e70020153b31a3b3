"""What `Database.write` promises, with real locks: deadlocks and lost races are tried again, in that one place."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import threading

import pytest
import sqlalchemy as sa

from haqn.db import schema, session, tables
from haqn.db.session import Database
from haqn.exceptions import DatabaseUnavailable, WriteConflict
from tests.functional.sql import SERVERS

sequences = tables.sequences


@pytest.fixture(scope="module")
def url(new_database):
    url = new_database()
    schema.upgrade(url)
    return url


@pytest.fixture
def database(url):
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(sequences.delete())
        connection.execute(sequences.insert(), [{"name": "a", "next_value": 0}, {"name": "b", "next_value": 0}])
    yield database
    database.close()


def values(database):
    with database.read() as connection:
        return {row.name: row.next_value for row in connection.execute(sa.select(sequences))}


def add_one(connection, name):
    connection.execute(sequences.update().where(sequences.c.name == name).values(next_value=sequences.c.next_value + 1))


def test_two_writers_that_wait_for_each_other_both_succeed(database):
    """A deadlock by construction: each holds one row and asks for the other's."""
    first_held = threading.Barrier(2)
    tries = []

    def work(connection, mine, others):
        tries.append(mine)
        add_one(connection, mine)
        if tries.count(mine) == 1 and database.engine.dialect.name != "sqlite":  # there, a writer waits at its start
            first_held.wait(20)
        add_one(connection, others)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(database.write, lambda connection: work(connection, "a", "b")),
            pool.submit(database.write, lambda connection: work(connection, "b", "a")),
        ]
        for future in futures:
            future.result(60)
    assert values(database) == {"a": 2, "b": 2}
    assert len(tries) >= (2 if database.engine.dialect.name == "sqlite" else 3)


def test_a_writer_that_is_frozen_in_its_transaction_does_not_stop_the_others(url, database, monkeypatch):
    """The server ends its transaction. Where there is none, in SQLite, the others are told after a while."""
    for name, seconds in (("IDLE_TIMEOUT", 1), ("BUSY_TIMEOUT", 2.0), ("LONGEST_WRITE", 3.0)):
        monkeypatch.setattr(session, name, seconds)
    frozen, other = Database(url), Database(url)
    server = frozen.engine.dialect.name != "sqlite"
    with contextlib.ExitStack() as outcome:
        if server:
            outcome.enter_context(pytest.raises((DatabaseUnavailable, WriteConflict)))
        with frozen.transaction() as connection:
            add_one(connection, "a")
            with contextlib.nullcontext() if server else pytest.raises(WriteConflict):
                other.write(lambda connection: add_one(connection, "a"))
            assert values(database)["a"] == (1 if server else 0)
    assert values(database)["a"] == 1
    frozen.write(lambda connection: add_one(connection, "a"))
    assert values(database)["a"] == 2
    for used in (frozen, other):
        used.close()


def test_who_has_waited_too_long_for_a_lock_tries_again(url, database, monkeypatch):
    monkeypatch.setattr(session, "BUSY_TIMEOUT", 1.0)
    waiting, tries, asked = Database(url), [], threading.Event()

    def work(connection):
        tries.append(1)
        add_one(connection, "a")

    sa.event.listen(waiting.engine, "handle_error", lambda _context: asked.set())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            add_one(connection, "a")
            future = pool.submit(waiting.write, work)
            while not asked.wait(0.5):  # the server ends a transaction whose process asks for nothing
                connection.execute(sa.select(sequences)).all()
        future.result(60)
    waiting.close()
    assert values(database)["a"] == 2
    assert len(tries) >= (1 if database.engine.dialect.name == "sqlite" else 2)  # there, a writer waits at its start


def test_a_serialization_failure_is_tried_again(database):
    """A writer whose snapshot is older than the row that it updates: PostgreSQL refuses it, the others let it wait."""
    tries = []

    def work(connection):
        tries.append(1)
        if database.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        connection.execute(sa.select(sequences)).all()
        if len(tries) == 1 and database.engine.dialect.name == "postgresql":
            database.write(lambda other: add_one(other, "a"))
        add_one(connection, "a")

    database.write(work)
    assert values(database)["a"] == len(tries) == (2 if database.engine.dialect.name == "postgresql" else 1)


def test_a_violated_constraint_is_a_conflict(database):
    def insert(connection):
        connection.execute(sequences.insert().values(name="a", next_value=1))

    with pytest.raises(WriteConflict, match="constraint"), database.transaction() as connection:
        insert(connection)
    with pytest.raises(WriteConflict), database.transaction() as connection:
        connection.execute(tables.allocation_pools.insert().values(subnet_id="no", first_ip="10.0.0.1", last_ip="x"))


def test_a_reader_sees_one_snapshot_and_waits_for_nobody(database):
    with database.read() as reader:
        before = reader.execute(sa.select(sequences.c.next_value)).all()
        with database.transaction() as connection:
            add_one(connection, "a")
            assert reader.execute(sa.select(sequences.c.next_value)).all() == before
        assert reader.execute(sa.select(sequences.c.next_value)).all() == before
    assert values(database)["a"] == 1


# the MariaDB driver forgets to close the socket of a connection that was refused
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_was_killed_is_unavailable_and_is_used_again_when_it_is_back(kind, monkeypatch):
    with SERVERS[kind](durable=True) as server:
        url = server.create_database()
        schema.upgrade(url)
        database = Database(url)
        insert = sequences.insert().values(name="kept", next_value=1)
        database.write(lambda connection: connection.execute(insert))
        server.kill()
        with pytest.raises(DatabaseUnavailable):
            values(database)
        with pytest.raises(DatabaseUnavailable):
            database.write(lambda connection: add_one(connection, "kept"))
        server.start()
        assert values(database) == {"kept": 1}
        database.write(lambda connection: add_one(connection, "kept"))
        assert values(database) == {"kept": 2}
        # a connection that has rested is asked before it is used
        monkeypatch.setattr(session, "_TRUSTED", 0.0)
        server.kill()
        server.start()
        assert values(database) == {"kept": 2}
        database.close()
    gc.collect()  # the forgotten sockets must not be found in another test
