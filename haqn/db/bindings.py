"""What the leader writes: agents, pairs, bindings, plans, and status; each transaction compares the leader's epoch.

A monitor that was paused finds another epoch in the `leadership` row, and changes nothing
(StaleLeader). Facts that a plan was made from are compared again in the transaction that
writes it (PlanOutdated). Knows nothing of etcd, and decides nothing.
"""

from __future__ import annotations

import base64
import datetime
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from haqn.db import tables
from haqn.db.clock import utcnow
from haqn.db.session import Connection, Database
from haqn.db.snapshot import PAIR_SEQUENCE, FloatingIpFact, next_pair_id
from haqn.db.store import select_in
from haqn.documents import Heartbeat, to_plain
from haqn.exceptions import PairNotFound, PlanNotFound, PlanOutdated, StaleLeader
from haqn.model import agent_id
from haqn.scheduler.view import (
    BindToAgent,
    BindToPair,
    CreatePair,
    DeletePair,
    Designate,
    Plan,
    Policy,
    View,
    encode_view,
    plan_to_builtins,
)

T = TypeVar("T")

_LEADERSHIP_ROW = 1
_AGENT_BINARY = "haqn-agent"


def begin_term(database: Database, holder: str) -> int:
    """Take the leadership in SQL; the new epoch, larger than any before. From now on all older leaders' writes fail."""
    table = tables.leadership

    def work(connection: Connection) -> int:
        taken = connection.execute(table.update().values(epoch=table.c.epoch + 1, holder=holder))
        if taken.rowcount == 0:
            connection.execute(table.insert().values(id=_LEADERSHIP_ROW, epoch=1, holder=holder))
        epoch: int = connection.execute(sa.select(table.c.epoch)).scalar_one()
        return epoch

    return database.write(work)


@dataclass(frozen=True, slots=True)
class LeaderWriter:
    """Writes of one term. Every method raises StaleLeader when the term is over, and DatabaseUnavailable."""

    database: Database
    epoch: int

    def write(self, work: Callable[[Connection], T]) -> T:
        """`work` in one transaction, if this term still lasts."""

        def guarded(connection: Connection) -> T:
            table = tables.leadership
            # an update, not a select: it also locks the row, so that nobody begins a term before this commit
            held = connection.execute(
                table.update()
                .where(table.c.id == _LEADERSHIP_ROW, table.c.epoch == self.epoch)
                .values(holder=table.c.holder)
            )
            if held.rowcount != 1:
                raise StaleLeader(f"cannot write as the leader of epoch {self.epoch}: another monitor leads")
            return work(connection)

        return self.database.write(guarded)

    def note_agents(self, heartbeats: Iterable[Heartbeat], ended: Iterable[str], *, enable_new: bool = True) -> None:
        """Insert or update the row of each heartbeat that began or changed, and note the end of others (agent ids).

        Without `enable_new` an agent that was never seen before is given no work until an operator allows it.
        """
        beats, lost = list(heartbeats), list(ended)

        def work(connection: Connection) -> None:
            for beat in beats:
                _upsert_agent(connection, beat, enable_new=enable_new)
            if lost:
                connection.execute(
                    tables.agents.update().where(tables.agents.c.id.in_(lost)).values(heartbeat_timestamp=utcnow())
                )

        self.write(work)

    def apply(self, plan: Plan, view: View, policy: Policy, *, keep_plans: int) -> int:
        """Carry the plan out and keep it with its view; returns its number (0: not kept).

        Routers that were deleted since the view was taken are left out. Raises PlanOutdated when
        anything else is not as the view has it: nothing is written then.
        """
        document = {
            "plan": plan_to_builtins(plan),
            # thousands of routers make megabytes of JSON, and the same again with the next plan
            "view": base64.b64encode(zlib.compress(encode_view(view, policy), 1)).decode(),
        }

        def work(connection: Connection) -> int:
            _apply_actions(connection, plan)
            return _keep_plan(connection, document, self.epoch, keep_plans) if keep_plans else 0

        return self.write(work)

    def set_active(
        self, routers: Sequence[str], ports: Sequence[str], floating_ips: Sequence[FloatingIpFact] = ()
    ) -> None:
        """What its hosts have carried out; a floating IP that leads elsewhere by now is left as it is."""

        def work(connection: Connection) -> None:
            for table, ids in ((tables.routers, routers), (tables.ports, ports)):
                if ids:
                    statement = table.update().where(table.c.id == sa.bindparam("object_id")).values(status="ACTIVE")
                    connection.execute(statement, [{"object_id": object_id} for object_id in ids])
            if floating_ips:
                _set_floating_ips_active(connection, floating_ips)

        self.write(work)

    def prune_outbox(self, up_to: int) -> None:
        """Delete lines that were seen long ago."""

        def work(connection: Connection) -> None:
            connection.execute(tables.outbox.delete().where(tables.outbox.c.id <= up_to))

        self.write(work)


