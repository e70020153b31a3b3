"""A sample extension of haqn: networks have a colour, and there are paints, which are a resource of their own.

On hosts it keeps a log of routers.
"""

from __future__ import annotations

from typing import ClassVar

import sqlalchemy as sa

from haqn.api.attributes import REQUIRED, Attribute, Attributes
from haqn.api.extensions import Extension
from haqn.api.kinds import Integer, Nullable, Text, Uuid
from haqn.api.resource import Resource
from haqn.db.store import Store
from haqn.documents import RouterDocument
from haqn.exceptions import NotFound

TABLES = sa.MetaData()
PAINTS = sa.Table(
    "sample_paints",
    TABLES,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("colour", sa.String(16), nullable=False),
    sa.Column("litres", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("updated_at", sa.DateTime, nullable=False),
    sa.Column("revision_number", sa.BigInteger, nullable=False),
)


class PaintNotFound(NotFound):
    message = "Paint {paint_id} could not be found."


STORE = Store(kind="paint", table=PAINTS, not_found=PaintNotFound)


def create(connection, _settings, values):
    return STORE.insert(connection, values)


def update(connection, _settings, paint_id, changes):
    STORE.bare(connection, paint_id, lock=True)
    STORE.update(connection, paint_id, changes)
    return STORE.get(connection, paint_id)


def delete(connection, _settings, paint_id):
    STORE.delete(connection, paint_id)


EXTENSION = Extension(
    alias="colours",
    name="Colours",
    description="Networks have a colour, and there are paints.",
    updated="2026-01-01T00:00:00-00:00",
    attributes={"networks": [Attribute(name="colour", kind=Nullable(Text(16)), post=True, put=True)]},
    resources=[
        Resource(
            collection="paints",
            store=STORE,
            create=create,
            update=update,
            delete=delete,
            attributes=Attributes(
                "paint",
                (
                    Attribute(name="id", kind=Uuid()),
                    Attribute(name="project_id", kind=Text(), post=True),
                    Attribute(name="colour", kind=Text(16), post=True, default=REQUIRED),
                    Attribute(name="litres", kind=Integer(), post=True, put=True, default=1),
                ),
            ),
        )
    ],
    tables=TABLES,
)


class RouterLog:
    """An agent extension (haqn.agent.extensions.AgentExtension)."""

    lines: ClassVar[list[str]] = []

    def add_router(self, router: RouterDocument) -> None:
        self.lines.append(f"{router.router_id} is here")

    def update_router(self, router: RouterDocument) -> None:
        self.lines.append(f"{router.router_id} has changed")

    def delete_router(self, router_id: str) -> None:
        self.lines.append(f"{router_id} is gone")

    def ha_state_change(self, router_id: str, active: bool) -> None:
        self.lines.append(f"{router_id} {'is active' if active else 'stands by'}")
