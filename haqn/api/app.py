"""The WSGI application: every route in one table."""

from __future__ import annotations

from collections.abc import Sequence

import falcon
from oslo_config import cfg
from oslo_policy.policy import RuleDefault

from haqn.api import errors, extensions, ha, policies, quantum_v1, requestid
from haqn.api.access import Guard
from haqn.api.agents import AGENT, AgentItem, AgentsOfRouter, RouterOfAgent, RoutersOfAgent
from haqn.api.context import Context
from haqn.api.dhcp import AgentsOfNetwork, NetworkOfAgent, NetworksOfAgent
from haqn.api.discovery import Extension, Extensions, Health, Resources, Versions, describe_extensions
from haqn.api.endpoints import Collection, Item
from haqn.api.floatingips import FLOATINGIP
from haqn.api.ipavailability import NETWORK_IP_AVAILABILITY
from haqn.api.livestate import LiveState
from haqn.api.metrics import Measured
from haqn.api.networks import NETWORK, SUBNET
from haqn.api.nudge import Nudge
from haqn.api.policy import Policy
from haqn.api.ports import PORT
from haqn.api.quotas import AllQuotas, DefaultQuota, Quota, QuotaDetails
from haqn.api.readiness import Readiness
from haqn.api.resource import Resource
from haqn.api.routers import ROUTER, AddInterface, AddRoutes, RemoveInterface, RemoveRoutes
from haqn.api.securitygroups import SECURITY_GROUP, SECURITY_GROUP_RULE, SecurityGroups
from haqn.api.services import Services
from haqn.api.subnetpools import SUBNETPOOL
from haqn.api.tags import Tag, Tags
from haqn.api.zones import AvailabilityZones
from haqn.db.session import Database
from haqn.db.settings import Settings

App = falcon.App[falcon.Request, falcon.Response]

RESOURCES = (
    NETWORK,
    SUBNET,
    SUBNETPOOL,
    PORT,
    ROUTER,
    FLOATINGIP,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    NETWORK_IP_AVAILABILITY,
    AGENT,
)


def routes(
    services: Services, resources: Sequence[Resource], added: Sequence[extensions.Extension]
) -> dict[str, object]:
    """URI template -> who answers. `resources`: haqn's own and those of the extensions that were `added`."""
    named = {resource.collection: resource for resource in resources}
    described = describe_extensions(added)
    common: dict[str, object] = {}
    for extension in added:
        common |= extension.routes(services)
    for resource in resources:
        path = f"/v2.0/{resource.path}"
        common |= {path: Collection(resource, services), f"{path}/{{object_id}}": Item(resource, services)}
        if "tags" in resource.store.children:
            path = f"{path}/{{object_id}}/tags"
            common |= {path: Tags(resource, services), f"{path}/{{tag}}": Tag(resource, services)}
    return (
        common
        | quantum_v1.routes(services)
        | ha.routes(services)
        | {
            "/": Versions(),
            "/healthz": Health(),
            "/readyz": Readiness(services),
            "/v2.0/quotas": AllQuotas(services),
            "/v2.0/quotas/{project_id}": Quota(services),
            "/v2.0/quotas/{project_id}/default": DefaultQuota(services),
            "/v2.0/quotas/{project_id}/details": QuotaDetails(services),
            "/v2.0": Resources(resources),
            "/v2.0/extensions": Extensions(described),
            "/v2.0/extensions/{alias}": Extension(described),
            "/v2.0/routers/{object_id}/add_router_interface": AddInterface(services),
            "/v2.0/routers/{object_id}/remove_router_interface": RemoveInterface(services),
            "/v2.0/routers/{object_id}/l3-agents": AgentsOfRouter(services),
            "/v2.0/routers/{object_id}/add_extraroutes": AddRoutes(services),
            "/v2.0/routers/{object_id}/remove_extraroutes": RemoveRoutes(services),
            "/v2.0/networks/{object_id}/dhcp-agents": AgentsOfNetwork(services),
            "/v2.0/security-groups": SecurityGroups(named["security_groups"], services),
            "/v2.0/availability_zones": AvailabilityZones(services),
            "/v2.0/agents/{object_id}/dhcp-networks": NetworksOfAgent(services),
            "/v2.0/agents/{object_id}/dhcp-networks/{network_id}": NetworkOfAgent(services),
            "/v2.0/agents/{object_id}": AgentItem(named["agents"], services),
            "/v2.0/agents/{object_id}/l3-routers": RoutersOfAgent(services),
            "/v2.0/agents/{object_id}/l3-routers/{router_id}": RouterOfAgent(services),
        }
    )


def create_app(
    database: Database, live_state: LiveState, nudge: Nudge, conf: cfg.ConfigOpts, measured: Measured | None = None
) -> App:
    """The application of one process. What it is given must be started (and stopped) by the caller.

    `measured` is what measures the answers, around all that is before this (`Measured.around`).
    """
    added = extensions.load()
    resources = extensions.extended(RESOURCES, added)
    services = Services(database=database, settings=Settings.from_conf(conf), live_state=live_state, nudge=nudge)
    rules = [*ha.RULES, *(rule for extension in added for rule in extension.policies)]
    policy = Policy(conf, policies.defaults(resources, rules))
    measured = measured or Measured()
    app: App = falcon.App(middleware=[measured, _Requests(conf, policy), Guard(resources, rules, database)])
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.keep_blank_qs_values = True
    errors.install(app)
    app.add_error_handler(quantum_v1.Fault, quantum_v1.on_fault)
    for template, resource in routes(services, resources, added).items():
        app.add_route(template, resource)
    app.add_route("/metrics", measured)
    return app


def list_policies() -> list[RuleDefault]:
    """What oslopolicy-sample-generator asks for: all rules of haqn itself."""
    return policies.defaults(RESOURCES, ha.RULES)


class _Requests:
    """What every request has in common."""

    def __init__(self, conf: cfg.ConfigOpts, policy: Policy) -> None:
        self._max_body_size = conf.api.max_body_size
        self._authenticated = conf.api.auth_strategy != "noauth"
        self._policy = policy

    def process_request(self, request: falcon.Request, _response: falcon.Response) -> None:
        context = Context.from_headers(request.get_header, authenticated=self._authenticated, judge=self._policy.scope)
        request.context.haqn = context
        requestid.name_caller(context.user_id, context.project_id)
        if request.path.endswith(".json"):
            request.path = request.path.removesuffix(".json")
        if (request.content_length or 0) > self._max_body_size:
            raise falcon.HTTPContentTooLarge(description=f"The request body exceeds {self._max_body_size} bytes")
