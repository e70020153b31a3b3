"""The rules of the policy by Neutron's names, their defaults, and which rule a request needs.

A resource gets its rules from its own table of attributes; what is done to objects beyond that is listed here. A
request that no rule is known for needs `admin_only`, so that what is new is closed until somebody opens it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from oslo_policy import policy

from haqn.api.attributes import Attribute
from haqn.api.resource import Resource

ADMIN_ONLY = "admin_only"
ADMIN = f"rule:{ADMIN_ONLY}"
READER = "rule:admin_or_reader"
MEMBER = "rule:admin_or_member"
ADMIN_OR_SERVICE = f"{ADMIN} or rule:service_api"

#: What the others are made of. A member may read without the role reader, too.
_BASE = {
    "context_is_admin": ("role:admin", "Who may do everything"),
    "service_api": ("role:service", "Other services, for instance Nova"),
    "owner": ("project_id:%(project_id)s", "The object is of the caller's project"),
    ADMIN_ONLY: ("rule:context_is_admin", "What nobody else may do, and the default of what has no rule of its own"),
    "admin_or_reader": (
        f"{ADMIN} or ((role:reader or role:member) and rule:owner)",
        "Who may see; networks that are shared or external are seen like one's own",
    ),
    "admin_or_member": (f"{ADMIN} or (role:member and rule:owner)", "Who may change"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: who may, by default, do what to what."""

    name: str
    check: str
    method: str
    #: URI template of the request
    path: str
    description: str


_ROUTER = "/v2.0/routers/{object_id}"
_AGENT = "/v2.0/agents/{object_id}"
_QUOTA = "/v2.0/quotas/{project_id}"
#: Beyond resources' own verbs and tags. Several may share a name.
ACTIONS = (
    Rule("add_router_interface", MEMBER, "PUT", f"{_ROUTER}/add_router_interface", "Attach a subnet or port"),
    Rule("remove_router_interface", MEMBER, "PUT", f"{_ROUTER}/remove_router_interface", "Detach a subnet or port"),
    Rule("add_extraroutes", MEMBER, "PUT", f"{_ROUTER}/add_extraroutes", "Add some routes of a router"),
    Rule("remove_extraroutes", MEMBER, "PUT", f"{_ROUTER}/remove_extraroutes", "Remove some routes of a router"),
    Rule("get_l3-agents", ADMIN, "GET", f"{_ROUTER}/l3-agents", "See which agents a router is on"),
    Rule("get_l3-routers", ADMIN, "GET", f"{_AGENT}/l3-routers", "See which routers are on an agent"),
    Rule("create_l3-router", ADMIN, "POST", f"{_AGENT}/l3-routers", "Put a router on an agent"),
    Rule("update_l3-router", ADMIN, "PUT", f"{_AGENT}/l3-routers/{{router_id}}", "Give a router's agent a priority"),
    Rule("delete_l3-router", ADMIN, "DELETE", f"{_AGENT}/l3-routers/{{router_id}}", "Take a router off an agent"),
    Rule("get_dhcp-agents", ADMIN, "GET", "/v2.0/networks/{object_id}/dhcp-agents", "See a network's DHCP agents"),
    Rule("get_dhcp-networks", ADMIN, "GET", f"{_AGENT}/dhcp-networks", "See which networks are on a DHCP agent"),
    Rule("create_dhcp-network", ADMIN, "POST", f"{_AGENT}/dhcp-networks", "Put a network on a DHCP agent"),
    Rule("delete_dhcp-network", ADMIN, "DELETE", f"{_AGENT}/dhcp-networks/{{network_id}}", "Take it off a DHCP agent"),
    Rule("get_quotas", ADMIN, "GET", "/v2.0/quotas", "List projects with quotas of their own"),
    Rule("get_quota", READER, "GET", _QUOTA, "See a project's quotas"),
    Rule("get_quota", READER, "GET", f"{_QUOTA}/default", "See the quotas of projects without any of their own"),
    Rule("get_quota", READER, "GET", f"{_QUOTA}/details", "See what a project uses of its quotas"),
    Rule("update_quota", ADMIN, "PUT", _QUOTA, "Set a project's quotas"),
    Rule("delete_quota", ADMIN, "DELETE", _QUOTA, "Reset a project's quotas"),
    Rule("get_availability_zone", READER, "GET", "/v2.0/availability_zones", "List availability zones"),
)

_CHOOSING = "on another project's network; its owner always may"
#: name -> default, description: what `haqn.db.access` asks for about single values
_VALUES = {
    "create_port:mac_address": (ADMIN_OR_SERVICE, f"Choose the MAC address of a new port {_CHOOSING}"),
    "create_port:fixed_ips": (ADMIN_OR_SERVICE, f"Choose addresses of a new port {_CHOOSING}"),
    "create_port:device_owner": (ADMIN_OR_SERVICE, f"Call a new port the network service's own {_CHOOSING}"),
    "update_port:mac_address": (ADMIN_OR_SERVICE, "Change the MAC address of a port"),
    "update_port:fixed_ips": (ADMIN_OR_SERVICE, f"Choose addresses of a port {_CHOOSING}"),
    "update_port:device_owner": (ADMIN_OR_SERVICE, f"Call a port the network service's own {_CHOOSING}"),
    "create_router:external_gateway_info:enable_snat": (ADMIN, "Make a router without SNAT"),
    "create_router:external_gateway_info:external_fixed_ips": (ADMIN, "Choose outer addresses of a new router"),
    "update_router:external_gateway_info:enable_snat": (ADMIN, "Turn SNAT of a router off"),
    "update_router:external_gateway_info:external_fixed_ips": (ADMIN, "Choose outer addresses of a router"),
    "create_floatingip:floating_ip_address": (ADMIN, "Choose the address of a new floating IP"),
}

