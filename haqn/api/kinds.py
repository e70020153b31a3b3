"""Kinds of values that attributes have: how JSON and query text become a value, and how a value is shown.

Pure. A kind refuses with `Invalid`, whose text follows "Invalid input for <attribute>. Reason: ". Each kind knows its
JSON schema, so that the documentation of the API comes from the same table as its validation.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Numbers beyond 64 bits fit neither the databases nor other programs' JSON.
_LARGEST_NUMBER = 2**63 - 1
_DEEPEST_JSON = 16
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_IP_VERSIONS = (4, 6)
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


class Invalid(ValueError):
    """The value is not of its kind; the text says why."""


class Kind:
    """Any value; the base of the others."""

    def parse(self, value: object) -> Any:  # noqa: ANN401 each kind has a type of its own
        """The value that JSON `value` means. Raises Invalid."""
        return value

    def from_text(self, text: str) -> Any:  # noqa: ANN401 each kind has a type of its own
        """The value that `text` of a query string means. Raises Invalid."""
        return self.parse(text)

    def show(self, value: Any) -> Any:  # noqa: ANN401 each kind has a type of its own
        """The JSON of a stored value."""
        return value

    def schema(self) -> dict[str, Any]:
        """JSON schema of the value."""
        return {}


@dataclass(frozen=True, slots=True)
class Text(Kind):
    max_length: int = 255
    choices: tuple[str, ...] = ()

    def parse(self, value: object) -> str:
        if not isinstance(value, str):
            raise Invalid(f"'{_short(value)}' is not a valid string.")
        if len(value) > self.max_length:
            raise Invalid(f"'{_short(value)}' exceeds maximum length of {self.max_length}.")
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise Invalid("the string has a character that cannot be stored.")
        if self.choices and value not in self.choices:
            raise Invalid(f"'{_short(value)}' is not in {[str(choice) for choice in self.choices]}.")
        return value

    def from_text(self, text: str) -> str:
        # a filter may ask for what no object has
        return Text(self.max_length).parse(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": self.max_length} | ({"enum": [*self.choices]} if self.choices else {})


@dataclass(frozen=True, slots=True)
class Boolean(Kind):
    def parse(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = str(value).lower() if isinstance(value, str | int) else ""
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise Invalid(f"'{_short(value)}' cannot be converted to boolean.")

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    least: int = 0
    most: int = _LARGEST_NUMBER

    def parse(self, value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Invalid(f"'{_short(value)}' is not an integer.")
        if not self.least <= value <= self.most:
            raise Invalid(f"'{_short(value)}' is not from {self.least} to {self.most}.")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class IpVersion(Kind):
    """4 or 6."""

    def parse(self, value: object) -> int:
        version = Integer().parse(value)
        if version not in _IP_VERSIONS:
            raise Invalid(f"'{version}' is not in {list(_IP_VERSIONS)}.")
        return version

    def schema(self) -> dict[str, Any]:
        return {"enum": [*_IP_VERSIONS]}


@dataclass(frozen=True, slots=True)
class Uuid(Kind):
    def parse(self, value: object) -> str:
        if not is_uuid(value):
            raise Invalid(f"'{_short(value)}' is not a valid UUID.")
        return str(uuid.UUID(str(value)))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "uuid"}

    def from_text(self, text: str) -> str:
        return _lenient(self, text)


@dataclass(frozen=True, slots=True)
class Mac(Kind):
    def parse(self, value: object) -> str:
        text = value.lower().replace("-", ":") if isinstance(value, str) else ""
        if not _MAC.match(text):
            raise Invalid(f"'{_short(value)}' is not a valid MAC address.")
        if int(text[:2], 16) & 1 or text == "00:00:00:00:00:00":
            raise Invalid(f"'{_short(value)}' is not the address of one port.")
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "mac"}

    def from_text(self, text: str) -> str:
        return _lenient(self, text)


@dataclass(frozen=True, slots=True)
class Address(Kind):
    """An IP address in its normal form (RFC 5952); of either version, unless only one will do."""

    versions: tuple[int, ...] = _IP_VERSIONS

    def parse(self, value: object) -> str:
        try:
            address = ipaddress.ip_address(_without_zone(value))
        except ValueError:
            raise Invalid(f"'{_short(value)}' is not a valid IP address.") from None
        if address.version not in self.versions:
            raise Invalid(f"'{_short(value)}' is not an address of IPv{self.versions[0]}.")
        return str(address)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "format": f"ipv{version}"} for version in self.versions]}

    def from_text(self, text: str) -> str:
        return _lenient(self, text)


@dataclass(frozen=True, slots=True)
class Cidr(Kind):
    """A prefix of IPv4 or IPv6; host bits are cleared."""

    def parse(self, value: object) -> str:
        try:
            if not isinstance(value, str) or "/" not in value:
                raise ValueError
            return str(ipaddress.ip_network(_without_zone(value), strict=False))
        except ValueError:
            raise Invalid(f"'{_short(value)}' is not a valid IP subnet.") from None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "cidr"}

    def from_text(self, text: str) -> str:
        return _lenient(self, text)


@dataclass(frozen=True, slots=True)
class Prefix(Kind):
    """An IPv4 or IPv6 address or prefix, as it was given."""

    def parse(self, value: object) -> str:
        try:
            ipaddress.ip_network(value if isinstance(value, str) else "", strict=False)
        except ValueError:
            raise Invalid(f"'{_short(value)}' is not a valid IP subnet.") from None
        return str(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}

    def from_text(self, text: str) -> str:
        return Text().parse(text)


@dataclass(frozen=True, slots=True)
class Nullable(Kind):
    kind: Kind

    def parse(self, value: object) -> Any:  # noqa: ANN401 the type of `kind`, or None
        return None if value is None else self.kind.parse(value)

    def from_text(self, text: str) -> Any:  # noqa: ANN401 the type of `kind`, or None
        # as in Neutron, no text asks for what is not set
        return None if text == "" else self.kind.from_text(text)

    def show(self, value: Any) -> Any:  # noqa: ANN401 the type of `kind`, or None
        return None if value is None else self.kind.show(value)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.kind.schema(), {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class Emptied(Kind):
    """null means, and what is not set is shown as, `empty`."""

    kind: Kind
    empty: Any

    def parse(self, value: object) -> Any:  # noqa: ANN401 the type of `kind`
        return self.empty if value is None else self.kind.parse(value)

    def from_text(self, text: str) -> Any:  # noqa: ANN401 the type of `kind`
        return self.kind.from_text(text)

    def show(self, value: Any) -> Any:  # noqa: ANN401 the type of `kind`
        return self.empty if value is None else self.kind.show(value)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.kind.schema(), {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class ListOf(Kind):
    kind: Kind
    most: int = 256
    unique: bool = True
    #: what a filter may ask of one member; default: `kind`
    filter_kind: Kind | None = None

    def parse(self, value: object) -> list[Any]:
        if not isinstance(value, list):
            raise Invalid(f"'{_short(value)}' is not a list.")
        if len(value) > self.most:
            raise Invalid(f"the list has more than {self.most} members.")
        parsed = [self.kind.parse(member) for member in value]
        if self.unique and any(member in parsed[:position] for position, member in enumerate(parsed)):
            raise Invalid("the list has the same member twice.")
        return parsed

    def from_text(self, text: str) -> Any:  # noqa: ANN401 one member
        return (self.filter_kind or self.kind).from_text(text)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.kind.schema(), "maxItems": self.most}


@dataclass(frozen=True, slots=True)
class Record(Kind):
    """An object with the given members and no others."""

    members: Mapping[str, Kind]
    required: frozenset[str] = field(default_factory=frozenset)
    #: how many members must be given, whichever
    least: int = 0

    def parse(self, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Invalid(f"'{_short(value)}' is not a dictionary.")
        missing = sorted(self.required - value.keys())
        unknown = sorted(str(name) for name in value.keys() - self.members.keys())
        if missing or unknown or len(value) < self.least:
            raise Invalid(f"missing keys: {missing}, unexpected keys: {_short(unknown)}.")
        parsed = {}
        for name, member in value.items():
            try:
                parsed[name] = self.members[name].parse(member)
            except Invalid as error:
                raise Invalid(f"{name}: {error}") from None
        return parsed

    def from_text(self, text: str) -> tuple[str, Any]:
        """`name=value`, for filters on one member."""
        name, equals, value = text.partition("=")
        if not equals or name not in self.members:
            raise Invalid(f"'{_short(text)}' is not one of {sorted(self.members)}, '=' and a value.")
        return name, self.members[name].from_text(value)

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: kind.schema() for name, kind in self.members.items()},
            "required": sorted(self.required),
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class Json(Kind):
    """Any JSON object that other programs can read back."""

    def parse(self, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Invalid(f"'{_short(value)}' is not a dictionary.")
        _check_json(value, _DEEPEST_JSON)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


@dataclass(frozen=True, slots=True)
class Timestamp(Kind):
    """A time in UTC, in whole seconds."""

    separator: str = "T"
    suffix: str = "Z"

    def parse(self, value: object) -> datetime.datetime:
        try:
            moment = datetime.datetime.fromisoformat(value if isinstance(value, str) else "")
            return moment.astimezone(datetime.UTC).replace(tzinfo=None) if moment.tzinfo else moment
        except (ValueError, OverflowError):
            raise Invalid(f"'{_short(value)}' is not a time.") from None

    def show(self, value: datetime.datetime) -> str:
        return value.isoformat(self.separator, "seconds") + self.suffix

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Only(Kind):
    """An attribute that has just one value yet; clients may repeat it."""

    value: Any

    def from_text(self, text: str) -> bool:
        """Whether this is what all objects have; no text asks for what is not set, or empty."""
        return Boolean().parse(text) is self.value if isinstance(self.value, bool) else text == ""

    def parse(self, value: object) -> Any:  # noqa: ANN401 the type of `value`
        if value != self.value or isinstance(value, bool) is not isinstance(self.value, bool):
            raise Invalid(f"only {self.value!r} is supported.")
        return self.value

    def schema(self) -> dict[str, Any]:
        return {"enum": [self.value]}


def _lenient(kind: Kind, text: str) -> str:
    """The normal form of `text` in a filter; as it is when it is of another kind, which then matches nothing."""
    try:
        normal: str = kind.parse(text)
    except Invalid:
        return Text().parse(text)
    return normal


def is_uuid(value: object) -> bool:
    """Whether `value` is text that `uuid.UUID` takes as 32 digits with or without dashes; as loose as Neutron."""
    if not isinstance(value, str) or not 32 <= len(value) <= 36:
        return False
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def _without_zone(value: object) -> str:
    """Text that may be an address; a zone (`fe80::1%eth0`, RFC 4007) means something to one host only."""
    if not isinstance(value, str) or "%" in value:
        raise ValueError
    return value


def _check_json(value: object, depth: int) -> None:
    if depth == 0:
        raise Invalid("the value is nested too deeply.")
    if isinstance(value, dict):
        _check_members([*value, *value.values()], depth)
    elif isinstance(value, list):
        _check_members(value, depth)
    elif isinstance(value, str):
        Text(max_length=65535).parse(value)
    elif isinstance(value, int | float) and not abs(value) <= _LARGEST_NUMBER:
        raise Invalid("a number is larger than 64 bits.")


def _check_members(members: Sequence[object], depth: int) -> None:
    for member in members:
        _check_json(member, depth - 1)


def _short(value: object) -> str:
    """The value as part of a message: never longer than a line."""
    text = ascii(value)[1:-1] if isinstance(value, str) else ascii(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
