"""`network-ip-availabilities`: how full networks are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from haqn.api.attributes import Attribute, Attributes
from haqn.api.kinds import Integer, IpVersion, ListOf, Record, Text, Uuid
from haqn.api.resource import Resource
from haqn.db import ipavailability

_LOADED = "subnet_ip_availability"


class _Count(Integer):
    """A number of addresses; those of IPv6 are more than 64 bits hold, which JSON does not mind."""

    def show(self, value: int) -> msgspec.Raw:
        return msgspec.Raw(str(value).encode())


class _OfSubnets(ListOf):
    """What is known of each subnet of a network."""

    def show(self, value: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{**subnet, "total_ips": _Count().show(subnet["total_ips"])} for subnet in value]


NETWORK_IP_AVAILABILITY = Resource(
    collection="network_ip_availabilities",
    store=ipavailability.STORE,
    for_admins=True,
    attributes=Attributes(
        "network_ip_availability",
        (
            Attribute(name="network_id", kind=Uuid(), field="id"),
            Attribute(name="network_name", kind=Text(), field="name"),
            Attribute(name="project_id", kind=Text()),
            Attribute(name="tenant_id", kind=Text(), field="project_id"),
            Attribute(name="total_ips", kind=_Count(), needs=_LOADED),
            Attribute(name="used_ips", kind=Integer(), needs=_LOADED),
            Attribute(name=_LOADED, kind=_OfSubnets(Record({}))),
            Attribute(name="ip_version", kind=IpVersion(), shown=False),
        ),
    ),
)
