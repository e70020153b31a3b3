"""What SQL, etcd, the API and the hosts say: asked from outside, with nobody's help."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing

from haqn.agent import names
from haqn.coordination import keys
from haqn.exceptions import HaqnError, HostError
from haqn.lab import etcdctl, faults
from haqn.lab.chaos.inflict import database_file
from haqn.lab.chaos.world import World
from haqn.lab.client import Client
from haqn.lab.scenery import Scenery
from haqn.model import VrrpState

_API_TIMEOUT = 10.0
#: of each binding its router and the hosts of its pair, or its one host
_BINDINGS = """
SELECT b.router_id, a.host FROM bindings b JOIN pairs p ON p.id = b.pair_id
JOIN agents a ON a.id IN (p.active_agent_id, p.backup_agent_id)
UNION ALL SELECT b.router_id, a.host FROM bindings b JOIN agents a ON a.id = b.agent_id
"""
_PAIRS = "SELECT p.id, a.host FROM pairs p JOIN agents a ON a.id IN (p.active_agent_id, p.backup_agent_id)"
_TABLES = {"network": "networks", "router": "routers"}


class Witness:
    """Looks at one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lab = world.lab

    # -- SQL ----------------------------------------------------------------------------------

    def rows(self) -> dict[str, dict[str, str]]:
        """Kind -> id -> name of all networks and routers."""
        return {kind: dict(self._select(f"SELECT id, name FROM {table}")) for kind, table in _TABLES.items()}  # noqa: S608 - of the table above

    def bound(self) -> dict[str, set[str]]:
        """Router -> hosts that it is bound to."""
        return _gathered(self._select(_BINDINGS))

    def pairs(self) -> dict[str, set[str]]:
        """Host -> ids of its pairs."""
        return _gathered((host, str(pair_id)) for pair_id, host in self._select(_PAIRS))

    def _select(self, query: str) -> list[tuple[str, str]]:
        uri = f"file:{database_file(self._lab)}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query).fetchall()

    # -- one host -----------------------------------------------------------------------------

    def not_recovered(self, host: str) -> str:
        """Why the host, on which no fault is in force, is not whole again; empty: it is."""
        try:
            reasons = etcdctl.unsettled(self._lab, [host])
            if reasons:
                return reasons[host]
            reports = etcdctl.pair_reports(self._lab, host)
        except HostError as error:
            return str(error)
        if reports and not faults.program(self._lab.host(host), faults.KEEPALIVED):
            return "keepalived does not run"
        for report in reports:
            if report.state is VrrpState.FAULT or report.yielding:
                return f"pair {report.pair_id} is {report.state}{', yields' if report.yielding else ''}"
        return ""

    # -- the whole cluster --------------------------------------------------------------------

    def not_whole(self, forwarders: dict[str, set[str]]) -> list[str]:
        """What is not as it must be in the end when no fault is in force; empty: everything is.

        `forwarders`: router -> hosts that let its frames pass, by the kernels' word.
        """
        try:
            with Client(self._lab.spec.api_url, timeout=_API_TIMEOUT) as client:
                return [
                    *(f"agent {one['host']} is dead" for one in client.find("agent") if not one["alive"]),
                    *self._routers(client, forwarders),
                    *(f"{host}: {why}" for host in self._world.hosts if (why := self.not_recovered(host))),
                    *self._left_over(client),
                ]
        except (HaqnError, OSError, sqlite3.Error) as error:
            return [f"{type(error).__name__}: {error}"]

    def _routers(self, client: Client, forwarders: dict[str, set[str]]) -> Iterable[str]:
        scenery = Scenery(self._lab, client)
        for one in self._world.routed:
            states = scenery.states(one.router_id)
            active = {host for host, state in states.items() if state == "active"}
            if sorted(states.values()) != ["active", "standby"]:
                yield f"{one.name} is not redundant: {states}"
            elif forwarders[one.router_id] != active:
                yield f"{one.name} is active on {active} and forwarded by {forwarders[one.router_id]}"
            else:
                pair = etcdctl.pair_of(self._lab, one.router_id)
                designated = set() if pair is None else set(etcdctl.designated(self._lab, pair, self._world.hosts))
                if designated != active:
                    yield f"{one.name} is active on {active}, and its pair {pair} is designated to {designated}"

    def _left_over(self, client: Client) -> Iterable[str]:
        """Hosts have what is in SQL, documents say the same, and there is nothing more."""
        bound, pairs = self.bound(), self.pairs()
        known = {router["id"] for router in client.find("router")}
        if set(bound) != known:
            yield f"routers and bindings differ: {known ^ set(bound)}"
        for host in self._world.hosts:
            wanted = {router for router, hosts in bound.items() if host in hosts}
            listing = self._lab.host(host).run(["ip", "-json", "netns", "list"]).stdout or "[]"
            found = {entry["name"] for entry in json.loads(listing)}
            present = {
                name.removeprefix(names.NAMESPACE_PREFIX) for name in found if name.startswith(names.NAMESPACE_PREFIX)
            }
            if present != wanted:
                yield f"{host} has {len(present - wanted)} namespaces too many and {len(wanted - present)} too few"
            documents = [keys.split_desired(entry.key) for entry in etcdctl.get(self._lab, keys.desired(host))]
            for kind, expected in (("routers", wanted), ("pairs", pairs.get(host, set()))):
                written = {object_id for _, found, object_id in documents if found == kind}
                if written != expected:
                    yield f"{host} has documents of {kind} {sorted(written)}, and SQL has {sorted(expected)}"


def _gathered(rows: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, value in rows:
        found.setdefault(key, set()).add(value)
    return found
