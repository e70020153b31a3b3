"""Resources as tables of attributes, from which validation, filters and answers follow.

Pure. An attribute is declared once, with its name in the API and its field in the store; nothing else in haqn lists
the attributes of a resource.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from haqn.api.context import Context, Scope
from haqn.api.kinds import Integer, Invalid, Kind, ListOf, Only, Text, Timestamp, Uuid
from haqn.exceptions import HTTPBadRequest, PolicyNotAuthorized

#: The attribute must be given on POST.
REQUIRED: Final = object()
#: The attribute is left out when it is not given; the store finds a value.
UNSET: Final = object()


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute of a resource."""

    name: str
    kind: Kind
    #: column or child of the store; default: the name
    field: str = ""
    post: bool = False
    put: bool = False
    #: on POST: a value, REQUIRED or UNSET
    default: Any = UNSET
    #: child of the store that the value is computed from
    needs: str = ""
    #: neither shown to nor settable by anybody but those whom the policy names: admins by default
    admin_only: bool = False
    #: shown to everybody, but set to anything else than the default only by those whom the policy names
    admin_sets: bool = False
    #: False: only asked for on POST
    shown: bool = True

    @property
    def key(self) -> str:
        return self.field or self.name

    @cached_property
    def shower(self) -> Callable[[Any], Any] | None:
        """What makes JSON of a stored value; None: it is JSON as it is."""
        return None if type(self.kind).show is Kind.show else self.kind.show


@dataclass(frozen=True)
class Attributes:
    """The attributes of the resource called `resource` (singular)."""

    resource: str
    members: tuple[Attribute, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Attribute]:
        return {attribute.name: attribute for attribute in self.members}

    def parse_create(self, body: object, context: Context) -> dict[str, Any]:
        """Fields for the store of the object in a POST. Raises HTTPBadRequest, PolicyNotAuthorized."""
        given = self._given(body)
        values: dict[str, Any] = {}
        for attribute in self.members:
            if attribute.name in given:
                if not attribute.post:
                    raise HTTPBadRequest(reason=f"Attribute '{attribute.name}' not allowed in POST")
                value = self._parse(attribute, given[attribute.name])
                # as in Neutron, everybody may repeat the default
                self._authorize(attribute, context, "create", is_default=value == attribute.default)
                _put(values, attribute, value)
            elif attribute.default is REQUIRED:
                raise HTTPBadRequest(
                    reason=f"Failed to parse request. Required attribute '{attribute.name}' not specified"
                )
            elif attribute.default is not UNSET:
                values.setdefault(attribute.key, attribute.default)
        return values

    def parse_update(self, body: object, context: Context) -> dict[str, Any]:
        """Fields for the store of the changes in a PUT. Raises HTTPBadRequest, PolicyNotAuthorized."""
        given = self._given(body)
        changes: dict[str, Any] = {}
        for attribute in self.members:
            if attribute.name in given:
                if not attribute.put:
                    raise HTTPBadRequest(reason=f"Cannot update read-only attribute {attribute.name}")
                self._authorize(attribute, context, "update", is_default=False)
                _put(changes, attribute, self._parse(attribute, given[attribute.name]))
        return changes

    def hides(self, attribute: Attribute, context: Context) -> bool:
        """Whether there are objects on which the attribute does not exist for the caller."""
        return self._seen(attribute, context) is not Scope.ALL

    def _seen(self, attribute: Attribute, context: Context) -> Scope:
        return context.scope(f"get_{self.resource}:{attribute.name}") if attribute.admin_only else Scope.ALL

    def show(self, row: Mapping[str, Any], context: Context, wanted: Collection[str] | None = None) -> dict[str, Any]:
        """The answer that describes `row`, with the `wanted` attributes only (None: with all)."""
        return self.show_all([row], context, wanted)[0]

    def show_all(
        self, rows: Iterable[Mapping[str, Any]], context: Context, wanted: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """The answers that describe `rows`. What is the same for all of them is found out once."""
        asked = [each for each in self.members if each.shown and (wanted is None or each.name in wanted)]
        of_all = [each for each in asked if self._seen(each, context) is Scope.ALL]
        of_own = [each for each in asked if self._seen(each, context) is not Scope.NONE]
        if of_own == of_all:
            return _show(rows, of_all)
        return [_show([row], of_own if row["project_id"] == context.project_id else of_all)[0] for row in rows]

    def _given(self, body: object) -> Mapping[str, object]:
        if not isinstance(body, dict):
            raise HTTPBadRequest(reason=f"Invalid input for {self.resource}. Reason: it is not a dictionary.")
        unknown = sorted(body.keys() - self.by_name.keys())
        if unknown:
            raise HTTPBadRequest(reason=f"Unrecognized attribute(s) {', '.join(ascii(name) for name in unknown[:10])}")
        return body

    def _parse(self, attribute: Attribute, value: object) -> Any:  # noqa: ANN401 each kind has a type of its own
        try:
            return attribute.kind.parse(value)
        except Invalid as error:
            raise HTTPBadRequest(reason=f"Invalid input for {attribute.name}. Reason: {error}") from None

    def _authorize(self, attribute: Attribute, context: Context, verb: str, *, is_default: bool) -> None:
        """The right to set an attribute must reach as far as the right to write the object."""
        if not attribute.admin_only and (is_default or not attribute.admin_sets):
            return
        rule = f"{verb}_{self.resource}"
        if context.scope(f"{rule}:{attribute.name}") < max(context.scope(rule), Scope.OWN):
            raise PolicyNotAuthorized(action=f"{rule}:{attribute.name}")


def _show(rows: Iterable[Mapping[str, Any]], shown: Sequence[Attribute]) -> list[dict[str, Any]]:
    constants = {each.name: each.kind.value for each in shown if isinstance(each.kind, Only)}
    plain = [(each.name, each.key) for each in shown if each.name not in constants and each.shower is None]
    made = [(each.name, each.key, each.shower) for each in shown if each.name not in constants and each.shower]
    return [
        {name: row[key] for name, key in plain} | {name: shower(row[key]) for name, key, shower in made} | constants
        for row in rows
    ]


def _put(values: dict[str, Any], attribute: Attribute, value: object) -> None:
    """Two names of one field (tenant_id, project_id) must not disagree. What has only one value is not stored."""
    if isinstance(attribute.kind, Only):
        return
    if values.get(attribute.key, value) != value:
        raise HTTPBadRequest(reason=f"Invalid input for {attribute.name}. Reason: it is given twice, differently.")
    values[attribute.key] = value


def standard() -> tuple[Attribute, ...]:
    """Neutron's standard attributes, which every resource but agents has."""
    return (
        Attribute(name="id", kind=Uuid()),
        Attribute(name="name", kind=Text(), post=True, put=True, default=""),
        Attribute(name="project_id", kind=Text(), post=True),
        Attribute(name="tenant_id", kind=Text(), field="project_id", post=True),
        Attribute(name="description", kind=Text(), post=True, put=True, default=""),
        Attribute(name="created_at", kind=Timestamp()),
        Attribute(name="updated_at", kind=Timestamp()),
        Attribute(name="revision_number", kind=Integer()),
        Attribute(name="tags", kind=ListOf(Text())),
        Attribute(name="changed_since", kind=Timestamp(), shown=False),
    )
