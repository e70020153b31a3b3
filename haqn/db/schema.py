"""The version of the database's schema: bring it up to date, or say that it is not.

Knows Alembic. The revisions are in `migrations/versions`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from haqn.db.session import create_engine, translated
from haqn.exceptions import SchemaOutdated

MIGRATIONS = Path(__file__).parent / "migrations"


#: Tables that are not haqn's own: extensions'.
Tables = sa.MetaData


def create_tables(url: str, tables: Tables) -> None:
    """Make those of an extension's tables that are missing. Raises DatabaseUnavailable."""
    engine = create_engine(url)
    try:
        with translated(), engine.begin() as connection:
            tables.create_all(connection)
    finally:
        engine.dispose()


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema of the database at `url` to `revision`, creating what is missing. Safe to repeat.

    Raises DatabaseUnavailable.
    """
    engine = create_engine(url)
    try:
        with translated(), engine.begin() as connection:
            command.upgrade(_config(connection), revision)
    finally:
        engine.dispose()


def check(url: str) -> None:
    """Raises SchemaOutdated, which says what to do, unless the schema is at the newest revision or beyond it.

    Migrations only add what the version before can do without (expand), and take away what it no longer uses
    (contract), so a neighbouring version works on the schema of the next one while an upgrade goes on.
    Raises DatabaseUnavailable.
    """
    engine = create_engine(url)
    try:
        with translated(), engine.connect() as connection:
            check_connection(connection)
    finally:
        engine.dispose()


def check_connection(connection: sa.Connection) -> None:
    """The same as `check`, over a connection that is there."""
    present = MigrationContext.configure(connection).get_current_revision()
    wanted = _newest_revision()
    if present != wanted and not _is_beyond(present, wanted):
        raise SchemaOutdated(
            f"the database's schema is at revision {present}, this version of haqn needs {wanted}: "
            "run `haqn-manage db upgrade`"
        )


def _is_beyond(present: str | None, wanted: str | None) -> bool:
    """Revisions are numbers that grow; one that this version does not have is of a later version."""
    return present is not None and wanted is not None and present.isdecimal() and int(present) > int(wanted)


@functools.cache
def _newest_revision() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
