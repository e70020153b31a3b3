"""Everything under `/v2.0/haqn/`: high availability as operators see it and steer it.

For admins, unless the policy says otherwise.
"""

from __future__ import annotations

from haqn.api.endpoints import Collection, Item
from haqn.api.events import EVENT, Availability, Events, RoutersOfEvent
from haqn.api.monitor import Monitor
from haqn.api.operations import OPERATION
from haqn.api.overview import ROUTER_OVERVIEW, AgentOverview, AgentsOverview
from haqn.api.policies import ADMIN, Rule
from haqn.api.services import Services

_ROOT = "/v2.0/haqn"
_OPERATIONS, _EVENTS = f"{_ROOT}/operations", f"{_ROOT}/events"

RULES = (
    Rule("get_operation", ADMIN, "GET", _OPERATIONS, "List operations"),
    Rule("get_operation", ADMIN, "GET", f"{_OPERATIONS}/{{object_id}}", "See how far an operation is"),
    Rule("create_operation", ADMIN, "POST", _OPERATIONS, "Drain, switch over, rebalance, rebuild"),
    Rule("update_operation", ADMIN, "PUT", f"{_OPERATIONS}/{{object_id}}", "Approve or cancel an operation"),
    Rule("get_event", ADMIN, "GET", _EVENTS, "List failovers"),
    Rule("get_event", ADMIN, "GET", f"{_EVENTS}/{{object_id}}", "See a failover"),
    Rule("get_event", ADMIN, "GET", f"{_EVENTS}/{{object_id}}/routers", "See which routers a failover was about"),
    Rule("get_availability", ADMIN, "GET", f"{_ROOT}/availability", "See the availability of routers and projects"),
    Rule("get_monitor", ADMIN, "GET", f"{_ROOT}/monitor", "See who leads and what is held back"),
    Rule("update_monitor", ADMIN, "PUT", f"{_ROOT}/monitor", "Release a brake"),
    Rule("get_router_overview", ADMIN, "GET", f"{_ROOT}/routers", "See the members of routers, and how far they are"),
    Rule("get_router_overview", ADMIN, "GET", f"{_ROOT}/routers/{{object_id}}", "The same of one router"),
    Rule("get_agent_overview", ADMIN, "GET", f"{_ROOT}/agents", "See what agents carry, and whether they may stop"),
    Rule("get_agent_overview", ADMIN, "GET", f"{_ROOT}/agents/{{object_id}}", "The same of one agent"),
)


def routes(services: Services) -> dict[str, object]:
    """URI template -> who answers."""
    return {
        _OPERATIONS: Collection(OPERATION, services),
        f"{_OPERATIONS}/{{object_id}}": Item(OPERATION, services),
        _EVENTS: Events(EVENT, services),
        f"{_EVENTS}/{{object_id}}": Item(EVENT, services),
        f"{_EVENTS}/{{object_id}}/routers": RoutersOfEvent(services),
        f"{_ROOT}/availability": Availability(services),
        f"{_ROOT}/monitor": Monitor(services),
        f"{_ROOT}/routers": Collection(ROUTER_OVERVIEW, services),
        f"{_ROOT}/routers/{{object_id}}": Item(ROUTER_OVERVIEW, services),
        f"{_ROOT}/agents": AgentsOverview(services),
        f"{_ROOT}/agents/{{object_id}}": AgentOverview(services),
    }
