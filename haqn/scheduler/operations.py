"""What operators ask of the leader, as the planner sees it: operations, their steps, and how far they are.

An operation lives in SQL and is carried out little by little, each time from the facts of the moment, so that any
leader can go on with it. Knows no SQL and decides nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class OperationKind(enum.StrEnum):
    #: all routers leave an agent
    DRAIN = "drain"
    #: the other member of a pair becomes the active one; or of each pair that an agent leads
    SWITCHOVER = "switchover"
    #: routers move from agents with many to agents with few, actives first, then standbys
    REBALANCE = "rebalance"
    #: a standby is taken down and built again
    REBUILD = "rebuild"


class OperationState(enum.StrEnum):
    #: it has been worked out and waits for an operator's yes
    PROPOSED = "proposed"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


OPEN_STATES = (OperationState.PROPOSED, OperationState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do: `agent_id` becomes the active one of the pair, or of the routers, or their standby; or builds a
    router anew."""

    agent_id: str
    pair_id: int | None = None
    #: rebalance: who is what `agent_id` is to be
    from_agent_id: str | None = None
    routers: tuple[str, ...] = ()
    #: rebalance: it is to stand by for the routers; their active one stays
    standby: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An open operation."""

    id: str
    kind: OperationKind
    state: OperationState
    agent_id: str | None = None
    steps: tuple[Step, ...] = ()
    #: places in `steps` of what was done, for good; of a rebuild: 0 taken down, 1 built again
    carried_out: tuple[int, ...] = ()
    #: routers of a drain or rebalance, steps of the others; -1: not counted yet
    total: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an operation is now; what SQL must say of it."""

    operation_id: str
    carried_out: tuple[int, ...] = ()
    done: int = 0
    total: int = 0
    #: why nothing moves at the moment; for people
    waiting_for: str = ""
    #: DONE, CANCELLED or FAILED when it is over
    outcome: OperationState | None = None
    #: not None: these were worked out now
    steps: tuple[Step, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """An operator's word that the deaths of these agents are to be believed."""

    agents: frozenset[str]
    #: seconds
    remaining: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unready:
    """A living member of a router's that has not carried out what it should of it."""

    router_id: str
    agent_id: str
    #: why it cannot; empty: it has not come to it yet
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A standby that was to be taken down, and is."""

    router_id: str
    agent_id: str
