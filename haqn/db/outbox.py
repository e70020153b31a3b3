"""The outbox: one line in the transaction of each change of desired state, so that the leader learns of it.

A line is a hint of what changed; the leader reads the rows themselves.
"""

from __future__ import annotations

from haqn.db import tables
from haqn.db.clock import utcnow
from haqn.db.session import Connection

_LAST = "haqn_outbox_id"
#: made once, as it is part of every write
_INSERT = tables.outbox.insert()


def record(connection: Connection, kind: str, object_id: str) -> int:
    """Say that the `kind` (router, port, agent, pair, operation, ...) called `object_id` changed; the line's number."""
    result = connection.execute(_INSERT, {"kind": kind, "object_id": object_id, "created_at": utcnow()})
    key = result.inserted_primary_key
    line: int = key[0] if key else 0
    connection.info[_LAST] = line
    return line


def last_recorded(connection: Connection) -> int:
    """The number of the line that was recorded last on this connection; 0: none yet."""
    line: int = connection.info.get(_LAST, 0)
    return line
