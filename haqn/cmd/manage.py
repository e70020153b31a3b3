"""haqn-manage: what an operator does by hand. Exit status: 0 done, 1 not (the reason is on stderr), 2 wrong usage."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from oslo_config import cfg

from haqn import conf as haqn_conf
from haqn.api import extensions
from haqn.clock import SystemClock, isoformat
from haqn.cmd import configcheck, operate, upgradecheck
from haqn.cmd.monitor import settings_of
from haqn.coordination import roles
from haqn.coordination.client import Etcd
from haqn.db import schema
from haqn.db.bindings import get_plan, list_plans
from haqn.db.session import Database
from haqn.exceptions import HaqnError, InvalidDocument
from haqn.monitor.lookon import look_on
from haqn.scheduler.planner import plan
from haqn.scheduler.view import Policy, View, decode_view, encode_view, plan_to_builtins

Command = Callable[[cfg.ConfigOpts, argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parser().parse_args(arguments)
    config_files = [part for path in given.config_file for part in ("--config-file", path)]
    conf = haqn_conf.load(config_files, prog="haqn-manage")
    command: Command = given.command
    try:
        return command(conf, given)
    except HaqnError as error:
        print(f"haqn-manage: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="haqn-manage", description=__doc__)
    parser.add_argument("--config-file", action="append", default=[], metavar="FILE")
    areas = parser.add_subparsers(required=True, metavar="COMMAND")

    db = areas.add_parser("db", help="the database's schema").add_subparsers(required=True)
    db.add_parser("upgrade", help="bring the schema up to date").set_defaults(command=_db_upgrade)
    db.add_parser("check", help="fail unless the schema is up to date").set_defaults(command=_db_check)

    config = areas.add_parser("config", help="the configuration").add_subparsers(required=True)
    config.add_parser("check", help="say everything that is wrong with it").set_defaults(command=_config_check)

    upgrade = areas.add_parser("upgrade", help="upgrades of haqn").add_subparsers(required=True)
    upgrade.add_parser("check", help="0: this version may be started, 1: read the warnings, 2: no").set_defaults(
        command=_upgrade_check
    )

    plans = areas.add_parser("plan", help="what the leader would do now, or has done")
    plans.add_argument("--dry-run", action="store_true", required=False, help="make a plan and write nothing (default)")
    plans.add_argument("--json", action="store_true", help="print the plan with its view, which can be replayed")
    plans.set_defaults(command=_plan_dry_run)
    plan_commands = plans.add_subparsers()
    listing = plan_commands.add_parser("list", help="the plans that were carried out, newest first")
    listing.add_argument("--limit", type=int, default=20)
    listing.set_defaults(command=_plan_list)
    replay = plan_commands.add_parser("replay", help="make a kept plan again from its view, and compare")
    replay.add_argument("plan", metavar="ID|FILE", help="the plan's number, or a file with the output of --json")
    replay.add_argument("--json", action="store_true", help="print the plan with its view")
    replay.set_defaults(command=_plan_replay)

    grants = areas.add_parser("etcd-roles", help="print etcdctl commands that give each process the least rights")
    grants.add_argument("host", nargs="*", metavar="HOST", help="a host with an agent")
    grants.add_argument(
        "--certificates", action="store_true", help="users without passwords, known by their certificates' common names"
    )
    grants.set_defaults(command=_etcd_roles)

    operate.add_commands(areas)
    return parser


def _db_upgrade(conf: cfg.ConfigOpts, _given: argparse.Namespace) -> int:
    schema.upgrade(conf.database.connection)
    for extension in extensions.load():
        if extension.tables is not None:
            schema.create_tables(conf.database.connection, extension.tables)
    return 0


def _db_check(conf: cfg.ConfigOpts, _given: argparse.Namespace) -> int:
    schema.check(conf.database.connection)
    return 0


def _config_check(conf: cfg.ConfigOpts, _given: argparse.Namespace) -> int:
    wrong = configcheck.errors(conf)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def _upgrade_check(conf: cfg.ConfigOpts, _given: argparse.Namespace) -> int:
    return upgradecheck.run(conf)


def _plan_dry_run(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    settings = settings_of(conf)
    view = look_on(Etcd.from_conf(conf), Database(conf.database.connection), settings, SystemClock())
    _print_plan(view, settings.policy, as_json=given.json)
    return 0


def _plan_list(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    with Database(conf.database.connection).read() as connection:
        for stored in list_plans(connection, given.limit):
            actions = [action["action"] for action in stored.plan["actions"]]
            counts = ", ".join(f"{actions.count(name)} {name}" for name in sorted(set(actions)))
            print(f"{stored.number}\t{isoformat(stored.created_at)}\tepoch {stored.epoch}\t{counts}")
    return 0


def _plan_replay(conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    if given.plan.isdecimal():
        with Database(conf.database.connection).read() as connection:
            stored = get_plan(connection, int(given.plan))
        data, before = stored.view, stored.plan
    else:
        data = _read(Path(given.plan))
        before = msgspec.json.decode(data)
    view, policy = decode_view(data)
    made = _print_plan(view, policy, as_json=given.json)
    if before.get("actions") != made["actions"]:
        print("haqn-manage: the plan made now is not the one that was kept", file=sys.stderr)
        return 1
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidDocument(f"cannot read {path}: {error.strerror}") from error


def _print_plan(view: View, policy: Policy, *, as_json: bool) -> Mapping[str, Any]:
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plan_to_builtins(plan(view, policy))))
    if as_json:
        document = {**msgspec.json.decode(encode_view(view, policy)), **made}
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
        return made
    names = {agent.id: agent.host for agent in view.agents}
    for action in made["actions"]:
        print(_line(action, names))
    for hold in made["holds"]:
        print(f"held: {hold['subject']}: {hold['reason']}")
    if not made["actions"] and not made["holds"]:
        print("nothing to do")
    return made


def _line(action: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """`BindToPair router_id=... pair_id=...: the reason`, with agents by their hosts' names."""
    details = " ".join(
        f"{name.removesuffix('_agent_id')}={names.get(value, value)}"
        for name, value in action.items()
        if name not in ("action", "reason") and value is not None
    )
    return f"{action['action']} {details}: {action['reason']}"


def _etcd_roles(_conf: cfg.ConfigOpts, given: argparse.Namespace) -> int:
    wanted = roles.roles(given.host)
    passwords = {} if given.certificates else {name: secrets.token_urlsafe(24) for name in wanted}
    print(roles.script(wanted, passwords), end="")
    return 0
