"""The query string of a list: filters, fields, sorting and pages, and the links between pages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from haqn.api.context import Context
from haqn.api.kinds import Boolean, Invalid, Kind, Only, Text
from haqn.api.resource import Resource
from haqn.db.store import NEVER, Query, Row
from haqn.db.tags import FILTERS
from haqn.exceptions import HTTPBadRequest, InvalidInput

#: Parameters that are no filters.
_CONTROLS = frozenset({"fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"})
_DIRECTIONS = {"asc": False, "desc": True}
_MOST_LIMIT = 2**31 - 1

Parameters = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a client asked for: the store's query, and the attributes to show (None: all)."""

    query: Query
    fields: frozenset[str] | None


def parse(resource: Resource, parameters: Parameters, context: Context) -> Listing:
    """Raises HTTPBadRequest or InvalidInput, which names the parameter."""
    fields = parse_fields(parameters)
    marker = parameters.get("marker", [None])[-1]
    return Listing(
        fields=fields,
        query=Query(
            filters=_filters(resource, parameters, context),
            sort=_sort(resource, parameters, context),
            limit=_limit(parameters),
            marker=None if marker is None else _marker(resource, marker),
            reverse=_page_reverse(parameters),
            wanted=wanted(resource, fields),
            viewer=context.viewer(f"get_{resource.name}"),
        ),
    )


def parse_fields(parameters: Parameters) -> frozenset[str] | None:
    """The attributes to show; None: all."""
    names = frozenset(name for name in parameters.get("fields", ()) if name)
    return names or None


def wanted(resource: Resource, fields: frozenset[str] | None) -> frozenset[str] | None:
    """The fields of the store that are needed to show the attributes `fields`."""
    if fields is None:
        return None
    shown = [attribute for attribute in resource.attributes.members if attribute.name in fields]
    return frozenset(key for attribute in shown for key in (attribute.key, attribute.needs) if key)


def links(collection: str, url: str, parameters: Parameters, query: Query, rows: Sequence[Row]) -> dict[str, Any]:
    """`<collection>_links` as Neutron gives them: only with a limit, and `next` only after a full page."""
    if query.limit is None or not rows:
        return {}
    full = len(rows) >= query.limit
    found = []
    if full or query.reverse:
        found.append({"rel": "next", "href": _page_url(url, parameters, rows[-1]["id"], reverse=False)})
    if full or not query.reverse:
        found.append({"rel": "previous", "href": _page_url(url, parameters, rows[0]["id"], reverse=True)})
    return {f"{collection}_links": found}


def _page_url(url: str, parameters: Parameters, marker: str, *, reverse: bool) -> str:
    kept: list[tuple[str, str]] = [
        (name, value)
        for name, values in parameters.items()
        if name not in ("marker", "page_reverse")
        for value in values
    ]
    kept.append(("marker", marker))
    if reverse:
        kept.append(("page_reverse", "True"))
    return f"{url}?{urlencode(kept)}"


def _filters(resource: Resource, parameters: Parameters, context: Context) -> dict[str, list[Any]]:
    attributes = resource.attributes.by_name
    filters: dict[str, list[Any]] = {}
    unknown = []
    for name, texts in parameters.items():
        if name in _CONTROLS:
            continue
        if name in FILTERS and resource.store.filterable(name):
            filters.setdefault(name, []).extend(_words(name, text) for text in texts)
            continue
        attribute = attributes.get(name)
        if (
            attribute is None
            or resource.attributes.hides(attribute, context)
            or not (isinstance(attribute.kind, Only) or resource.store.filterable(attribute.key))
        ):
            unknown.append(name)
            continue
        try:
            values = [attribute.kind.from_text(text) for text in texts]
            if not isinstance(attribute.kind, Only):
                filters.setdefault(attribute.key, []).extend(values)
            # all objects have the same value
            elif not any(values):
                filters[NEVER] = []
        except Invalid as error:
            raise InvalidInput(error_message=f"{name}: {error}") from None
    if unknown:
        raise InvalidInput(error_message=f"{_ascii(unknown)} is invalid attribute for filtering")
    return filters


def _words(name: str, text: str) -> list[str]:
    """The tags of one value, which are separated by commas."""
    try:
        return [Text().parse(word) for word in text.split(",")]
    except Invalid as error:
        raise InvalidInput(error_message=f"{name}: {error}") from None


def _sort(resource: Resource, parameters: Parameters, context: Context) -> list[tuple[str, bool]]:
    names, directions = parameters.get("sort_key", ()), parameters.get("sort_dir", ())
    if len(names) != len(directions):
        raise HTTPBadRequest(reason="The number of sort_keys and sort_dirs must be same")
    attributes = resource.attributes.by_name
    order = []
    for name, direction in zip(names, directions, strict=True):
        attribute = attributes.get(name)
        if (
            attribute is None
            or resource.attributes.hides(attribute, context)
            or not resource.store.sortable(attribute.key)
        ):
            raise HTTPBadRequest(reason=f"{_ascii([name])} is invalid attribute for sort keys")
        if direction not in _DIRECTIONS:
            raise HTTPBadRequest(
                reason=f"{_ascii([direction])} is invalid value for sort_dirs, valid value is asc, desc"
            )
        order.append((attribute.key, _DIRECTIONS[direction]))
    return order


def _limit(parameters: Parameters) -> int | None:
    text = parameters.get("limit", ["0"])[-1]
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise HTTPBadRequest(reason=f"Limit must be an integer 0 or greater and not {_ascii(text)}")
    return min(int(text), _MOST_LIMIT) or None


def _marker(resource: Resource, marker: str) -> str:
    kind: Kind = next((each.kind for each in resource.attributes.members if each.key == "id"), Text())
    try:
        kind.parse(marker)
    except Invalid:
        raise resource.store.missing(_ascii(marker)[1:-1]) from None
    return marker


def _page_reverse(parameters: Parameters) -> bool:
    try:
        return Boolean().parse(parameters.get("page_reverse", ["false"])[-1])
    except Invalid as error:
        raise HTTPBadRequest(reason=f"page_reverse: {error}") from None


def _ascii(value: str | Iterable[str]) -> str:
    text = ascii(value if isinstance(value, str) else list(value))
    return text if len(text) <= 200 else f"{text[:197]}..."
