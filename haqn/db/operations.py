"""What operators ask of the leader, as rows: asked for here, carried out by the leader (`haqn.scheduler.operator`).

To ask for what is asked for already changes nothing: there is one open operation of a kind on a subject.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from haqn.db import eligibility, outbox, tables
from haqn.db.clock import utcnow
from haqn.db.session import Connection
from haqn.db.settings import Settings
from haqn.db.store import Row, Store
from haqn.exceptions import (
    AgentNotFound,
    HaPairNotFound,
    HTTPBadRequest,
    InvalidL3Agent,
    OperationNotFound,
    OperationNotPossible,
    RouterNotFound,
)
from haqn.model import AgentType
from haqn.scheduler.operations import OPEN_STATES, Operation, OperationKind, OperationState, Progress, Step

_operations, _agents, _pairs, _bindings = tables.operations, tables.agents, tables.pairs, tables.bindings

#: operations that are over, and are still told of
_KEPT = 1000

STORE = Store(kind="operation", table=_operations, not_found=OperationNotFound)


# -- asking -------------------------------------------------------------------------------


def create(connection: Connection, _settings: Settings, values: Row) -> Row:
    """Ask for an operation; the one that is open already, if there is one.

    `values`: kind, and of agent_id, pair_id, router_id and dry_run what the kind takes. Raises HTTPBadRequest,
    AgentNotFound, InvalidL3Agent, HaPairNotFound, RouterNotFound, OperationNotPossible.
    """
    kind = OperationKind(values["kind"])
    given = {name for name in ("agent_id", "pair_id", "router_id") if values.get(name) is not None}
    allowed = _TAKES[kind]
    if given - allowed or not any(given >= needed for needed in _NEEDS[kind]):
        takes = " or ".join(" and ".join(sorted(needed)) for needed in _NEEDS[kind]) or "nothing"
        raise HTTPBadRequest(reason=f"A {kind} needs {takes}, and not {', '.join(sorted(given)) or 'nothing'}")
    if kind is OperationKind.DRAIN:
        return drain(connection, values["agent_id"])
    if kind is OperationKind.SWITCHOVER:
        if values.get("pair_id") is not None:
            return switch_over(connection, values["pair_id"], values.get("agent_id"))
        return switch_over_agent(connection, values["agent_id"])
    if kind is OperationKind.REBALANCE:
        return rebalance(connection, dry_run=values.get("dry_run", True))
    return rebuild(connection, values["router_id"], values.get("agent_id"))


_TAKES = {
    OperationKind.DRAIN: {"agent_id"},
    OperationKind.SWITCHOVER: {"agent_id", "pair_id"},
    OperationKind.REBALANCE: set[str](),
    OperationKind.REBUILD: {"agent_id", "router_id"},
}
_NEEDS: dict[OperationKind, list[set[str]]] = {
    OperationKind.DRAIN: [{"agent_id"}],
    OperationKind.SWITCHOVER: [{"pair_id"}, {"agent_id"}],
    OperationKind.REBALANCE: [set()],
    OperationKind.REBUILD: [{"router_id"}],
}


def drain(connection: Connection, agent_id: str) -> Row:
    """Let all routers leave the agent, and none come. Raises AgentNotFound, InvalidL3Agent."""
    _l3_agent(connection, agent_id)
    connection.execute(_agents.update().where(_agents.c.id == agent_id).values(draining=True))
    return leave(connection, agent_id)


def leave(connection: Connection, agent_id: str) -> Row:
    """Follow how the routers leave an agent that is to be left, by `draining` or by `admin_state_up`."""
    return _open(
        connection,
        OperationKind.DRAIN,
        agent_id,
        agent_id=agent_id,
        total=eligibility.count_routers(connection, agent_id),
    )


def switch_over(connection: Connection, pair_id: int, agent_id: str | None = None) -> Row:
    """Let `agent_id` be the active member of the pair; default: the one that is not. Raises HaPairNotFound."""
    pair = connection.execute(sa.select(_pairs).where(_pairs.c.id == pair_id)).one_or_none()
    if pair is None or agent_id not in (None, pair.active_agent_id, pair.backup_agent_id):
        raise HaPairNotFound(pair_id=pair_id)
    step = Step(pair_id=pair_id, agent_id=agent_id or pair.backup_agent_id)
    row = _open(connection, OperationKind.SWITCHOVER, str(pair_id), pair_id=pair_id, agent_id=agent_id, steps=[step])
    steps = msgspec.to_builtins([step])
    if agent_id is not None and row["steps"] != steps:  # the one that is open was for the other member
        _write(connection, row["id"], state=None, steps=steps, carried_out=[], done=0, agent_id=agent_id)
        outbox.record(connection, "operation", row["id"])
    return STORE.bare(connection, row["id"])


def switch_over_agent(connection: Connection, agent_id: str) -> Row:
    """Hand over each pair in which the agent is the active one. Raises AgentNotFound, InvalidL3Agent."""
    _l3_agent(connection, agent_id)
    led = connection.execute(
        sa.select(_pairs.c.id, _pairs.c.backup_agent_id)
        .where(_pairs.c.active_agent_id == agent_id, _pairs.c.id.in_(sa.select(_bindings.c.pair_id)))
        .order_by(_pairs.c.id)
    )
    steps = [Step(pair_id=pair_id, agent_id=backup) for pair_id, backup in led.all()]
    return _open(connection, OperationKind.SWITCHOVER, agent_id, agent_id=agent_id, steps=steps)


def rebalance(connection: Connection, *, dry_run: bool = True) -> Row:
    """Even out actives and standbys. The leader works the moves out; a dry run waits for `approve` then."""
    state = OperationState.PROPOSED if dry_run else OperationState.RUNNING
    row = _open(connection, OperationKind.REBALANCE, "", state=state, total=-1)
    if not dry_run and row["state"] == OperationState.PROPOSED:
        return update(connection, row["id"], {"state": OperationState.RUNNING})
    return row


def rebuild(connection: Connection, router_id: str, agent_id: str | None = None) -> Row:
    """Let the router's standby (`agent_id`, if it is that) be taken down and built again.

    Raises RouterNotFound, OperationNotPossible.
    """
    if connection.scalar(sa.select(tables.routers.c.id).where(tables.routers.c.id == router_id)) is None:
        raise RouterNotFound(router_id=router_id)
    standby = connection.scalar(
        sa.select(_pairs.c.backup_agent_id)
        .join(_bindings, _bindings.c.pair_id == _pairs.c.id)
        .where(_bindings.c.router_id == router_id)
    )
    if standby is None:
        raise OperationNotPossible(reason=f"router {router_id} has no standby")
    if agent_id not in (None, standby):
        raise OperationNotPossible(reason=f"agent {agent_id} is not the standby of router {router_id}")
    step = Step(agent_id=standby, routers=(router_id,))
    return _open(
        connection, OperationKind.REBUILD, router_id, router_id=router_id, agent_id=standby, steps=[step], total=2
    )


def change(connection: Connection, _settings: Settings, operation_id: str, changes: Row) -> Row:
    """What the API calls for `update`."""
    return update(connection, operation_id, changes)


def update(connection: Connection, operation_id: str, changes: Row) -> Row:
    """`state` RUNNING approves what was proposed; CANCELLED ends it, and lets a drained agent take routers again.

    To say it again changes nothing. Raises OperationNotFound, OperationNotPossible.
    """
    row = STORE.bare(connection, operation_id, lock=True)
    wanted = OperationState(changes["state"])
    if wanted == row["state"]:
        return row
    undone = wanted is OperationState.CANCELLED and row["kind"] == OperationKind.DRAIN
    possible = row["state"] in OPEN_STATES and wanted in (OperationState.CANCELLED, OperationState.RUNNING)
    # a drain that has come to its end can still be undone
    if not possible and not undone:
        raise OperationNotPossible(reason=f"operation {operation_id} is {row['state']}, and cannot become {wanted}")
    _write(connection, operation_id, state=wanted)
    if undone:
        take_back(connection, row["agent_id"])
    outbox.record(connection, "operation", operation_id)
    return STORE.bare(connection, operation_id)


def take_back(connection: Connection, agent_id: str) -> None:
    """The agent takes routers again. Raises AgentNotFound, InvalidL3Agent."""
    _l3_agent(connection, agent_id)
    connection.execute(_agents.update().where(_agents.c.id == agent_id).values(draining=False, admin_state_up=True))
    cancel_drains(connection, agent_id)
    outbox.record(connection, "agent", agent_id)


def cancel_drains(connection: Connection, agent_id: str) -> None:
    """The agent takes routers again: nobody waits for it to be empty."""
    for operation_id in connection.scalars(
        sa.select(_operations.c.id).where(_operations.c.open_key == _key(OperationKind.DRAIN, agent_id))
    ).all():
        _write(connection, operation_id, state=OperationState.CANCELLED)


def _open(
    connection: Connection,
    kind: OperationKind,
    subject: str,
    *,
    state: OperationState = OperationState.RUNNING,
    steps: Sequence[Step] = (),
    total: int | None = None,
    agent_id: str | None = None,
    pair_id: int | None = None,
    router_id: str | None = None,
) -> Row:
    key = _key(kind, subject)
    present = connection.execute(sa.select(_operations).where(_operations.c.open_key == key)).mappings().first()
    if present is not None:
        return dict(present)
    now = utcnow()
    row = {
        "id": str(uuid.uuid4()),
        "kind": str(kind),
        "state": str(state),
        "agent_id": agent_id,
        "pair_id": pair_id,
        "router_id": router_id,
        "open_key": key,
        "steps": msgspec.to_builtins(steps),
        "carried_out": [],
        "total": len(steps) if total is None else total,
        "done": 0,
        "waiting_for": "",
        "created_at": now,
        "updated_at": now,
        "finished_at": None,
    }
    connection.execute(_operations.insert().values(row))
    _prune(connection)
    outbox.record(connection, "operation", row["id"])
    return row


def _prune(connection: Connection) -> None:
    """Forget the oldest of those that are over."""
    over = _operations.c.open_key.is_(None)
    newest_first = sa.select(_operations.c.created_at).where(over).order_by(_operations.c.created_at.desc())
    oldest = connection.scalar(newest_first.offset(_KEPT).limit(1))
    if oldest is not None:
        connection.execute(_operations.delete().where(over, _operations.c.created_at <= oldest))


def _key(kind: OperationKind, subject: str) -> str:
    return f"{kind}:{subject}"


def _l3_agent(connection: Connection, agent_id: str) -> None:
    found = connection.scalar(sa.select(_agents.c.agent_type).where(_agents.c.id == agent_id))
    if found is None:
        raise AgentNotFound(agent_id=agent_id)
    if found != AgentType.L3:
        raise InvalidL3Agent(agent_id=agent_id)


# -- what the leader reads and writes ------------------------------------------------------


def read_open(connection: Connection) -> tuple[Operation, ...]:
    """The operations that are not over, oldest first."""
    rows = connection.execute(
        sa.select(_operations)
        .where(_operations.c.open_key.is_not(None))
        .order_by(_operations.c.created_at, _operations.c.id)
    )
    return tuple(
        Operation(
            id=row.id,
            kind=OperationKind(row.kind),
            state=OperationState(row.state),
            agent_id=row.agent_id,
            steps=tuple(msgspec.convert(row.steps, list[Step])),
            carried_out=tuple(row.carried_out),
            total=row.total,
        )
        for row in rows.all()
    )


def note_progress(connection: Connection, progress: Iterable[Progress]) -> None:
    """Write how far operations are. One that somebody has ended meanwhile stays as it is."""
    for now in progress:
        values: dict[str, Any] = {
            "carried_out": list(now.carried_out),
            "done": now.done,
            "total": now.total,
            "waiting_for": now.waiting_for,
        }
        if now.steps is not None:
            values["steps"] = msgspec.to_builtins(now.steps)
        _write(connection, now.operation_id, state=now.outcome, **values)


def _write(connection: Connection, operation_id: str, *, state: OperationState | None, **values: object) -> None:
    """`state` None: as it is."""
    now = utcnow()
    values["updated_at"] = now
    statement = _operations.update().where(_operations.c.id == operation_id)
    if state is not None:
        values["state"] = str(state)
    if state is not None and state not in OPEN_STATES:
        values |= {"finished_at": now, "open_key": None}
    if state is not OperationState.CANCELLED:
        statement = statement.where(_operations.c.open_key.is_not(None))
    connection.execute(statement.values(values))
