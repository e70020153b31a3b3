"""Connections to the SQL database: how a transaction begins, ends, and is tried again.

Knows the differences between SQLite, PostgreSQL and MariaDB/MySQL that matter to a
transaction, and is the only place that retries one. Knows no table.

SQLite runs in WAL mode: readers never wait, and a writer takes the write lock when its
transaction begins (BEGIN IMMEDIATE), because a reader that turns writer half-way is
refused at once instead of waiting. The others write under READ COMMITTED; a read is one
snapshot (REPEATABLE READ) on all of them.

A process that is frozen in the middle of a transaction must not stop all others: the servers end
its transaction. SQLite has no server that could, so there the others wait until it goes on or ends.

A statement may be given a limit of time, which the servers keep; with SQLite, which works in this process, we do.
"""

from __future__ import annotations

import math
import random
import sqlite3
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from haqn.exceptions import DatabaseUnavailable, StatementTooLong, WriteConflict

__all__ = ["Connection", "Database", "create_engine", "translated"]

T = TypeVar("T")

#: Seconds that a writer waits for the lock of another one before it counts as a failed try.
BUSY_TIMEOUT = 10.0
#: Tries of one write. With 16 contenders for the same row one of them wins each time.
ATTEMPTS = 20
#: Seconds after which a write is not tried again.
LONGEST_WRITE = 20.0
#: Seconds after which a server ends a transaction whose process asks for nothing.
IDLE_TIMEOUT = 5
#: Seconds for which a connection that was in use is believed to work.
_TRUSTED = 1.0
_RETURNED_AT = "haqn_returned_at"
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1

# https://www.postgresql.org/docs/current/errcodes-appendix.html:
# serialization_failure, deadlock_detected, lock_not_available, idle_in_transaction_session_timeout
_POSTGRESQL_RETRY = frozenset({"40001", "40P01", "55P03", "25P03"})
# https://mariadb.com/docs/server/reference/error-codes: record has changed since last read,
# lock wait timeout, deadlock
_MYSQL_RETRY = frozenset({1020, 1205, 1213})
# https://www.sqlite.org/rescode.html: SQLITE_BUSY, SQLITE_LOCKED (the low byte of an extended code)
_SQLITE_RETRY = frozenset({5, 6})
# the same lists: query_canceled; max_statement_time exceeded (MySQL's number is another one); SQLITE_INTERRUPT
_POSTGRESQL_TOO_LONG = frozenset({"57014"})
_MYSQL_TOO_LONG = frozenset({1969, 3024})
_SQLITE_TOO_LONG = frozenset({9})
#: steps of SQLite's virtual machine between two looks at the clock: about a millisecond
_SQLITE_STEPS = 100_000


def create_engine(url: str, *, pool_size: int = 5, longest_statement: float | None = None) -> sa.Engine:
    """An engine for `url`, set up as the module says. Does not connect; make one per process (after fork).

    `longest_statement`: seconds that one may take; default: as long as it likes.
    """
    backend = sa.make_url(url).get_backend_name()
    json = {"json_serializer": _to_json, "json_deserializer": msgspec.json.decode}
    if backend == "sqlite":
        busy = {"timeout": BUSY_TIMEOUT}
        engine = sa.create_engine(url, pool_size=pool_size, max_overflow=20, connect_args=busy, **json)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        if longest_statement is not None:
            _limit_sqlite(engine, longest_statement)
        return engine
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=20,
        pool_recycle=3600,
        # a server that was restarted costs a new connection instead of a failed request
        pool_pre_ping=backend != "postgresql",
        isolation_level="READ COMMITTED",
        **json,
    )
    if backend == "postgresql":
        _ask_rested(engine)
    event.listen(engine, "connect", _prepare_postgresql if backend == "postgresql" else _prepare_mysql)
    if longest_statement is not None:
        limit = _limit_postgresql if backend == "postgresql" else _limit_mysql
        event.listen(engine, "connect", lambda connection, _: limit(connection, longest_statement))
    return engine


