"""What a client asks before anything else: versions, resources, extensions, health. None of it needs SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import falcon

from haqn.api.endpoints import answer
from haqn.api.extensions import Extension as Added
from haqn.api.resource import Resource
from haqn.exceptions import ExtensionNotFound

#: alias -> (name, description); only what is true. Clients find some by Neutron's names.
EXTENSIONS: dict[str, tuple[str, str]] = {
    "agent-resources-synced": ("Agents' resources synced", "Agents have an attribute for it, which is not used."),
    "agent-sort-key": ("Agents Sort Key", "Lists of agents in a chosen order."),
    "agent_sort_key": ("Agents Sort Key", "The same, by the name that Neutron gives it."),
    "agent": ("Agents", "The agents that carry out what the API is told, and whether they are alive."),
    "allowed-address-pairs": ("Allowed address pairs", "Ports may use other addresses than their own."),
    "availability_zone": ("Availability Zone", "The zones that agents are in."),
    "availability_zone_filter": ("Availability zone filters", "Lists of zones by name, resource and state."),
    "binding": ("Port Binding", "The host that a port is bound to."),
    "default-subnetpools": ("Default subnet pools", "One subnet pool of each IP version may be the default."),
    "dhcp_agent_scheduler": ("DHCP agent scheduler", "Which network is on which DHCP agent."),
    "empty-string-filtering": ("Filters by the empty string", "Lists by attributes that are empty."),
    "ext-gw-mode": ("Router external gateway mode", "Routers with or without SNAT."),
    "external-net": ("External networks", "Networks that routers reach the outside by."),
    "extra_dhcp_opt": ("Extra DHCP options", "Ports have DHCP options; nothing serves DHCP yet."),
    "extraroute": ("Extra routes", "Static routes of routers."),
    "extraroute-atomic": ("Extra routes, one by one", "Static routes are added and removed without the others."),
    "fip-port-details": ("Floating IP port details", "Floating IPs tell of the port that they lead to."),
    "filter-validation": ("Filter validation", "An unknown filter is an error."),
    "haqn-ha": (
        "High availability for operators",
        "Under /v2.0/haqn: routers' members, agents, the monitor, operations, failovers and availability.",
    ),
    "haqn-redundancy": ("Redundancy of routers", "Whether a router would take the next failure: full, degraded, none."),
    "ip-substring-filtering": ("IP address substring filtering", "Lists of ports by a part of an address."),
    "l3-agent-scheduler-ha-chassis-priority": (
        "Priorities of a router's L3 agents",
        "The agent of the highest priority forwards; its pair's other routers move along.",
    ),
    "l3-ha": ("HA routers", "Routers on two agents, of which one forwards and the other takes over."),
    "l3_agent_scheduler": ("L3 agent scheduler", "Which router is on which L3 agent."),
    "net-mtu": ("Network MTU", "The MTU of a network."),
    "net-mtu-writable": ("Network MTU (writable)", "The MTU of a network may be changed."),
    "network-ip-availability": ("Network IP availability", "How many addresses networks have left."),
    "network_availability_zone": ("Network Availability Zone", "The zones that carry a network."),
    "pagination": ("Pagination", "Lists in pages."),
    "port-security": ("Port security", "Ports say whether they are to be secured; no traffic is filtered yet."),
    "project-id": ("project_id", "The project of an object is called project_id, too."),
    "provider": ("Provider networks", "How a network is carried."),
    "revision-if-match": ("If-Match on revisions", "Writes may name the revision that they are for."),
    "router_availability_zone": ("Router Availability Zone", "The zones that routers may be in, and are in."),
    "quota-check-limit": ("Quota check limit", "A new limit may be checked against what is used."),
    "quota_details": ("Quota details", "Limits of projects, and what they use of them."),
    "quotas": ("Quotas", "How many objects a project may have."),
    "router": ("Routers", "Routers, gateways and interfaces."),
    "security-group": ("Security groups", "Groups and rules are kept; no traffic is filtered yet."),
    "sort-key-validation": ("Sort key validation", "An unknown sort key is an error."),
    "sorting": ("Sorting", "Lists in a chosen order."),
    "standard-attr-description": ("Descriptions", "Objects have descriptions."),
    "standard-attr-revisions": ("Revisions", "Objects have revision numbers."),
    "standard-attr-tag": ("Tags", "Objects have tags, and are found by them."),
    "subnet_allocation": ("Subnet allocation", "Subnets are allocated from subnet pools."),
    "standard-attr-timestamp": ("Timestamps", "Objects tell when they were created and changed."),
}
#: When the list above last changed.
_UPDATED = "2026-11-21T00:00:00-00:00"


class Versions:
    """`GET /`."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        answer(response, {"versions": [_version(request)]})


class Resources:
    """`GET /v2.0`. It tells its version, too, for clients whose endpoint is this URL (keystoneauth asks there)."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = resources

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        listed = [
            {
                "name": resource.name,
                "collection": resource.collection,
                "links": [{"rel": "self", "href": f"{request.prefix}/v2.0/{resource.path}"}],
            }
            for resource in self._resources
        ]
        answer(response, {"version": _version(request), "resources": listed})


def describe_extensions(added: Sequence[Added]) -> dict[str, dict[str, object]]:
    """alias -> what `GET /v2.0/extensions/{alias}` says: haqn's own, and those that were `added`."""
    own = {alias: _describe(alias, name, text, _UPDATED) for alias, (name, text) in EXTENSIONS.items()}
    return own | {ext.alias: _describe(ext.alias, ext.name, ext.description, ext.updated) for ext in added}


def _describe(alias: str, name: str, description: str, updated: str) -> dict[str, object]:
    return {"alias": alias, "name": name, "description": description, "updated": updated, "links": []}


class Extensions:
    """`GET /v2.0/extensions`."""

    def __init__(self, described: Mapping[str, Mapping[str, object]]) -> None:
        self._described = described

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        answer(response, {"extensions": list(self._described.values())})


class Extension:
    """`GET /v2.0/extensions/{alias}`."""

    def __init__(self, described: Mapping[str, Mapping[str, object]]) -> None:
        self._described = described

    def on_get(self, _request: falcon.Request, response: falcon.Response, alias: str) -> None:
        if alias not in self._described:
            raise ExtensionNotFound(alias=ascii(alias[:100])[1:-1])
        answer(response, {"extension": self._described[alias]})


class Health:
    """`GET /healthz`: this process answers."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        answer(response, {"status": "ok"})


def _version(request: falcon.Request) -> dict[str, object]:
    return {"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": f"{request.prefix}/v2.0/"}]}