def _set_floating_ips_active(connection: Connection, floating_ips: Iterable[FloatingIpFact]) -> None:
    table = tables.floatingips
    known = ("id", "router_id", "fixed_ip_address")
    statement = (
        table.update()
        .where(*(table.c[name] == sa.bindparam(f"known_{name}") for name in known))
        .values(status="ACTIVE")
    )
    connection.execute(
        statement, [{f"known_{name}": getattr(floating_ip, name) for name in known} for floating_ip in floating_ips]
    )


def switch_over(connection: Connection, pair_id: int) -> None:
    """An operator's planned switchover: the designated roles of the pair are swapped. Raises PairNotFound.

    Needs no leadership: like the leader's own, the change is made only from the epoch that it was decided at.
    """
    table = tables.pairs
    pair = connection.execute(sa.select(table).where(table.c.id == pair_id).with_for_update()).one_or_none()
    if pair is None:
        raise PairNotFound(f"there is no pair {pair_id}")
    _designate(connection, pair_id, pair.backup_agent_id, pair.active_agent_id, pair.epoch + 1)


# -- plans --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredPlan:
    number: int
    created_at: datetime.datetime
    epoch: int
    #: `plan_to_builtins`
    plan: Mapping[str, Any]
    #: `encode_view`
    view: bytes


def list_plans(connection: Connection, limit: int) -> list[StoredPlan]:
    """The newest plans, newest first."""
    rows = connection.execute(sa.select(tables.plans).order_by(tables.plans.c.id.desc()).limit(limit))
    return [_stored_plan(row) for row in rows]


def get_plan(connection: Connection, number: int) -> StoredPlan:
    """One plan. Raises PlanNotFound."""
    row = connection.execute(sa.select(tables.plans).where(tables.plans.c.id == number)).one_or_none()
    if row is None:
        raise PlanNotFound(f"there is no plan {number}; plans are kept as [monitor] keep_plans says")
    return _stored_plan(row)


def _stored_plan(row: sa.Row[Any]) -> StoredPlan:
    view = zlib.decompress(base64.b64decode(row.document["view"]))
    return StoredPlan(row.id, row.created_at, row.epoch, row.document["plan"], view)


def _keep_plan(connection: Connection, document: Mapping[str, Any], epoch: int, keep: int) -> int:
    table = tables.plans
    result = connection.execute(table.insert().values(created_at=utcnow(), epoch=epoch, document=document))
    number: int = result.inserted_primary_key[0] if result.inserted_primary_key else 0
    connection.execute(table.delete().where(table.c.id <= number - keep))
    return number


# -- agents -------------------------------------------------------------------------------


def _upsert_agent(connection: Connection, beat: Heartbeat, *, enable_new: bool) -> None:
    table = tables.agents
    row_id = agent_id(beat.agent_type, beat.host)
    now = utcnow()
    values = {
        "availability_zone": beat.zone,
        "heartbeat": to_plain(beat),
        "started_at": _moment(beat.started_at, now),
        "heartbeat_timestamp": now,
    }
    updated = connection.execute(table.update().where(table.c.id == row_id).values(values))
    if updated.rowcount == 0:
        connection.execute(
            table.insert().values(
                id=row_id,
                agent_type=str(beat.agent_type),
                host=beat.host,
                binary=_AGENT_BINARY,
                admin_state_up=enable_new,
                draining=False,
                created_at=now,
                **values,
            )
        )


