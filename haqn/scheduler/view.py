"""What the planner sees, what it answers, and both as JSON.

A view is everything that a plan depends on: facts from SQL, what agents report, and how long
ago the leader's own sources came back. Time enters as durations in seconds, measured by the
leader's clock. Knows no clock, no SQL and no etcd.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import msgspec

from haqn.exceptions import InvalidDocument
from haqn.model import Agent, Binding, Pair, RouterRequest, VrrpState
from haqn.scheduler.operations import Absent, Operation, Progress, Release, Unready

#: a duration that is longer than any brake lasts
LONG_AGO = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The options that a plan depends on."""

    #: largest number of peers over which the routers of an active agent spread
    scatter_width: int = 4
    #: nothing that reacts to death happens when more than this part of the agents (and two or more) are dead
    max_dead_fraction: float = 0.3
    #: seconds; no death is believed for this long after the leader's sources came back, and deaths of this time count
    #: together
    lease_ttl: float = 10.0
    #: seconds for which nobody else must have died before a death is believed. etcd looks for leases that have ended
    #: twice a second, and what it finds in one look comes within this time; what comes later counts with it
    death_settle: float = 0.25
    #: seconds for which both members must report swapped roles before the designated role follows
    role_settle: float = 1.0
    #: routers that operations move at the same time
    pace: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """An operator's wish: the router has this agent as a member."""

    router_id: str
    agent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The leader has seen the agent's lease end."""

    agent_id: str
    #: seconds ago
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one member's keepalived says about a pair (documents.PairReport, and for how long)."""

    agent_id: str
    pair_id: int
    state: VrrpState
    #: the pair epoch that the member has carried out
    epoch: int
    #: seconds since the leader first saw this state at this epoch
    age: float = LONG_AGO
    #: the FAULT is one that the leader asked for, or that the host's return explains
    yielding: bool = False
    #: number of the host's uplinks that do not work
    dead_uplinks: int = 0
    #: role level (haqn.failover.levels)
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacancy:
    """The member has reported that it carried out documents in which no router rides on the pair."""

    agent_id: str
    pair_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One consistent look at the cluster. Agents of other types than L3 are ignored."""

    agents: tuple[Agent, ...] = ()
    pairs: tuple[Pair, ...] = ()
    bindings: tuple[Binding, ...] = ()
    #: of dead agents; one that was dead before anybody looked is not in it
    deaths: tuple[Death, ...] = ()
    pins: tuple[Pin, ...] = ()
    routers: tuple[RouterRequest, ...] = ()
    observations: tuple[Observation, ...] = ()
    vacancies: tuple[Vacancy, ...] = ()
    #: what operators have asked for and is not over
    operations: tuple[Operation, ...] = ()
    release: Release | None = None
    #: looked for only while an operation goes on, or an agent that lives is to be left
    unready: tuple[Unready, ...] = ()
    absent: tuple[Absent, ...] = ()
    next_pair_id: int
    #: seconds since this leader's term began
    since_leadership: float = LONG_AGO
    #: seconds since etcd (SQL) answered again after it had not
    since_etcd: float = LONG_AGO
    since_sql: float = LONG_AGO


# -- the plan ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A change of pairs or bindings. `reason` is for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePair(Action):
    pair_id: int
    active_agent_id: str
    backup_agent_id: str
    vr_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Designate(Action):
    """The members' roles at `epoch`, one more than the pair has: swapped, or said once more."""

    pair_id: int
    active_agent_id: str
    backup_agent_id: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BindToPair(Action):
    """`from_pair_id` and `from_agent_id` are what the router is bound to now: checked again when it is written."""

    router_id: str
    pair_id: int
    from_pair_id: int | None = None
    from_agent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BindToAgent(Action):
    """The router runs on one agent, without a standby."""

    router_id: str
    agent_id: str
    from_pair_id: int | None = None
    from_agent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePair(Action):
    pair_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Something that the planner would do, or wishes to, and does not; and why not."""

    #: a router's id, or `pair N`
    subject: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Actions in the order in which they are to be carried out, in one transaction."""

    actions: tuple[Action, ...] = ()
    holds: tuple[Hold, ...] = ()
    #: seconds after which the same facts may give another plan; None: never
    recheck_in: float | None = None
    #: of each open operation
    progress: tuple[Progress, ...] = ()
    #: why what deaths ask for is held back; empty: nothing is
    brake: str = ""


# -- JSON --------------------------------------------------------------------------------


def encode_view(view: View, policy: Policy) -> bytes:
    """The input of a plan as JSON (sets are sorted: the same view gives the same bytes)."""
    return msgspec.json.encode({"policy": policy, "view": view}, order="deterministic")


def decode_view(data: bytes) -> tuple[View, Policy]:
    """Read what `encode_view` wrote. Raises InvalidDocument, which says where it is wrong."""
    try:
        document = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        return (
            msgspec.json.decode(document["view"], type=View),
            msgspec.json.decode(document["policy"], type=Policy),
        )
    except (msgspec.DecodeError, KeyError) as error:
        raise InvalidDocument(f"cannot read a planner's view: {error!r}") from error


def plan_to_builtins(plan: Plan) -> dict[str, Any]:
    """The plan as plain data for JSON; each action names its kind."""
    return {
        "actions": [{"action": type(action).__name__, **dataclasses.asdict(action)} for action in plan.actions],
        "holds": [dataclasses.asdict(hold) for hold in plan.holds],
    }
