"""Ports, as the API shows them; a router's port is where its router forwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from haqn.api.attributes import REQUIRED, Attribute, Attributes, standard
from haqn.api.kinds import (
    Address,
    Boolean,
    Emptied,
    Invalid,
    IpVersion,
    Json,
    Kind,
    ListOf,
    Mac,
    Nullable,
    Only,
    Prefix,
    Record,
    Text,
    Uuid,
)
from haqn.api.livestate import LiveState
from haqn.api.resource import Resource
from haqn.api.services import Services
from haqn.db import ports
from haqn.db.store import Row
from haqn.model import VrrpState

#: options that mean something without a value
_BLANK_DHCP_OPTIONS = ("router", "classless-static-route")
_FIXED_IP = Record({"subnet_id": Uuid(), "ip_address": Address()}, least=1)
_ADDRESS_PAIR = Record({"ip_address": Prefix(), "mac_address": Mac()}, frozenset({"ip_address"}))
_FIXED_IP_FILTER = Record({**_FIXED_IP.members, "ip_address_substr": Text(45)})


class _DhcpOption(Kind):
    """`{opt_name, opt_value, ip_version}`; null as the value takes an option away (`haqn.db.portoptions`)."""

    _record = Record(
        {"opt_name": Text(64), "opt_value": Nullable(Text()), "ip_version": IpVersion()},
        frozenset({"opt_name", "opt_value"}),
    )

    def parse(self, value: object) -> dict[str, Any]:
        option = self._record.parse(value)
        name, text = option["opt_name"], option["opt_value"]
        if not name.strip() or "\n" in name or "\n" in (text or ""):
            raise Invalid("an option has one line, and a name.")
        if text is not None and not text.strip() and name not in _BLANK_DHCP_OPTIONS:
            raise Invalid(f"only {list(_BLANK_DHCP_OPTIONS)} may be blank.")
        return option

    def schema(self) -> dict[str, Any]:
        return self._record.schema()


def _decorate(services: Services, rows: Sequence[Row]) -> None:
    for row in rows:
        if (binding := row.get("router_binding")) is not None:
            row["binding_host_id"] = active_host(services.live_state, binding)
        row["vif_type"] = ports.vif_type(row["binding_host_id"])
        row["vif_details"] = {"port_filter": False}


def active_host(live_state: LiveState, binding: Row) -> str:
    """Where a router forwards: the one host that reports MASTER, else the one that is designated ACTIVE."""
    hosts: Sequence[str] = binding["hosts"]
    if binding["pair_id"] is None:
        return hosts[0]
    masters = [host for host in hosts if live_state.pair_state(host, binding["pair_id"]) is VrrpState.MASTER]
    return masters[0] if len(masters) == 1 else hosts[0]


PORT = Resource(
    collection="ports",
    store=ports.STORE,
    create=ports.create,
    update=ports.update,
    delete=ports.delete,
    decorate=_decorate,
    attributes=Attributes(
        "port",
        (
            *standard(),
            Attribute(name="network_id", kind=Uuid(), post=True, default=REQUIRED),
            Attribute(name="mac_address", kind=Mac(), post=True, put=True),
            Attribute(
                name="fixed_ips",
                kind=ListOf(_FIXED_IP, most=32, unique=False, filter_kind=_FIXED_IP_FILTER),
                post=True,
                put=True,
            ),
            Attribute(name="admin_state_up", kind=Boolean(), post=True, put=True, default=True),
            Attribute(name="status", kind=Text(16)),
            Attribute(name="device_id", kind=Text(), post=True, put=True, default=""),
            Attribute(name="device_owner", kind=Text(), post=True, put=True, default=""),
            Attribute(
                name="binding:host_id",
                kind=Emptied(Text(), ""),
                field="binding_host_id",
                needs="router_binding",
                post=True,
                put=True,
                default="",
                admin_only=True,
            ),
            Attribute(
                name="binding:profile",
                kind=Emptied(Json(), {}),
                field="binding_profile",
                post=True,
                put=True,
                default={},
                admin_only=True,
            ),
            Attribute(
                name="binding:vnic_type",
                kind=Text(64, choices=("normal",)),
                field="binding_vnic_type",
                post=True,
                put=True,
                default="normal",
            ),
            # records: no traffic of a port is filtered, so every address pair is allowed
            Attribute(name="port_security_enabled", kind=Boolean(), post=True, put=True),
            Attribute(name="security_groups", kind=Emptied(ListOf(Uuid()), []), post=True, put=True),
            Attribute(name="allowed_address_pairs", kind=Emptied(ListOf(_ADDRESS_PAIR), []), post=True, put=True),
            Attribute(name="extra_dhcp_opts", kind=Emptied(ListOf(_DhcpOption()), []), post=True, put=True),
            Attribute(name="qos_policy_id", kind=Only(None), post=True, put=True),
            Attribute(name="binding:vif_type", kind=Text(), field="vif_type", needs="router_binding", admin_only=True),
            Attribute(
                name="binding:vif_details", kind=Json(), field="vif_details", needs="router_binding", admin_only=True
            ),
        ),
    ),
)
