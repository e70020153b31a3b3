"""Security groups and their rules, as the API shows them; records, for clients that cannot do without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import falcon

from haqn.api.attributes import REQUIRED, Attribute, Attributes, standard
from haqn.api.context import Context
from haqn.api.endpoints import Collection, context_of
from haqn.api.kinds import Boolean, Integer, Invalid, Kind, Nullable, Only, Prefix, Text, Uuid
from haqn.api.resource import Resource
from haqn.db import securitygroups

#: IANA's names that Neutron knows for protocols, too
_NAMES = frozenset(
    {
        *("ah", "dccp", "egp", "esp", "gre", "hopopt", "icmp", "icmpv6", "igmp", "ip", "ipip", "ipv6-encap"),
        *("ipv6-frag", "ipv6-icmp", "ipv6-nonxt", "ipv6-opts", "ipv6-route", "ospf", "pgm", "rsvp", "sctp", "tcp"),
        *("udp", "udplite", "vrrp"),
    }
)


class _Protocol(Kind):
    """A protocol's name, or its number from 0 to 255."""

    def parse(self, value: object) -> str | None:
        text = str(value).lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if text == "any":
            return None
        if text in _NAMES or (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255):
            return text
        raise Invalid(f"{ascii(text)[:120]} is not a protocol's name or number.")

    def from_text(self, text: str) -> str:
        return Text().parse(text)


class _Word(Kind):
    """One of some words, whatever the case."""

    def __init__(self, *words: str) -> None:
        self._words = {word.lower(): word for word in words}

    def parse(self, value: object) -> str:
        word = self._words.get(value.lower()) if isinstance(value, str) else None
        if word is None:
            raise Invalid(f"{ascii(value)[:120]} is not in {list(self._words.values())}.")
        return word

    def from_text(self, text: str) -> str:
        return self._words.get(text.lower()) or Text().parse(text)


class _Rules(Kind):
    """The rules of a group, as they show themselves."""

    def show(self, value: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [SECURITY_GROUP_RULE.attributes.show(rule, Context()) for rule in value]


SECURITY_GROUP_RULE = Resource(
    collection="security_group_rules",
    store=securitygroups.RULES,
    create=securitygroups.create_rule,
    delete=securitygroups.delete_rule,
    attributes=Attributes(
        "security_group_rule",
        (
            *(attribute for attribute in standard() if attribute.name != "name"),
            Attribute(name="security_group_id", kind=Uuid(), post=True, default=REQUIRED),
            Attribute(name="direction", kind=_Word("ingress", "egress"), post=True, default=REQUIRED),
            Attribute(name="ethertype", kind=_Word("IPv4", "IPv6"), post=True, default="IPv4"),
            Attribute(name="protocol", kind=Nullable(_Protocol()), post=True),
            Attribute(name="port_range_min", kind=Nullable(Integer(0, 65535)), post=True),
            Attribute(name="port_range_max", kind=Nullable(Integer(0, 65535)), post=True),
            Attribute(name="remote_ip_prefix", kind=Nullable(Prefix()), post=True),
            Attribute(name="remote_group_id", kind=Nullable(Uuid()), post=True),
            Attribute(name="remote_address_group_id", kind=Only(None), post=True),
        ),
    ),
)

SECURITY_GROUP = Resource(
    collection="security_groups",
    store=securitygroups.GROUPS,
    create=securitygroups.create_group,
    update=securitygroups.update_group,
    delete=securitygroups.delete_group,
    attributes=Attributes(
        "security_group",
        (
            *standard(),
            Attribute(name="stateful", kind=Boolean(), post=True, put=True, default=True),
            Attribute(name="shared", kind=Only(False)),
            Attribute(name="security_group_rules", kind=_Rules()),
        ),
    ),
)


class SecurityGroups(Collection):
    """`/v2.0/security-groups`: whoever asks finds the default group of the own project."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        project_id = context_of(request).project_id
        with self._services.database.read() as connection:
            missing = not securitygroups.has_default(connection, project_id)
        if missing:
            self._services.write(lambda connection: securitygroups.ensure_default(connection, project_id))
        super().on_get(request, response)
