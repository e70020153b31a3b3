"""haqn-manage's commands for operations: drain, switchover, rebalance, rebuild; brakes and the failover ledger.

They write what is wanted to SQL, as the API does; the leader carries it out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from oslo_config import cfg

from haqn.api.overview import why_not_stop
from haqn.clock import SystemClock, isoformat
from haqn.cmd.monitor import settings_of
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.db import ledger, monitorstatus, operations, outbox, overview
from haqn.db.session import Connection, Database
from haqn.db.store import Query, Row
from haqn.documents import PairReport, SyncReport, decode
from haqn.exceptions import AgentNotFound, CoordinationError
from haqn.model import AgentType, VrrpState, agent_id
from haqn.monitor.lookon import look_on
from haqn.scheduler import rebalance
from haqn.scheduler.board import Board
from haqn.scheduler.operations import OPEN_STATES, OperationState

#: seconds between two looks at an operation that is waited for
_LOOK = 0.5

T = TypeVar("T")
Command = Callable[[cfg.ConfigOpts, argparse.Namespace], int]


def add_commands(areas: Any) -> None:  # noqa: ANN401 argparse's type of this has no public name
    """Add the commands to haqn-manage's parser."""

    def add(name: str, command: Command, about: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = areas.add_parser(name, help=about)
        parser.set_defaults(command=command)
        return parser

    def add_waiting(name: str, command: Command, about: str) -> argparse.ArgumentParser:
        parser = add(name, command, about)
        parser.add_argument("--wait", action="store_true", help="until it is over; the exit status is its outcome")
        return parser

    add_waiting("drain", _drain, "let all routers leave a host's L3 agent").add_argument("host")
    add("undrain", _undrain, "let the agent take routers again").add_argument("host")
    add("safe-to-stop", _safe_to_stop, "whether a host may be stopped: 0 yes, 1 no").add_argument("host")
    switchover = add_waiting("switchover", _switchover, "let the other member of a pair be the active one")
    switchover.add_argument("pair", type=int, nargs="*", metavar="PAIR")
    switchover.add_argument("--agent", metavar="HOST", help="all pairs that this host's agent leads")
    balance = add_waiting("rebalance", _rebalance, "say which routers would move to even out the load")
    balance.add_argument("--go", action="store_true", help="and move them")
    rebuild = add_waiting("rebuild", _rebuild, "take a router's standby down and build it again")
    rebuild.add_argument("router", metavar="ROUTER")
    listing = add("operations", _operations, "what was asked for, newest first, and how far it is")
    listing.add_argument("--limit", type=int, default=20)
    listing.add_argument("--approve", metavar="ID")
    listing.add_argument("--cancel", metavar="ID")
    brakes = add("brakes", _brakes, "what the leader holds back, and why")
    brakes.add_argument("--release", action="store_true", help="believe the deaths that are held back now")
    brakes.add_argument("--seconds", type=int, default=600, help="for so long")
    brakes.add_argument("--withdraw", action="store_true", help="do not believe them any more")
    events = add("events", _events, "the failover ledger, newest first")
    events.add_argument("--limit", type=int, default=20)
    events.add_argument("--router", metavar="ID")
    events.add_argument("--pair", type=int)


# -- operations ---------------------------------------------------------------------------


def _drain(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    return _ask(conf, given, lambda connection: [operations.drain(connection, _agent(given.host))])


def _undrain(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    _write(conf, lambda connection: operations.take_back(connection, _agent(given.host)))
    return 0


def _switchover(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    def work(connection: Connection) -> list[Row]:
        if given.agent is not None:
            return [operations.switch_over_agent(connection, _agent(given.agent))]
        return [operations.switch_over(connection, pair_id) for pair_id in given.pair]

    if bool(given.pair) == (given.agent is not None):
        print("haqn-manage: either pairs or --agent HOST", file=sys.stderr)
        return 2
    return _ask(conf, given, work)


def _rebalance(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    if given.go:
        return _ask(conf, given, lambda connection: [operations.rebalance(connection, dry_run=False)])
    settings = settings_of(conf)
    view = look_on(Etcd.from_conf(conf), _database(conf), settings, SystemClock())
    board = Board(view, settings.policy)
    for step in rebalance.moves(view, board):
        source, target = board.host(str(step.from_agent_id)), board.host(step.agent_id)
        what = "standbys" if step.standby else "actives"
        print(f"{source} -> {target}: {what} of {len(step.routers)} routers: {' '.join(step.routers)}")
    return 0


def _rebuild(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    return _ask(conf, given, lambda connection: [operations.rebuild(connection, given.router)])


def _operations(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    for wanted, state in ((given.approve, OperationState.RUNNING), (given.cancel, OperationState.CANCELLED)):
        if wanted is not None:
            _write(conf, partial(operations.update, operation_id=wanted, changes={"state": state}))
    with _database(conf).read() as connection:
        query = Query(sort=[("created_at", True)], limit=given.limit)
        for row in operations.STORE.list(connection, query):
            _print_operation(row)
    return 0


def _ask(conf: cfg.ConfigOpts, given: argparse.Namespace, work: Callable[[Connection], list[Row]]) -> int:
    """Ask for operations; print them, and follow them to their end if that is wanted."""
    rows = _write(conf, work)
    for row in rows:
        _print_operation(row)
    if not given.wait:
        return 0
    database, shown = _database(conf), {row["id"]: row for row in rows}
    while any(row["state"] in OPEN_STATES for row in shown.values()):
        time.sleep(_LOOK)
        for operation_id, before in list(shown.items()):
            with database.read() as connection:
                now = operations.STORE.bare(connection, operation_id)
            if any(now[name] != before[name] for name in ("state", "done", "waiting_for")):
                _print_operation(now)
            shown[operation_id] = now
    return 0 if all(row["state"] == OperationState.DONE for row in shown.values()) else 1


def _print_operation(row: Row) -> None:
    subject = row["agent_id"] or row["pair_id"] or row["router_id"] or ""
    waiting = f": {row['waiting_for']}" if row["waiting_for"] else ""
    total = row["total"] if row["total"] >= 0 else "?"
    print(f"{row['id']}\t{row['kind']} {subject}\t{row['state']}\t{row['done']}/{total}{waiting}", flush=True)


# -- safe to stop -------------------------------------------------------------------------


def _safe_to_stop(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    agent, etcd = _agent(given.host), Etcd.from_conf(conf)
    with _database(conf).read() as connection:
        if agent not in overview.hosts(connection):
            raise AgentNotFound(agent_id=given.host)
        load = overview.loads(connection).get(agent, overview.Load())
        pairs = overview.pairs_with_routers(connection).get(agent, [])
    alive = etcd.get(keys.agent(AgentType.L3, given.host)) is not None
    leads = [
        pair_id
        for pair_id in pairs
        if (item := etcd.get(keys.observed_pair(given.host, pair_id))) is not None
        and decode(item.value, PairReport).state is VrrpState.MASTER
    ]
    sync = etcd.get(keys.observed_sync(given.host))
    built = decode(sync.value, SyncReport).routers if sync is not None else None
    because = why_not_stop(load, leads, alive=alive, built=built)
    print(f"no, because {because}" if because else "yes, because no router is on it")
    return 1 if because else 0


# -- brakes and events --------------------------------------------------------------------


def _brakes(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    if given.release:
        _write(conf, lambda connection: monitorstatus.release_held(connection, None, given.seconds))
    if given.withdraw:
        _write(conf, monitorstatus.withdraw_release)
    with _database(conf).read() as connection:
        status, release = monitorstatus.read_status(connection), monitorstatus.read_release(connection)
    if status is None or not status.frozen:
        print("nothing is held back")
    else:
        print(f"held back since {isoformat(status.since)}: {status.reason}")
        for name, count in sorted(status.document["would_do_counts"].items()):
            print(f"would do: {count} {name}")
    if release is not None:
        print(f"released until {isoformat(release.expires_at)}: {len(release.agents)} deaths")
    return 0


def _events(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    filters = {"router_id": [given.router] if given.router else None, "pair_id": [given.pair] if given.pair else None}
    query = Query(
        filters={name: values for name, values in filters.items() if values},
        sort=[("number", True)],
        limit=given.limit,
    )
    with _database(conf).read() as connection:
        hosts = overview.hosts(connection)
        rows = ledger.STORE.list(connection, query)
    for row in rows:
        source, target = (hosts.get(row[name] or "", "-") for name in ("from_agent_id", "to_agent_id"))
        outage = "goes on" if row["ended_at"] is None else f"outage about {row['outage_ms']} ms"
        print(
            f"{row['number']}\t{isoformat(row['started_at'])}\t{row['kind']}\t{row['cause']}\t"
            f"pair {row['pair_id']}\t{source} -> {target}\t{row['routers']} routers\t{outage}"
        )
    return 0


# -- common -------------------------------------------------------------------------------


def _agent(host: str) -> str:
    return agent_id(AgentType.L3, host)


def _database(conf: cfg.ConfigOpts) -> Database:
    return Database(conf.database.connection)


def _write(conf: cfg.ConfigOpts, work: Callable[[Connection], T]) -> T:
    """`work` in a transaction; then the leader is told."""

    def recorded(connection: Connection) -> tuple[T, int]:
        return work(connection), outbox.last_recorded(connection)

    result, line = _database(conf).write(recorded)
    if line:
        _nudge(Etcd.from_conf(conf), line)
    return result


def _nudge(etcd: Etcd, line: int) -> None:
    """Wake the leader; it looks by itself soon if this is lost."""
    try:
        etcd.put(keys.NUDGE, str(line).encode(), deadline=1.0)
    except CoordinationError as error:
        print(f"haqn-manage: the leader is not told, it will look by itself: {error}", file=sys.stderr)
