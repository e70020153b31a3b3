"""`haqn/routers` and `haqn/agents`: everything about who hosts what, who forwards, and who is behind, in one call each.

What is not known (etcd does not answer) is null, and never "fine".
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import falcon

from haqn.api import generations
from haqn.api.attributes import Attribute, Attributes
from haqn.api.endpoints import answer
from haqn.api.generations import DocumentPlace, Written
from haqn.api.kinds import Integer, Kind, Nullable, Text, Timestamp, Uuid, is_uuid
from haqn.api.livestate import LiveState
from haqn.api.resource import Resource
from haqn.api.services import Services
from haqn.db import agents, overview, redundancy, routers
from haqn.db.overview import Hosting, Load
from haqn.db.store import Row
from haqn.documents import SyncReport
from haqn.model import Role, VrrpState

_LIVENESS = {True: "alive", False: "dead", None: "unknown"}


class Sync(NamedTuple):
    """How far an agent has come with one document, or with all of its host's."""

    #: what the leader has noted on the document; None: not known
    desired: Written | None
    report: SyncReport | None
    error: str | None = None

    @property
    def in_sync(self) -> bool | None:
        """None: not known."""
        return None if self.lag is None else self.lag == 0 and self.error is None

    @property
    def lag(self) -> int | None:
        """Generations, of which the host counts one for each change of its documents; 0: everything is applied."""
        if self.desired is None or self.report is None:
            return None
        return max(0, self.desired.generation - self.report.generation)

    @property
    def lag_seconds(self) -> float | None:
        """Since when it is behind, by the clocks of the control hosts; for people."""
        if self.desired is None or not self.lag:
            return self.lag
        if not self.desired.written_at:
            return None
        since = datetime.datetime.fromisoformat(self.desired.written_at)
        return max(0.0, round((datetime.datetime.now(datetime.UTC) - since).total_seconds(), 1))

    def show(self) -> dict[str, Any]:
        return {
            "desired_generation": None if self.desired is None else self.desired.generation,
            "applied_generation": None if self.report is None else self.report.generation,
            "lag": self.lag,
            "lag_seconds": self.lag_seconds,
            "in_sync": self.in_sync,
        }


def same_digest(manifest: Written | None, report: SyncReport | None) -> bool | None:
    """Whether a host has applied the very documents that the leader wrote for it; None: not known, or not yet."""
    if manifest is None or report is None or report.generation != manifest.generation:
        return None
    return manifest.digest == report.digest if manifest.digest and report.digest else None


# -- routers ------------------------------------------------------------------------------


def _decorate(services: Services, rows: Sequence[Row]) -> None:
    live_state = services.live_state
    with services.database.read() as connection:
        bound = overview.hosting(connection, [row["id"] for row in rows])
        hosts = overview.hosts(connection)
    places = {(hosts[member], "routers", router_id) for router_id, one in bound.items() for member in one.members}
    desired = live_state.generations(places | {generations.manifest(host) for host, _, _ in places})
    for row in rows:
        one = bound.get(row["id"], Hosting(None, None, ()))
        members = [
            _member(live_state, one, member, hosts[member], _far(live_state, hosts[member], row["id"], desired))
            for member in one.members
        ]
        row |= {
            "pair_id": one.pair_id,
            "pair_epoch": one.epoch,
            "active_host": hosts[one.members[0]] if one.members else None,
            "members": members,
            "in_sync": _all_in_sync(members),
        }


def _far(live_state: LiveState, host: str, router_id: str, desired: Mapping[DocumentPlace, Written]) -> Sync:
    report = live_state.sync_report(host)
    error = None if report is None else report.errors.get(router_id)
    if error is None and same_digest(desired.get(generations.manifest(host)), report) is False:
        error = "the host has applied other documents than the leader wrote"
    return Sync(desired.get((host, "routers", router_id)), report, error)


def _member(live_state: LiveState, one: Hosting, agent_id: str, host: str, far: Sync) -> dict[str, Any]:
    report = live_state.pair_report(host, one.pair_id) if one.pair_id is not None else None
    return {
        "agent_id": agent_id,
        "host": host,
        "liveness": _LIVENESS[live_state.alive(agent_id)],
        "designated": str(Role.ACTIVE if agent_id == one.members[0] else Role.BACKUP),
        "state": None if report is None else str(report.state),
        "since": None if report is None else report.since,
        "gate_open": None if report is None else report.gate_open,
        "epoch": None if report is None else report.epoch,
        **far.show(),
        "error": far.error,
    }


