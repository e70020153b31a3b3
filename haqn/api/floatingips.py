"""Floating IPs, as the API shows them."""

from __future__ import annotations

from haqn.api.attributes import REQUIRED, Attribute, Attributes, standard
from haqn.api.kinds import Address, Json, Nullable, Only, Text, Uuid
from haqn.api.resource import Resource
from haqn.db import floatingips

FLOATINGIP = Resource(
    collection="floatingips",
    store=floatingips.STORE,
    create=floatingips.create,
    update=floatingips.update,
    delete=floatingips.delete,
    attributes=Attributes(
        "floatingip",
        (
            *(attribute for attribute in standard() if attribute.name != "name"),
            Attribute(name="floating_network_id", kind=Uuid(), post=True, default=REQUIRED),
            Attribute(name="floating_ip_address", kind=Nullable(Address((4,))), post=True),
            Attribute(name="subnet_id", kind=Nullable(Uuid()), post=True, shown=False),
            Attribute(name="port_id", kind=Nullable(Uuid()), post=True, put=True),
            Attribute(name="fixed_ip_address", kind=Nullable(Address((4,))), post=True, put=True),
            Attribute(name="router_id", kind=Nullable(Uuid())),
            Attribute(name="status", kind=Text(16)),
            Attribute(name="port_details", kind=Nullable(Json())),
            Attribute(name="qos_policy_id", kind=Only(None)),
        ),
    ),
)
