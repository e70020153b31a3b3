"""Whether ports are to be secured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("networks", "ports"):
        column: sa.Column[bool] = sa.Column(
            "port_security_enabled", sa.Boolean(), server_default=sa.true(), nullable=False
        )
        op.add_column(table, column)
