"""How fast the API is: gunicorn with two workers, PostgreSQL with durable commits, etcd with 50 agents' heartbeats.

Everything runs on this machine, the clients, too. Neutron's numbers in the details were measured with Neutron 29 on a
machine of the same size.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import http.client
import itertools
import json
import pathlib
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from falcon import testing

from bench.measure import Measured
from haqn import conf as haqn_conf
from haqn.api.app import create_app
from haqn.api.livestate import NoLiveState
from haqn.api.nudge import NoNudge
from haqn.coordination import keys
from haqn.db import tables
from haqn.db.session import Database
from haqn.documents import Heartbeat, encode, to_plain
from haqn.model import AgentType, agent_id
from tests.etcd_cluster import EtcdCluster
from tests.eventually import eventually
from tests.functional.api.server import Server
from tests.sql_servers import PostgreSQL

_AGENTS, _ROUTERS, _PORTS, _CLIENTS, _PAGE = 50, 1000, 10_000, 8, 100
#: routers with which a POST is compared
_FEW, _MANY = 100, 5000
_REPETITIONS = 15
_TURNS = 200
_BODY = {"router": {"name": "bench", "ha": True}}
#: projects with quotas, so that what quotas cost is measured, too; the second is near its limit (`haqn.db.quotas`)
_PROJECT, _NEAR_PROJECT = (uuid.UUID(int=number).hex for number in (1, 2))
_QUOTAS = {_PROJECT: 100_000, _NEAR_PROJECT: 5000}
_NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


def _headers(project: str) -> dict[str, str]:
    return {"X-Project-Id": project, "X-Roles": "admin", "Content-Type": "application/json"}


class _Client:
    """One connection that is kept, as clients' sessions do."""

    def __init__(self, server: Server, project: str = _PROJECT) -> None:
        self._headers = _headers(project)
        self._connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        self._connection.request(method, f"/v2.0/{path}", None if body is None else json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {content[:300]!r}")
        return dict(json.loads(content)) if content else {}


def measure(say: Callable[[str], None]) -> list[Measured]:
    """Run everything; takes about a minute."""
    with _served() as (server, database):
        client = _Client(server)
        for project, most in _QUOTAS.items():
            client.call("PUT", f"quotas/{project}", {"quota": {"router": most}})
        say("API: agents")
        rows = [_agents(client)]
        say(f"API: {_ROUTERS} routers, created by {_CLIENTS} clients")
        rows += _creation(server)
        rows.append(_routers(client))
        rows.append(_creation_near_the_limit(server))
        say(f"API: pages of {_PORTS} ports")
        _insert_ports(database)
        rows += _pages(client)
        rows.append(_memory(server))
        rows += _statements(database)
    say(f"API: {_FEW} and {_MANY} routers")
    rows.append(_growth())
    return rows


@contextmanager
def _served() -> Iterator[tuple[Server, Database]]:
    with (
        tempfile.TemporaryDirectory(prefix="haqn-bench-") as name,
        PostgreSQL(durable=True) as sql,
        EtcdCluster(pathlib.Path(name) / "etcd", size=1) as etcd,
        Server(pathlib.Path(name), etcd.endpoints, workers=2, url=sql.create_database()) as server,
    ):
        database = Database(server.database_url)
        beats = [_heartbeat(number) for number in range(_AGENTS)]
        with database.transaction() as connection:
            connection.execute(tables.agents.insert(), [_agent_row(beat) for beat in beats])
        with etcd.client() as client:
            for beat in beats:
                client.put(keys.agent(beat.agent_type, beat.host), encode(beat))
        eventually(lambda: all(agent["alive"] for agent in _Client(server).call("GET", "agents")["agents"]))
        yield server, database
        database.close()


def _heartbeat(number: int) -> Heartbeat:
    host = f"net{number}"
    return Heartbeat(
        agent_id=agent_id(AgentType.L3, host),
        agent_type=AgentType.L3,
        host=host,
        started_at="2026-01-02T03:04:05",
        ha_address=f"192.0.2.{number}",
    )


def _agent_row(beat: Heartbeat) -> dict[str, Any]:
    return {
        **{"id": beat.agent_id, "agent_type": str(beat.agent_type), "host": beat.host, "binary": "haqn-agent"},
        **{"admin_state_up": True, "heartbeat": to_plain(beat)},
        **{"created_at": _NOW, "started_at": _NOW, "heartbeat_timestamp": _NOW},
    }


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _median(work: Callable[[], object]) -> float:
    work()
    return statistics.median(_timed(work) for _ in range(_REPETITIONS))


def _agents(client: _Client) -> Measured:
    found = client.call("GET", "agents")["agents"]
    assert len(found) == _AGENTS
    value = _median(lambda: client.call("GET", "agents"))
    return Measured(f"GET /v2.0/agents, {_AGENTS} agents", value, "ms", 15, "Neutron: 18 ms")


def _creation(server: Server) -> list[Measured]:
    """The rest of the routers with HA, by several clients at once."""
    rate, latencies = _create_at_once(server, _PROJECT, _ROUTERS)
    what = f"POST /v2.0/routers (ha), {_CLIENTS} clients"
    return [
        Measured(what, rate, "/s", 150, "Neutron: 2/s", at_least=True),
        Measured(f"{what}, latency", statistics.median(itertools.chain(*latencies)), "ms"),
    ]


def _growth() -> Measured:
    """Whether it matters how many routers there are: two servers with databases of their own, asked by turns, because
    the machine itself is faster at one time than at another."""
    with _served() as few, _served() as many:
        clients = []
        for (server, database), count in ((few, _FEW), (many, _MANY)):
            clients.append(_Client(server))
            clients[-1].call("PUT", f"quotas/{_PROJECT}", {"quota": {"router": _QUOTAS[_PROJECT]}})
            _insert_routers(database, count)
        milliseconds: list[list[float]] = [[], []]
        for _ in range(_TURNS):
            for client, found in zip(clients, milliseconds, strict=True):
                found.extend(_create(client, 1))
        first, second = (statistics.median(found[_TURNS // 4 :]) for found in milliseconds)
    what = f"POST /v2.0/routers (ha), median with {_MANY} routers against {_FEW}"
    return Measured(what, second / first, "x", 1.3, f"{first:.1f} ms, {second:.1f} ms")


def _insert_routers(database: Database, count: int) -> None:
    standard = {"project_id": _PROJECT, "created_at": _NOW, "updated_at": _NOW, "status": "ACTIVE"}
    flags = {"admin_state_up": True, "ha": True, "enable_snat": True, "routes": [], "availability_zone_hints": []}
    with database.transaction() as connection:
        rows = [{**standard, **flags, "id": str(uuid.uuid4())} for _ in range(count)]
        connection.execute(tables.routers.insert(), rows)
    _analyze(database)


def _analyze(database: Database) -> None:
    """What autovacuum would do a little later."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _creation_near_the_limit(server: Server) -> Measured:
    """The same for one project that is near its limit: its writers wait for each other."""
    _create(_Client(server, _NEAR_PROJECT), 20)
    rate, _ = _create_at_once(server, _NEAR_PROJECT, _ROUTERS // 2)
    what = f"POST /v2.0/routers (ha), {_CLIENTS} clients of a project near its quota"
    return Measured(what, rate, "/s", 150, "one after the other", at_least=True)


def _create(client: _Client, count: int) -> list[float]:
    """Milliseconds of each."""
    return [_timed(lambda: client.call("POST", "routers", _BODY)) for _ in range(count)]


def _create_at_once(server: Server, project: str, count: int) -> tuple[float, list[list[float]]]:
    """Routers a second, and the milliseconds of each by client."""
    shares = [count // _CLIENTS + (number < count % _CLIENTS) for number in range(_CLIENTS)]
    with concurrent.futures.ThreadPoolExecutor(_CLIENTS) as pool:
        began = time.perf_counter()
        latencies = list(pool.map(lambda share: _create(_Client(server, project), share), shares))
        return count / (time.perf_counter() - began), latencies


def _routers(client: _Client) -> Measured:
    assert len(client.call("GET", "routers")["routers"]) == _ROUTERS
    value = _median(lambda: client.call("GET", "routers"))
    return Measured(f"GET /v2.0/routers, {_ROUTERS} routers", value, "ms", 80, "Neutron: 690-780 ms")


def _insert_ports(database: Database) -> None:
    """By SQL, because only reading is measured."""
    network_id, subnet_id = str(uuid.uuid4()), str(uuid.uuid4())
    standard = {"project_id": _PROJECT, "created_at": _NOW, "updated_at": _NOW, "revision_number": 1}
    up = {**standard, "admin_state_up": True, "status": "ACTIVE"}
    network = {"shared": False, "external": False, "mtu": 1450, "network_type": "local", "availability_zone_hints": []}
    subnet = {"ip_version": 4, "cidr": "10.0.0.0/16", "enable_dhcp": True, "dns_nameservers": [], "host_routes": []}
    numbers = range(_PORTS)
    ids = [str(uuid.uuid4()) for _ in numbers]
    ports = [
        {
            **{**up, "id": ids[n], "network_id": network_id, "binding_profile": {}},
            "mac_address": f"fa:16:3e:00:{n >> 8:02x}:{n & 255:02x}",
        }
        for n in numbers
    ]
    addresses = [
        {"subnet_id": subnet_id, "ip_address": f"10.0.{n >> 8}.{n & 255}", "port_id": ids[n], "position": 0}
        for n in numbers
    ]
    with database.transaction() as connection:
        connection.execute(tables.networks.insert().values(**up, **network, id=network_id))
        connection.execute(tables.subnets.insert().values(**standard, **subnet, id=subnet_id, network_id=network_id))
        connection.execute(tables.ports.insert(), ports)
        connection.execute(tables.ip_allocations.insert(), addresses)
    _analyze(database)


def _pages(client: _Client) -> list[Measured]:
    """All pages, one after the other; the beginning compared with the end."""
    times, marker, seen = [], "", 0
    while True:
        began = time.perf_counter()
        page = client.call("GET", f"ports?limit={_PAGE}{marker}")["ports"]
        times.append((time.perf_counter() - began) * 1000)
        seen += len(page)
        if len(page) < _PAGE:
            break
        marker = f"&marker={page[-1]['id']}"
    assert seen == _PORTS
    full = times[1:-1]
    first, last = statistics.median(full[:20]), statistics.median(full[-20:])
    what = f"GET /v2.0/ports, {_PAGE} of {_PORTS} by marker"
    return [
        Measured(f"{what}, first pages", first, "ms", 20, "Neutron, of 1000 routers: 70 ms"),
        Measured(f"{what}, last pages", last, "ms", 20),
        Measured(f"{what}, last pages against first", last / first, "x", 1.5),
    ]


def _memory(server: Server) -> Measured:
    """Memory of all processes of the API; what they share is counted once."""
    assert server.process is not None
    kib = sum(_pss(pid) for pid in (server.process.pid, *server.workers()))
    return Measured("memory of the API's processes (PSS)", kib / 1024, "MiB", 250, "Neutron: 666-912 MiB")


def _pss(pid: int) -> int:
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _statements(database: Database) -> list[Measured]:
    """SQL statements of one POST of a router; without BEGIN and COMMIT."""
    app = create_app(database, NoLiveState(), NoNudge(), haqn_conf.load([], api__auth_strategy="noauth"))
    client, seen = testing.TestClient(app), []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))

    def count(project: str) -> int:
        for _ in range(2):
            seen.clear()
            answer = client.simulate_post("/v2.0/routers", json={"router": {"ha": True}}, headers=_headers(project))
            assert answer.status_code == 201, answer.text
        return len(seen)

    what = "SQL statements of POST /v2.0/routers (ha)"
    return [
        Measured(what, count(_PROJECT), "", detail="Neutron: 845"),
        Measured(f"{what}, project near its quota", count(_NEAR_PROJECT), ""),
    ]
