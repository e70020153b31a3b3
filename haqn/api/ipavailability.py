"""`network-ip-availabilities`: how full networks are."""

from __future__ import annotations

from haqn.api.attributes import Attribute, Attributes
from haqn.api.kinds import Integer, ListOf, Record, Text, Uuid
from haqn.api.resource import Resource
from haqn.db import ipavailability

_LOADED = "subnet_ip_availability"

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
            Attribute(name="total_ips", kind=Integer(), needs=_LOADED),
            Attribute(name="used_ips", kind=Integer(), needs=_LOADED),
            Attribute(name=_LOADED, kind=ListOf(Record({}))),
            Attribute(name="ip_version", kind=Integer(), shown=False),
        ),
    ),
)