def _moment(text: str, otherwise: datetime.datetime) -> datetime.datetime:
    """An agent's ISO 8601 time as a column takes it; an unreadable one must not keep the agent out of SQL."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return otherwise
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return moment.replace(microsecond=0)


# -- actions ------------------------------------------------------------------------------


def _apply_actions(connection: Connection, plan: Plan) -> None:
    created = [action for action in plan.actions if isinstance(action, CreatePair)]
    bound = [action for action in plan.actions if isinstance(action, BindToPair | BindToAgent)]
    _create_pairs(connection, created)
    for action in plan.actions:
        if isinstance(action, Designate) and not _designate(
            connection, action.pair_id, action.active_agent_id, action.backup_agent_id, action.epoch
        ):
            raise PlanOutdated(f"pair {action.pair_id} is not at epoch {action.epoch - 1} any more")
    _bind(connection, bound)
    deleted = [action.pair_id for action in plan.actions if isinstance(action, DeletePair)]
    if deleted:
        connection.execute(tables.pairs.delete().where(tables.pairs.c.id.in_(deleted)))


def _create_pairs(connection: Connection, created: Sequence[CreatePair]) -> None:
    if not created:
        return
    first = next_pair_id(connection)
    if [action.pair_id for action in created] != list(range(first, first + len(created))):
        raise PlanOutdated(f"the next pair is {first}, the plan creates {created[0].pair_id}")
    sequence = tables.sequences
    after = first + len(created)
    advanced = connection.execute(sequence.update().where(sequence.c.name == PAIR_SEQUENCE).values(next_value=after))
    if advanced.rowcount == 0:
        connection.execute(sequence.insert().values(name=PAIR_SEQUENCE, next_value=after))
    connection.execute(
        tables.pairs.insert(),
        [
            {
                "id": action.pair_id,
                "active_agent_id": action.active_agent_id,
                "backup_agent_id": action.backup_agent_id,
                "vr_id": action.vr_id,
                "epoch": 1,
                "created_at": utcnow(),
            }
            for action in created
        ],
    )


def _designate(connection: Connection, pair_id: int, active: str, backup: str, epoch: int) -> bool:
    """Give the roles, from exactly the epoch before; says whether the pair was at it."""
    table = tables.pairs
    changed = connection.execute(
        table.update()
        .where(
            table.c.id == pair_id,
            table.c.epoch == epoch - 1,
            table.c.active_agent_id.in_((active, backup)),
            table.c.backup_agent_id.in_((active, backup)),
        )
        .values(active_agent_id=active, backup_agent_id=backup, epoch=epoch)
    )
    return changed.rowcount == 1


def _bind(connection: Connection, actions: Sequence[BindToPair | BindToAgent]) -> None:
    if not actions:
        return
    routers, bindings = tables.routers, tables.bindings
    wanted = [action.router_id for action in actions]
    existing = {row["id"] for row in select_in(connection, sa.select(routers.c.id), routers.c.id, wanted)}
    present = {
        row["router_id"]: (row["pair_id"], row["agent_id"])
        for row in select_in(connection, sa.select(bindings), bindings.c.router_id, wanted)
    }
    inserts: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    for action in actions:
        if action.router_id not in existing:
            continue
        seen = (action.from_pair_id, action.from_agent_id)
        if present.get(action.router_id, (None, None)) != seen:
            raise PlanOutdated(f"router {action.router_id} is not bound as the plan has it")
        pair_id = action.pair_id if isinstance(action, BindToPair) else None
        on_agent = action.agent_id if isinstance(action, BindToAgent) else None
        if seen == (None, None):
            inserts.append(
                {"router_id": action.router_id, "pair_id": pair_id, "agent_id": on_agent, "created_at": utcnow()}
            )
        else:
            updates.append({"bound_router": action.router_id, "new_pair": pair_id, "new_agent": on_agent})
    if inserts:
        connection.execute(bindings.insert(), inserts)
    if updates:
        statement = bindings.update().where(bindings.c.router_id == sa.bindparam("bound_router"))
        connection.execute(
            statement.values(pair_id=sa.bindparam("new_pair"), agent_id=sa.bindparam("new_agent")), updates
        )