def _ask_rested(engine: sa.Engine) -> None:
    """What `pool_pre_ping` does, but not before each transaction, where it takes as long as a statement of it.

    Not for MySQL: there SQLAlchemy sets the isolation level by a statement of its own, and lets its errors pass as
    they are.
    """

    def returned(_dbapi_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info[_RETURNED_AT] = time.monotonic()

    def taken(dbapi_connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if time.monotonic() - record.info.get(_RETURNED_AT, math.inf) < _TRUSTED:
            return
        try:
            engine.dialect.do_ping(dbapi_connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # the pool makes new connections for all that are older
            raise exc.InvalidatePoolError from error

    event.listen(engine, "checkin", returned)
    event.listen(engine, "checkout", taken)


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _prepare_sqlite(dbapi_connection: DBAPIConnection, _record: object) -> None:
    # the driver must not begin transactions by itself: _begin_sqlite does
    dbapi_connection.isolation_level = None
    _execute(dbapi_connection, "PRAGMA journal_mode = WAL", "PRAGMA foreign_keys = ON")


def _prepare_postgresql(dbapi_connection: DBAPIConnection, _record: object) -> None:
    # https://www.postgresql.org/docs/current/runtime-config-client.html
    idle = f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s'"
    _execute(dbapi_connection, idle, f"SET lock_timeout = '{BUSY_TIMEOUT:g}s'")
    dbapi_connection.commit()


def _limit_postgresql(dbapi_connection: DBAPIConnection, seconds: float) -> None:
    _execute(dbapi_connection, f"SET statement_timeout = {round(seconds * 1000)}")
    dbapi_connection.commit()


def _prepare_mysql(dbapi_connection: DBAPIConnection, _record: object) -> None:
    # https://mariadb.com/docs/server/reference/system-variables; MySQL knows no idle_transaction_timeout
    if _execute(dbapi_connection, "SHOW VARIABLES LIKE 'idle_transaction_timeout'"):
        _execute(dbapi_connection, f"SET SESSION idle_transaction_timeout = {IDLE_TIMEOUT}")
    # a text that we send is compared as the columns are: what differs in case is different
    collation = "SET SESSION collation_connection = utf8mb4_bin"
    _execute(dbapi_connection, collation, f"SET SESSION innodb_lock_wait_timeout = {BUSY_TIMEOUT:.0f}")


def _limit_mysql(dbapi_connection: DBAPIConnection, seconds: float) -> None:
    if _execute(dbapi_connection, "SHOW VARIABLES LIKE 'max_statement_time'"):
        _execute(dbapi_connection, f"SET SESSION max_statement_time = {seconds}")
    else:  # MySQL: milliseconds, and of SELECT alone
        _execute(dbapi_connection, f"SET SESSION max_execution_time = {round(seconds * 1000)}")


def _execute(dbapi_connection: DBAPIConnection, *statements: str) -> int:
    """Carry them out; how many rows the last one found."""
    cursor = dbapi_connection.cursor()
    try:
        for statement in statements:
            cursor.execute(statement)
        return cursor.rowcount
    finally:
        cursor.close()


def _limit_sqlite(engine: sa.Engine, seconds: float) -> None:
    """SQLite asks whether to go on; rows are read by steps of the same statement."""

    def connected(dbapi_connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        def is_over() -> bool:
            deadline: float = record.info.get("haqn_deadline", math.inf)
            return time.monotonic() > deadline

        dbapi_connection.set_progress_handler(is_over, _SQLITE_STEPS)

    def executed(connection: Connection, *_: object) -> None:
        connection.info["haqn_deadline"] = time.monotonic() + seconds

    event.listen(engine, "connect", connected)
    event.listen(engine, "before_cursor_execute", executed)


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("haqn_read", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class Database:
    """The database of one process. Thread-safe; not to be carried over a fork once used."""

    def __init__(self, url: str, *, pool_size: int = 5, longest_statement: float | None = None) -> None:
        """`longest_statement`: seconds after which a statement is ended (StatementTooLong); default: never."""
        self.engine = create_engine(url, pool_size=pool_size, longest_statement=longest_statement)
        options: dict[str, Any] = {"haqn_read": True}
        if self.engine.dialect.name != "sqlite":
            options["isolation_level"] = "REPEATABLE READ"
        self._reader = self.engine.execution_options(**options)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot; nothing may be written. Raises DatabaseUnavailable."""
        with translated(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One try of a write: committed at the end, rolled back when the block raises.

        Raises WriteConflict when another writer was in the way (`write` tries again by itself),
        and DatabaseUnavailable.
        """
        with translated(), self.engine.begin() as connection:
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction, again and again while another writer is in its way.

        `work` must have no other effect than what it does to the connection. A violated constraint is tried again,
        too: `work` checks before it writes, so a violation means that somebody committed in between,
        which the check of the next try sees. Raises WriteConflict after ATTEMPTS tries or LONGEST_WRITE seconds,
        DatabaseUnavailable.
        """
        pause, last = _FIRST_PAUSE, time.monotonic() + LONGEST_WRITE
        for _ in range(ATTEMPTS - 1):
            try:
                with self.transaction() as connection:
                    return work(connection)
            except WriteConflict:
                if time.monotonic() > last:
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 jitter, not a secret
                pause = min(pause * 2, _LONGEST_PAUSE)
        with self.transaction() as connection:
            return work(connection)

    def close(self) -> None:
        """Close the pooled connections; the object can still be used."""
        self.engine.dispose()


@contextmanager
def translated() -> Iterator[None]:
    """Make haqn's errors of the database's: WriteConflict, DatabaseUnavailable; bugs pass as they are."""
    try:
        yield
    except exc.IntegrityError as error:
        raise WriteConflict(f"cannot write, a constraint does not hold: {error.orig}") from error
    except exc.DBAPIError as error:
        if _is_one_of(error, _SQLITE_RETRY, _POSTGRESQL_RETRY, _MYSQL_RETRY):
            raise WriteConflict(f"cannot write, another writer was in the way: {error.orig}") from error
        if _is_one_of(error, _SQLITE_TOO_LONG, _POSTGRESQL_TOO_LONG, _MYSQL_TOO_LONG):
            raise StatementTooLong(f"cannot wait longer for the database: {error.orig}") from error
        if isinstance(error, exc.OperationalError | exc.InterfaceError):
            raise DatabaseUnavailable(f"cannot use the database: {error.orig}") from error
        raise
    except exc.TimeoutError as error:
        raise DatabaseUnavailable(f"cannot get a connection to the database: {error}") from error


def _is_one_of(
    error: exc.DBAPIError, sqlite: Container[int], postgresql: Container[object], mysql: Container[int]
) -> bool:
    """Whether the database's own code of the error is in its list."""
    original = error.orig
    sqlite_code = getattr(original, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return sqlite_code & 0xFF in sqlite
    # pymysql's errors have a sqlstate, too, which says less
    arguments: Sequence[object] = getattr(original, "args", ())
    if arguments and isinstance(arguments[0], int):
        return arguments[0] in mysql
    return getattr(original, "sqlstate", None) in postgresql
