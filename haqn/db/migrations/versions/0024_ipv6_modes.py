"""How hosts of an IPv6 subnet come by addresses and default routes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subnets", sa.Column("ipv6_ra_mode", sa.String(length=16), nullable=True))
    op.add_column("subnets", sa.Column("ipv6_address_mode", sa.String(length=16), nullable=True))
