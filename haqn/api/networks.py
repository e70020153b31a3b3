"""Networks and subnets, as the API shows them."""

from __future__ import annotations

from haqn.api.attributes import REQUIRED, Attribute, Attributes, standard
from haqn.api.kinds import (
    Address,
    Boolean,
    Cidr,
    Emptied,
    Integer,
    IpVersion,
    ListOf,
    Nullable,
    Only,
    Record,
    Text,
    Uuid,
)
from haqn.api.resource import Resource
from haqn.db import networks, subnets
from haqn.model import Ipv6Mode, NetworkType

#: how hosts of a subnet come by addresses and default routes, as routers announce it (RFC 4861, 4862, 8415)
_IPV6_MODE = Nullable(Text(16, choices=tuple(Ipv6Mode)))

NETWORK = Resource(
    collection="networks",
    store=networks.STORE,
    create=networks.create,
    update=networks.update,
    delete=networks.delete,
    attributes=Attributes(
        "network",
        (
            *standard(),
            Attribute(name="admin_state_up", kind=Boolean(), post=True, put=True, default=True),
            Attribute(name="status", kind=Text(16)),
            Attribute(name="shared", kind=Boolean(), post=True, put=True, default=False, admin_sets=True),
            Attribute(
                name="router:external",
                kind=Boolean(),
                field="external",
                post=True,
                put=True,
                default=False,
                admin_sets=True,
            ),
            Attribute(name="subnets", kind=ListOf(Uuid())),
            # RFC 791: every module must be able to forward 68 octets; 0 asks for the default, as in Neutron
            Attribute(name="mtu", kind=Integer(0, 65535), post=True, put=True),
            Attribute(
                name="provider:network_type",
                kind=Text(16, choices=tuple(NetworkType)),
                field="network_type",
                post=True,
                admin_only=True,
            ),
            Attribute(
                name="provider:physical_network",
                kind=Nullable(Text(64)),
                field="physical_network",
                post=True,
                admin_only=True,
            ),
            Attribute(
                name="provider:segmentation_id",
                kind=Nullable(Integer(1, 2**24 - 1)),
                field="segmentation_id",
                post=True,
                admin_only=True,
            ),
            Attribute(name="availability_zone_hints", kind=Emptied(ListOf(Text(), most=16), []), post=True, default=()),
            Attribute(name="availability_zones", kind=ListOf(Text())),
            Attribute(name="port_security_enabled", kind=Boolean(), post=True, put=True, default=True),
            # nothing makes a topology by itself, so no network is the one that it would begin with
            Attribute(name="is_default", kind=Only(False), post=True, put=True),
            Attribute(name="ipv4_address_scope", kind=Only(None)),
            Attribute(name="ipv6_address_scope", kind=Only(None)),
            Attribute(name="qos_policy_id", kind=Only(None)),
        ),
    ),
)

SUBNET = Resource(
    collection="subnets",
    store=subnets.STORE,
    create=subnets.create,
    update=subnets.update,
    delete=subnets.delete,
    attributes=Attributes(
        "subnet",
        (
            *standard(),
            Attribute(name="network_id", kind=Uuid(), post=True, default=REQUIRED),
            Attribute(name="ip_version", kind=IpVersion(), post=True, default=4),
            Attribute(name="cidr", kind=Nullable(Cidr()), post=True, default=None),
            Attribute(name="prefixlen", kind=Nullable(Integer(0, 128)), post=True, shown=False),
            Attribute(name="gateway_ip", kind=Nullable(Address()), post=True, put=True),
            Attribute(
                name="allocation_pools",
                kind=ListOf(Record({"start": Address(), "end": Address()}, frozenset({"start", "end"}))),
                post=True,
                put=True,
            ),
            Attribute(name="enable_dhcp", kind=Boolean(), post=True, put=True, default=True),
            Attribute(name="dns_nameservers", kind=ListOf(Address(), most=20), post=True, put=True, default=()),
            Attribute(
                name="host_routes",
                kind=ListOf(
                    Record({"destination": Cidr(), "nexthop": Address()}, frozenset({"destination", "nexthop"})),
                    most=20,
                ),
                post=True,
                put=True,
                default=(),
            ),
            Attribute(name="ipv6_ra_mode", kind=_IPV6_MODE, post=True, default=None),
            Attribute(name="ipv6_address_mode", kind=_IPV6_MODE, post=True, default=None),
            Attribute(name="subnetpool_id", kind=Nullable(Uuid()), post=True),
            Attribute(name="use_default_subnetpool", kind=Boolean(), post=True, shown=False),
            Attribute(name="segment_id", kind=Only(None), post=True),
            Attribute(name="service_types", kind=Only([]), post=True, put=True),
        ),
    ),
)
