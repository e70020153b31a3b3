"""`haqn/events`: the failover ledger, newest first; and `haqn/availability`: what it says of routers and projects.

`outage_ms`, and the availability that is computed from it, are estimates and no measurements: nobody in the control
plane sees packets. Of a takeover that nobody had planned it is the time that VRRP takes to notice (3.2 advertisement
intervals), however long a host or a switch has really taken; of a planned one it is 0; of a time without a MASTER it is
that time, to which only that is added which lasted a second or longer. `duration_ms` of a transition is the time for
which both members seemed to be MASTER to the leader, or the dead one to be alive: most of it is the life of a lease,
and packets flow meanwhile.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

import falcon

from haqn.api.attributes import Attribute, Attributes
from haqn.api.endpoints import Collection, answer, parameters_of
from haqn.api.kinds import Integer, Invalid, Nullable, Text, Timestamp, Uuid, is_uuid
from haqn.api.resource import Resource
from haqn.api.services import Services
from haqn.db import ledger
from haqn.db.clock import utcnow
from haqn.db.store import Query
from haqn.exceptions import InvalidInput

EVENT = Resource(
    collection="events",
    store=ledger.STORE,
    for_admins=True,
    attributes=Attributes(
        "event",
        (
            Attribute(name="id", kind=Uuid()),
            Attribute(name="number", kind=Integer()),
            Attribute(name="kind", kind=Text()),
            Attribute(name="cause", kind=Text()),
            Attribute(name="pair_id", kind=Nullable(Integer())),
            Attribute(name="from_agent_id", kind=Nullable(Uuid())),
            Attribute(name="to_agent_id", kind=Nullable(Uuid())),
            Attribute(name="pair_epoch", kind=Nullable(Integer())),
            Attribute(name="leader_epoch", kind=Integer()),
            Attribute(name="started_at", kind=Timestamp()),
            Attribute(name="ended_at", kind=Nullable(Timestamp())),
            Attribute(name="duration_ms", kind=Nullable(Integer())),
            Attribute(name="outage_ms", kind=Nullable(Integer())),
            Attribute(name="routers", kind=Integer()),
            # for filters alone
            Attribute(name="agent_id", kind=Uuid(), shown=False),
            Attribute(name="router_id", kind=Uuid(), shown=False),
            Attribute(name="project_id", kind=Text(), field="about_project", shown=False),
            Attribute(name="since", kind=Timestamp(), shown=False),
            Attribute(name="until", kind=Timestamp(), shown=False),
        ),
    ),
)
#: how far back availability looks by default
_PERIOD = datetime.timedelta(days=30)
_NAMES = frozenset({"since", "until", "router_id", "project_id", "by"})


class Events(Collection):
    """`/v2.0/haqn/events`."""

    def _translated(self, query: Query) -> Query:
        query = super()._translated(query)
        return query if query.sort else dataclasses.replace(query, sort=[("number", True)])


class RoutersOfEvent:
    """`/v2.0/haqn/events/{object_id}/routers`: which routers were concerned; they may be gone by now."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        if not is_uuid(object_id):
            raise ledger.STORE.missing(object_id)
        with self._services.database.read() as connection:
            routers = ledger.routers_of(connection, object_id)
        answer(response, {"routers": routers})


class Availability:
    """`/v2.0/haqn/availability?since=&until=&router_id=&project_id=&by=router|project`; default: 30 days, by router."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        parameters = parameters_of(request)
        if unknown := sorted(parameters.keys() - _NAMES):
            raise InvalidInput(error_message=f"{ascii(unknown)[:200]} is invalid attribute for filtering")
        until = _moment(parameters, "until") or utcnow()
        since = _moment(parameters, "since") or until - _PERIOD
        by = parameters.get("by", ["router"])[-1]
        if by not in ("router", "project") or since >= until:
            raise InvalidInput(error_message="by must be router or project, and since before until")
        with self._services.database.read() as connection:
            rows = ledger.availability(
                connection,
                since,
                until,
                routers=parameters.get("router_id"),
                projects=parameters.get("project_id"),
            )
        shown = rows if by == "router" else ledger.of_projects(rows)
        period = {"since": Timestamp().show(since), "until": Timestamp().show(until)}
        answer(response, {"availability": shown, **period})


def _moment(parameters: Mapping[str, Sequence[str]], name: str) -> datetime.datetime | None:
    if name not in parameters:
        return None
    try:
        return Timestamp().parse(parameters[name][-1])
    except Invalid as error:
        raise InvalidInput(error_message=f"{name}: {error}") from None
