"""Operations, the failover ledger, redundancy of routers, and what the leader says of itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "brake_release",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("agents", sa.JSON(), nullable=False),
        sa.Column("released_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_brake_release")),
    )
    op.create_table(
        "events",
        sa.Column("number", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("pair_id", sa.BigInteger()),
        sa.Column("from_agent_id", sa.String(length=36)),
        sa.Column("to_agent_id", sa.String(length=36)),
        sa.Column("pair_epoch", sa.BigInteger()),
        sa.Column("leader_epoch", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime()),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("outage_ms", sa.BigInteger()),
        sa.Column("routers", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_ended_at"), "events", ["ended_at"])
    op.create_index(op.f("ix_events_pair_id"), "events", ["pair_id"])
    op.create_index(op.f("ix_events_started_at"), "events", ["started_at"])
    op.create_table(
        "monitor_status",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("frozen", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_monitor_status")),
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("agent_id", sa.String(length=36)),
        sa.Column("pair_id", sa.BigInteger()),
        sa.Column("router_id", sa.String(length=36)),
        sa.Column("open_key", sa.String(length=96)),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("carried_out", sa.JSON(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("waiting_for", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.UniqueConstraint("open_key", name=op.f("uq_operations_open_key")),
    )
    op.create_index(op.f("ix_operations_state"), "operations", ["state"])
    op.create_table(
        "event_routers",
        sa.Column("event_number", BIG_ID, nullable=False),
        sa.Column("router_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_number"], ["events.number"], name=op.f("fk_event_routers_event_number"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("event_number", "router_id", name=op.f("pk_event_routers")),
    )
    op.create_index(op.f("ix_event_routers_project_id"), "event_routers", ["project_id"])
    op.create_index(op.f("ix_event_routers_router_id"), "event_routers", ["router_id"])
    op.create_table(
        "pair_masters",
        sa.Column("pair_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("agent_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_pair_masters_pair_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_pair_masters")),
    )
    op.create_table(
        "redundancies",
        sa.Column("router_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("last_agent_id", sa.String(length=36)),
        sa.ForeignKeyConstraint(
            ["router_id"], ["routers.id"], name=op.f("fk_redundancies_router_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("router_id", name=op.f("pk_redundancies")),
    )
    op.create_index(op.f("ix_redundancies_last_agent_id"), "redundancies", ["last_agent_id"])
    op.create_index(op.f("ix_redundancies_state"), "redundancies", ["state"])
