"""What makes a resource of the API: its attributes, its rows, its rules, and what is known of it live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from haqn.api.attributes import Attributes
from haqn.api.services import Services
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row, Store


def _as_stored(_services: Services, _rows: Sequence[Row]) -> None:
    """Nothing is known of the rows but what is stored."""


def _as_asked(_services: Services, filters: dict[str, Sequence[Any]]) -> dict[str, Any]:
    """All filters are the store's own."""
    return filters


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind of object; `None` for a rule means that there is no such verb."""

    #: plural, as in lists
    collection: str
    attributes: Attributes
    store: Store
    create: Callable[[Connection, Settings, Row], Row] | None = None
    update: Callable[[Connection, Settings, str, Row], Row] | None = None
    delete: Callable[[Connection, Settings, str], None] | None = None
    #: nobody else sees any of it
    for_admins: bool = False
    #: adds to the rows what SQL does not know
    decorate: Callable[[Services, Sequence[Row]], None] = _as_stored
    #: adds to the filters what SQL does not know
    translate: Callable[[Services, dict[str, Sequence[Any]]], dict[str, Any]] = _as_asked

    @property
    def name(self) -> str:
        return self.attributes.resource

    @property
    def path(self) -> str:
        """The collection as URLs have it."""
        return self.collection.replace("_", "-")
