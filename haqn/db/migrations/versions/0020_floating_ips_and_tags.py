"""Floating IPs and tags."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "floatingips",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("description", sa.String(length=255), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("revision_number", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("floating_network_id", sa.String(length=36), nullable=False),
        sa.Column("floating_port_id", sa.String(length=36), nullable=False),
        sa.Column("floating_ip_address", sa.String(length=45), nullable=False),
        sa.Column("port_id", sa.String(length=36), nullable=True),
        sa.Column("fixed_ip_address", sa.String(length=45), nullable=True),
        sa.Column("router_id", sa.String(length=36), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["floating_network_id"], ["networks.id"], name=op.f("fk_floatingips_floating_network_id")
        ),
        sa.ForeignKeyConstraint(["floating_port_id"], ["ports.id"], name=op.f("fk_floatingips_floating_port_id")),
        sa.ForeignKeyConstraint(["port_id"], ["ports.id"], name=op.f("fk_floatingips_port_id")),
        sa.ForeignKeyConstraint(["router_id"], ["routers.id"], name=op.f("fk_floatingips_router_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_floatingips")),
        sa.UniqueConstraint(
            "port_id", "fixed_ip_address", "floating_network_id", name=op.f("uq_floatingips_association")
        ),
    )
    for column in (
        "floating_ip_address",
        "floating_network_id",
        "floating_port_id",
        "name",
        "port_id",
        "project_id",
        "router_id",
    ):
        op.create_index(op.f(f"ix_floatingips_{column}"), "floatingips", [column])

    op.create_table(
        "tags",
        sa.Column("object_id", sa.String(length=36), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("object_id", "tag", name=op.f("pk_tags")),
    )
