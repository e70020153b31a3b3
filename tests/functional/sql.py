"""The three databases that haqn runs on, for tests that run on each of them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.sql_servers import MariaDB, PostgreSQL

DATABASES = ("sqlite", "postgresql", "mariadb")
SERVERS = {"postgresql": PostgreSQL, "mariadb": MariaDB}


@contextmanager
def database_maker(kind: str, directory: pathlib.Path) -> Iterator[Callable[[], str]]:
    """What gives the URL of a new empty database of `kind`, each time it is called."""
    if kind == "sqlite":
        yield lambda: f"sqlite:///{directory}/{len(list(directory.iterdir()))}.sqlite"
        return
    with SERVERS[kind]() as server:
        yield server.create_database