#: Rules of resources whose default is not the ordinary one.
_CHECKS = {
    **{f"get_{name}": f"{READER} or rule:service_api" for name in ("network", "subnet", "port")},
    **{f"{verb}_port": f"{MEMBER} or rule:service_api" for verb in ("create", "update", "delete")},
    **{
        f"{verb}_port:binding:{name}": ADMIN_OR_SERVICE
        for verb in ("create", "update", "get")
        for name in ("host_id", "profile", "vif_type", "vif_details")
    },
}

#: URI templates that every authenticated caller may use.
OPEN = frozenset({"/", "/healthz", "/readyz", "/metrics", "/v2.0", "/v2.0/extensions", "/v2.0/extensions/{alias}"})


def _of_resource(resource: Resource) -> Iterator[Rule]:
    """The rules about whole objects and their tags."""
    path, name, tags = f"/v2.0/{resource.path}", resource.name, f"{resource.collection}_tags"
    item = f"{path}/{{object_id}}"
    member, reader = (ADMIN, ADMIN) if resource.for_admins else (MEMBER, READER)
    yield Rule(f"get_{name}", reader, "GET", path, f"List {resource.collection}")
    yield Rule(f"get_{name}", reader, "GET", item, f"See a {name}")
    if resource.create:
        yield Rule(f"create_{name}", member, "POST", path, f"Create a {name}")
    if resource.update:
        yield Rule(f"update_{name}", member, "PUT", item, f"Change a {name}")
    if resource.delete:
        yield Rule(f"delete_{name}", member, "DELETE", item, f"Delete a {name}")
    if "tags" in resource.store.children:
        for place in (f"{item}/tags", f"{item}/tags/{{tag}}"):
            yield Rule(f"get_{tags}", reader, "GET", place, f"See the tags of a {name}")
            yield Rule(f"delete_{tags}", member, "DELETE", place, f"Remove tags of a {name}")
        yield Rule(f"update_{tags}", member, "PUT", f"{item}/tags", f"Replace the tags of a {name}")
        yield Rule(f"create_{tags}", member, "PUT", f"{item}/tags/{{tag}}", f"Add a tag to a {name}")


def _of_attributes(resource: Resource) -> Iterator[Rule]:
    """The rules about attributes that not everybody sees or sets."""
    path, name = f"/v2.0/{resource.path}", resource.name
    item = f"{path}/{{object_id}}"
    for attribute in resource.attributes.members:
        if attribute.admin_only:
            for place in (path, item):
                yield Rule(f"get_{name}:{attribute.name}", ADMIN, "GET", place, f"See {attribute.name} of a {name}")
        if guarded(attribute) and attribute.post:
            yield Rule(f"create_{name}:{attribute.name}", ADMIN, "POST", path, f"Set {attribute.name} of a new {name}")
        if guarded(attribute) and attribute.put:
            yield Rule(f"update_{name}:{attribute.name}", ADMIN, "PUT", item, f"Change {attribute.name} of a {name}")


def guarded(attribute: Attribute) -> bool:
    """Whether a rule says who may set the attribute."""
    return attribute.admin_only or attribute.admin_sets


def rule_for(rules: Mapping[tuple[str, str], str], method: str, template: str) -> str | None:
    """The rule that the request needs; None: every authenticated caller may."""
    if template in OPEN:
        return None
    return rules.get(("GET" if method in ("HEAD", "OPTIONS") else method, template), ADMIN_ONLY)


def by_request(resources: Sequence[Resource], added: Iterable[Rule] = ()) -> dict[tuple[str, str], str]:
    """(method, URI template) -> the rule's name. `added`: rules of extensions."""
    rules = [*ACTIONS, *added, *(rule for resource in resources for rule in _of_resource(resource))]
    return {(rule.method, rule.path): rule.name for rule in rules}


def defaults(resources: Sequence[Resource], added: Iterable[Rule] = ()) -> list[policy.RuleDefault]:
    """All rules as oslo.policy has them, each once."""
    found: list[policy.RuleDefault] = [
        policy.RuleDefault(name, check, description) for name, (check, description) in _BASE.items()
    ]
    documented: dict[str, list[Rule]] = {}
    rules = [rule for resource in resources for rule in (*_of_resource(resource), *_of_attributes(resource))]
    for rule in (*rules, *ACTIONS, *added):
        documented.setdefault(rule.name, []).append(rule)
    for name, places in documented.items():
        operations: list[policy.Operation] = [{"method": place.method, "path": place.path} for place in places]
        check = _CHECKS.get(name, places[0].check)
        found.append(policy.DocumentedRuleDefault(name, check, places[0].description, operations))
    found += [policy.RuleDefault(name, check, description) for name, (check, description) in _VALUES.items()]
    return found
