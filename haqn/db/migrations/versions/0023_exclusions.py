"""Routers that an operator took off an agent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exclusions",
        sa.Column("router_id", sa.String(length=36), nullable=False),
        sa.Column("agent_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_exclusions_agent_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["router_id"], ["routers.id"], name=op.f("fk_exclusions_router_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("router_id", "agent_id", name=op.f("pk_exclusions")),
    )
