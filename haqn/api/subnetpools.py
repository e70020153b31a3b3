"""Subnet pools, as the API shows them: prefixes that subnets are allocated from."""

from __future__ import annotations

from haqn.api.attributes import REQUIRED, Attribute, Attributes, standard
from haqn.api.kinds import Boolean, Cidr, Integer, IpVersion, ListOf, Nullable, Only
from haqn.api.resource import Resource
from haqn.db import subnetpools

_LENGTH = Integer(0, 128)

SUBNETPOOL = Resource(
    collection="subnetpools",
    store=subnetpools.STORE,
    create=subnetpools.create,
    update=subnetpools.update,
    delete=subnetpools.delete,
    attributes=Attributes(
        "subnetpool",
        (
            *standard(),
            Attribute(name="prefixes", kind=ListOf(Cidr(), unique=False), post=True, put=True, default=REQUIRED),
            Attribute(name="ip_version", kind=IpVersion()),
            Attribute(name="default_prefixlen", kind=_LENGTH, post=True, put=True),
            Attribute(name="min_prefixlen", kind=_LENGTH, post=True, put=True),
            Attribute(name="max_prefixlen", kind=_LENGTH, post=True, put=True),
            Attribute(name="default_quota", kind=Nullable(Integer()), post=True, put=True, default=None),
            Attribute(name="shared", kind=Boolean(), post=True, default=False, admin_sets=True),
            Attribute(name="is_default", kind=Boolean(), post=True, put=True, default=False, admin_sets=True),
            Attribute(name="address_scope_id", kind=Only(None), post=True, put=True),
        ),
    ),
)
