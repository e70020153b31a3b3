"""A database whose rows are gone, so that the next test finds it as the first one did.

Quicker than a new database, for which SQLAlchemy would compile every statement again, too.
"""

from __future__ import annotations

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Connection, Database

_TABLES = tables.metadata.tables
_FILLED = sa.union_all(
    *(
        sa.select(sa.literal(name)).where(sa.exists(sa.select(sa.literal(1)).select_from(_TABLES[name])))
        for name in _TABLES
    )
)
#: dialect -> what lets rows be deleted in any order, and what ends that; SQLite's ends with the transaction
_ANY_ORDER = {
    "sqlite": ("PRAGMA defer_foreign_keys = ON", ""),
    "postgresql": ("SET session_replication_role = replica", "SET session_replication_role = origin"),
    "mysql": ("SET FOREIGN_KEY_CHECKS = 0", "SET FOREIGN_KEY_CHECKS = 1"),
}


def empty(database: Database) -> None:
    """Delete all rows."""
    begin, end = _ANY_ORDER[database.engine.dialect.name]

    def work(connection: Connection) -> None:
        filled = connection.scalars(_FILLED).all()
        if not filled:
            return
        connection.exec_driver_sql(begin)
        for name in filled:
            connection.execute(_TABLES[name].delete())
        if end:
            connection.exec_driver_sql(end)

    database.write(work)
