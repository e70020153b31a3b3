"""What Alembic runs around the revisions; `haqn.db.schema` gives it the connection."""

from __future__ import annotations

from alembic import context

from haqn.db.tables import metadata

connection = context.config.attributes["connection"]
# SQLite cannot alter most things in place: batch mode copies the table
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
