"""Subnet pools, and the DHCP options of ports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subnetpools",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("description", sa.String(length=255), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("revision_number", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("ip_version", sa.Integer(), nullable=False),
        sa.Column("prefixes", sa.JSON(), nullable=False),
        sa.Column("default_prefixlen", sa.Integer(), nullable=False),
        sa.Column("min_prefixlen", sa.Integer(), nullable=False),
        sa.Column("max_prefixlen", sa.Integer(), nullable=False),
        sa.Column("default_quota", sa.BigInteger(), nullable=True),
        sa.Column("default_of", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subnetpools")),
        sa.UniqueConstraint("default_of", name=op.f("uq_subnetpools_default_of")),
    )
    op.create_index(op.f("ix_subnetpools_name"), "subnetpools", ["name"])
    op.create_index(op.f("ix_subnetpools_project_id"), "subnetpools", ["project_id"])
    op.add_column("subnets", sa.Column("subnetpool_id", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_subnets_subnetpool_id"), "subnets", ["subnetpool_id"])
    op.add_column("ports", sa.Column("extra_dhcp_opts", sa.JSON(), nullable=True))
