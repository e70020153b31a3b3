"""Extensions: packages that add attributes to resources, and resources of their own, without a change of haqn.

A package names an `Extension` in the entry point group `haqn.api.extensions`, and is found once it is installed. haqn
keeps what its attributes are set to; a resource of its own has a `haqn.db.store.Store` over a table of its own,
which `haqn-manage db upgrade` makes. `tests/sample_extension` is one.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from haqn.api.attributes import Attribute, Attributes
from haqn.api.policies import Rule
from haqn.api.resource import Resource
from haqn.api.services import Services
from haqn.db import extensionvalues
from haqn.db.schema import Tables
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row
from haqn.exceptions import HaqnError

GROUP = "haqn.api.extensions"


class ExtensionBroken(HaqnError):
    """An installed extension cannot be used; says which and why."""


def _no_routes(_services: Services) -> Mapping[str, object]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What an extension adds. Its alias, name, description and date are shown by `GET /v2.0/extensions`."""

    alias: str
    name: str
    description: str
    #: ISO 8601
    updated: str
    #: collection -> what its objects have more; an attribute that was never set is shown as null
    attributes: Mapping[str, Sequence[Attribute]] = field(default_factory=dict)
    resources: Sequence[Resource] = ()
    #: URI template -> who answers, beyond the collections and items of `resources`
    routes: Callable[[Services], Mapping[str, object]] = _no_routes
    #: rules of `routes`; what has none is for admins. `resources` have theirs already
    policies: Sequence[Rule] = ()
    #: the tables that `resources` need
    tables: Tables | None = None


def load() -> list[Extension]:
    """The extensions that are installed, by name. Raises ExtensionBroken."""
    return [_load(entry) for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name)]


def _load(entry: importlib.metadata.EntryPoint) -> Extension:
    try:
        found = entry.load()
    except Exception as error:
        raise ExtensionBroken(f"cannot load extension {entry.name} ({entry.value}): {error!r}") from error
    if not isinstance(found, Extension):
        raise ExtensionBroken(f"cannot use extension {entry.name}: {entry.value} is a {type(found).__name__}")
    return found


def extended(resources: Sequence[Resource], extensions: Sequence[Extension]) -> list[Resource]:
    """haqn's own resources with what the extensions add to them, then the extensions' own.

    Raises ExtensionBroken for an attribute of a collection that there is not, or that has it already.
    """
    found = {resource.collection: resource for resource in resources}
    for extension in extensions:
        found |= {resource.collection: resource for resource in extension.resources}
    for extension in extensions:
        for collection, attributes in extension.attributes.items():
            if collection not in found:
                raise ExtensionBroken(f"cannot use extension {extension.alias}: there are no {collection}")
            found[collection] = _with_attributes(extension, found[collection], attributes)
    return list(found.values())


def _with_attributes(extension: Extension, resource: Resource, attributes: Sequence[Attribute]) -> Resource:
    present = resource.attributes.by_name
    if taken := [attribute.name for attribute in attributes if attribute.name in present]:
        raise ExtensionBroken(f"cannot use extension {extension.alias}: {resource.collection} have {taken[0]} already")
    names = [attribute.key for attribute in attributes]
    store = extensionvalues.with_fields(resource.store, names)
    create, update, delete = resource.create, resource.update, resource.delete

    def split(values: Row) -> tuple[Row, Row]:
        own = {name: values[name] for name in names if name in values}
        return own, {name: value for name, value in values.items() if name not in own}

    def create_extended(connection: Connection, settings: Settings, values: Row) -> Row:
        assert create is not None  # noqa: S101 it is used only if there is one
        own, others = split(values)
        row = create(connection, settings, others)
        extensionvalues.write(connection, row["id"], own)
        return {**row, **dict.fromkeys(names), **own}

    def update_extended(connection: Connection, settings: Settings, object_id: str, changes: Row) -> Row:
        assert update is not None  # noqa: S101 it is used only if there is one
        own, others = split(changes)
        row = update(connection, settings, object_id, others)
        extensionvalues.write(connection, object_id, own)
        for name in names:
            store.children[name](connection, [row])
        return row

    def delete_extended(connection: Connection, settings: Settings, object_id: str) -> None:
        assert delete is not None  # noqa: S101 it is used only if there is one
        delete(connection, settings, object_id)
        extensionvalues.clear(connection, object_id)

    return dataclasses.replace(
        resource,
        attributes=Attributes(resource.name, (*resource.attributes.members, *attributes)),
        store=store,
        create=create and create_extended,
        update=update and update_extended,
        delete=delete and delete_extended,
    )