def _all_in_sync(members: Iterable[Mapping[str, Any]]) -> bool | None:
    found = [member["in_sync"] for member in members]
    return None if None in found else all(found) and bool(found)


ROUTER_OVERVIEW = Resource(
    collection="routers",
    store=routers.STORE,
    for_admins=True,
    decorate=_decorate,
    attributes=Attributes(
        "router",
        (
            Attribute(name="id", kind=Uuid()),
            Attribute(name="name", kind=Text()),
            Attribute(name="project_id", kind=Text()),
            Attribute(name="status", kind=Text()),
            Attribute(name="redundancy", kind=Text()),
            Attribute(name="redundancy_since", kind=Timestamp(), needs="redundancy"),
            Attribute(name="redundancy_reason", kind=Text(), needs="redundancy"),
            Attribute(name="pair_id", kind=Nullable(Integer())),
            Attribute(name="pair_epoch", kind=Nullable(Integer())),
            Attribute(name="active_host", kind=Nullable(Text())),
            Attribute(name="members", kind=Kind()),
            Attribute(name="in_sync", kind=Kind()),
        ),
    ),
)


# -- agents -------------------------------------------------------------------------------


class AgentsOverview:
    """`/v2.0/haqn/agents`: the L3 agents."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        answer(response, {"agents": _describe_agents(self._services)})


class AgentOverview:
    """`/v2.0/haqn/agents/{object_id}`: one of them; also whether it is safe to stop it, and why not."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, _request: falcon.Request, response: falcon.Response, object_id: str) -> None:
        found = _describe_agents(self._services, object_id) if is_uuid(object_id) else []
        if not found:
            raise agents.STORE.missing(ascii(object_id[:255])[1:-1])
        answer(response, {"agent": found[0]})


def _describe_agents(services: Services, only: str | None = None) -> list[dict[str, Any]]:
    live_state = services.live_state
    with services.database.read() as connection:
        rows = overview.l3_agents(connection, only)
        loads = overview.loads(connection)
        pairs = overview.pairs_with_routers(connection)
        last = redundancy.last_members(connection, [row["id"] for row in rows])
    desired = live_state.generations({generations.manifest(row["host"]) for row in rows})
    return [
        _describe_agent(live_state, row, loads.get(row["id"], Load()), pairs.get(row["id"], []), desired)
        | {"last_member_of": last.get(row["id"], 0)}
        for row in rows
    ]


def _describe_agent(
    live_state: LiveState, row: Row, load: Load, pairs: Sequence[int], desired: Mapping[DocumentPlace, Written]
) -> dict[str, Any]:
    host = row["host"]
    sync = live_state.sync_report(host)
    manifest = desired.get(generations.manifest(host))
    far = Sync(manifest, sync)
    # errors are told apart here: all else may be applied
    in_sync = far.in_sync and (not (sync is None or sync.errors or sync.holding) and same_digest(manifest, sync))
    leads = [pair_id for pair_id in pairs if live_state.pair_state(host, pair_id) is VrrpState.MASTER]
    alive = live_state.alive(row["id"])
    because = why_not_stop(load, leads, alive=alive, built=None if sync is None else sync.routers)
    return {
        "id": row["id"],
        "host": host,
        "liveness": _LIVENESS[alive],
        "admin_state_up": row["admin_state_up"],
        "draining": row["draining"],
        **load._asdict(),
        "routers": sum(load),
        "forwards_for_pairs": leads,
        **far.show(),
        "in_sync": in_sync,
        # null: not known, not applied yet, or of an older version
        "desired_digest": (manifest.digest or None) if manifest is not None else None,
        "applied_digest": (sync.digest or None) if sync is not None else None,
        "holding": None if sync is None else sync.holding,
        "errors": None if sync is None else dict(sync.errors),
        "safe_to_stop": not because,
        "because": because or "no router is on it",
    }


def why_not_stop(load: Load, leads: Sequence[int], *, alive: bool | None, built: int | None) -> str:
    """Why the agent's host must not be stopped yet; empty when it may be. `leads`: pairs that forward there now;
    `built`: routers that it has built, None if it does not say."""
    if alive is None:
        return "it is not known whether it is alive"
    if load.alone:
        return f"{load.alone} routers run on it alone, and would go down"
    if load.active or leads:
        return f"{load.active} routers forward there, on pairs {', '.join(map(str, leads)) or 'that are moving'}"
    if load.standby:
        return f"it stands by for {load.standby} routers, which would lose their redundancy"
    if alive and built:
        return f"it has not taken down {built} routers yet"
    return ""
