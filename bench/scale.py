"""How the control plane does with many agents: real haqn-monitor, PostgreSQL and etcd; agents that only talk.

The agents share one process here: leases, heartbeats and reports are real, hosts are not. What they cost is not
counted.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from bench.measure import Measured
from haqn.clock import SystemClock
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.operations import Put, batches
from haqn.coordination.state import Changed, Deleted, Event
from haqn.db import outbox, schema, tables
from haqn.db.clock import utcnow
from haqn.db.owners import DeviceOwner
from haqn.db.session import Connection, Database
from haqn.documents import Heartbeat, Manifest, PairDocument, PairReport, SyncReport, decode, encode
from haqn.exceptions import CoordinationError
from haqn.model import AgentType, Role, VrrpState, agent_id
from haqn.monitor.lookon import look_on
from haqn.monitor.term import Settings
from haqn.scheduler.planner import plan
from haqn.scheduler.view import Policy
from tests.etcd_cluster import EtcdCluster
from tests.eventually import eventually
from tests.sql_servers import PostgreSQL

_TTL = 10
_BEATS_AT_ONCE = 8
_ZONES = "abc"
#: seconds for which nothing may happen and CPU time is counted
_REST = 30.0
_STANDARD = {"project_id": "p", "name": "", "description": "", "revision_number": 1}


@dataclass
class _Host:
    """One simulated agent."""

    name: str
    number: int
    lease: int = 0
    alive: bool = True
    manifest: Manifest | None = None
    pairs: dict[int, PairDocument] = field(default_factory=dict)
    routers: set[str] = field(default_factory=set)
    count: int = 0
    #: pair -> what was reported
    told: dict[int, tuple[VrrpState, int]] = field(default_factory=dict)
    applied: int = -1


class Agents:
    """All of them; they carry everything out at once."""

    def __init__(self, etcd: Etcd, count: int) -> None:
        self._etcd = etcd
        self.hosts = {f"net{number:03}": _Host(f"net{number:03}", number) for number in range(count)}
        self._lock = threading.Lock()
        self._dirty: set[str] = set()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._informer = Informer(etcd, keys.DESIRED, self._on_event)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._beat, self._report)]

    def start(self) -> None:
        for host in self.hosts.values():
            host.lease = self._etcd.grant(_TTL).lease
            self._etcd.put(keys.agent(AgentType.L3, host.name), encode(_heartbeat(host)), host.lease)
        self._informer.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self._informer.stop()

    def kill(self, name: str) -> None:
        """The host is gone: its peers notice at once, its lease ends now."""
        with self._lock:
            self.hosts[name].alive = False
            self._dirty |= {document.peer_host for document in self.hosts[name].pairs.values()}
        self._wake.set()
        self._etcd.revoke(self.hosts[name].lease)

    def built(self, routers: set[str]) -> int:
        """How many of the routers have complete documents on two living hosts."""
        with self._lock:
            complete = [h.routers & routers for h in self.hosts.values() if h.alive and _complete(h)]
        seen: set[str] = set()
        twice: set[str] = set()
        for found in complete:
            twice |= seen & found
            seen |= found
        return len(twice)

    def is_quiet(self) -> bool:
        """Every living agent has carried out what it is told."""
        with self._lock:
            return not self._dirty and all(
                not h.alive or (_complete(h) and h.manifest is not None and h.applied == h.manifest.generation)
                for h in self.hosts.values()
            )

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, Changed | Deleted):
            return
        changed = isinstance(event, Changed)
        item = event.item if isinstance(event, Changed) else event.before
        name, kind, object_id = keys.split_desired(item.key)
        with self._lock:
            host = self.hosts[name]
            new = isinstance(event, Changed) and event.before is None
            if kind == "manifest":
                host.manifest = decode(item.value, Manifest) if changed else None
            else:
                host.count += 1 if new else 0 if changed else -1
            if kind == "pairs" and changed:
                host.pairs[int(object_id)] = decode(item.value, PairDocument)
            elif kind == "pairs":
                host.pairs.pop(int(object_id), None)
            elif kind == "routers":
                (host.routers.add if changed else host.routers.discard)(object_id)
            self._dirty.add(name)
        self._wake.set()

    def _beat(self) -> None:
        # one after the other they would be late while this process is busy: real agents do not wait for each other
        with ThreadPoolExecutor(_BEATS_AT_ONCE) as pool:
            while not self._stopping.wait(_TTL / 4):
                list(pool.map(self._keep_alive, self.hosts.values()))

    def _keep_alive(self, host: _Host) -> None:
        if host.alive:
            with contextlib.suppress(CoordinationError):
                self._etcd.keepalive(host.lease)

    def _report(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                due, self._dirty = self._dirty, set()
                puts = {name: self._reports(self.hosts[name]) for name in due if self.hosts[name].alive}
            for name, values in puts.items():
                lease = self.hosts[name].lease
                for batch in batches(values, ()):
                    with contextlib.suppress(CoordinationError):
                        self._etcd.transact([Put(put.key, put.value, lease) for put in batch if isinstance(put, Put)])

    def _reports(self, host: _Host) -> dict[str, bytes]:
        if host.manifest is None or not _complete(host):
            return {}
        values: dict[str, bytes] = {}
        for pair_id, document in host.pairs.items():
            master = document.role is Role.ACTIVE or not self.hosts[document.peer_host].alive
            says = (VrrpState.MASTER if master else VrrpState.BACKUP, document.epoch)
            if host.told.get(pair_id) != says:
                host.told[pair_id] = says
                report = PairReport(
                    pair_id=pair_id,
                    state=says[0],
                    since=str(time.time()),
                    sequence=1,
                    role=document.role,
                    epoch=document.epoch,
                    gate_open=master,
                )
                values[keys.observed_pair(host.name, pair_id)] = encode(report)
        if host.applied != host.manifest.generation:
            host.applied = host.manifest.generation
            values[keys.observed_sync(host.name)] = encode(
                SyncReport(generation=host.applied, routers=len(host.routers))
            )
        return values


def _complete(host: _Host) -> bool:
    return host.manifest is not None and host.manifest.count == host.count


def _heartbeat(host: _Host) -> Heartbeat:
    return Heartbeat(
        agent_id=agent_id(AgentType.L3, host.name),
        agent_type=AgentType.L3,
        host=host.name,
        started_at="2026-01-02T03:04:05Z",
        zone=_ZONES[host.number % len(_ZONES)],
        ha_address=f"10.{host.number // 250}.0.{host.number % 250 + 1}",
        physical_networks=("ext",),
    )


# -- the cluster --------------------------------------------------------------------------


def _create_routers(connection: Connection, count: int) -> int:
    """Routers with a gateway, as the API's rows are."""
    now = utcnow()
    stamps = {**_STANDARD, "created_at": now, "updated_at": now}
    network = {"admin_state_up": True, "status": "ACTIVE", "shared": False, "external": True, "mtu": 1500}
    segment = {"network_type": "flat", "physical_network": "ext", "segment_key": "flat:ext"}
    connection.execute(tables.networks.insert().values(id="external", **stamps, **network, **segment))
    port = {"network_id": "external", "admin_state_up": True, "status": "DOWN", "binding_profile": {}}
    owner = str(DeviceOwner.ROUTER_GATEWAY)
    connection.execute(
        tables.ports.insert(),
        [
            {
                **stamps,
                **port,
                "id": f"p{number:05}",
                "mac_address": f"fa:16:3e:00:{number // 256:02x}:{number % 256:02x}",
                "device_id": f"r{number:05}",
                "device_owner": owner,
            }
            for number in range(count)
        ],
    )
    router = {"admin_state_up": True, "status": "BUILD", "ha": True, "enable_snat": True}
    connection.execute(
        tables.routers.insert(),
        [
            {
                **stamps,
                **router,
                "id": f"r{number:05}",
                "gateway_port_id": f"p{number:05}",
                "routes": [],
                "availability_zone_hints": [],
            }
            for number in range(count)
        ],
    )
    return outbox.record(connection, "router", "r00000")


class _Monitor:
    """haqn-monitor as an operator starts it."""

    def __init__(self, directory: pathlib.Path, endpoints: list[str], url: str) -> None:
        config = directory / "monitor.conf"
        config.write_text(
            f"[DEFAULT]\nhost = mon1\n[database]\nconnection = {url}\n"
            f"[etcd]\nendpoints = {','.join(endpoints)}\nlease_ttl = {_TTL}\n"
        )
        self.log = directory / "monitor.log"
        program = [sys.executable, "-c", "import sys; from haqn.cmd.monitor import main; sys.exit(main())"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/setpriv", "--pdeathsig", "KILL", *program, "--config-file", str(config)],
                stdout=log,
                stderr=log,
            )

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def _cluster(agents: int) -> Iterator[tuple[Database, Etcd, Agents, _Monitor]]:
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haqn-bench-")))
        url = stack.enter_context(PostgreSQL(durable=True)).create_database()
        schema.upgrade(url)
        cluster = stack.enter_context(EtcdCluster(directory / "etcd", size=1))
        etcd = stack.enter_context(cluster.client())
        database = Database(url)
        stack.callback(database.close)
        simulated = Agents(etcd, agents)
        simulated.start()
        stack.callback(simulated.stop)
        monitor = _Monitor(directory, cluster.endpoints, url)
        stack.callback(monitor.end)
        yield database, etcd, simulated, monitor


def measure(say: Callable[[str], None], agents: int = 200, routers: int = 10_000) -> list[Measured]:
    """Run everything; takes about three minutes."""
    scale = f"{agents} agents, {routers} routers"
    with _cluster(agents) as (database, etcd, simulated, monitor):
        say(f"control plane: {agents} agents")
        eventually(lambda: _count(database, tables.agents) == agents, timeout=120)
        time.sleep(_TTL)
        say(f"control plane: {routers} routers")
        began, cpu = time.monotonic(), monitor.cpu()
        etcd.put(keys.NUDGE, str(database.write(lambda connection: _create_routers(connection, routers))).encode())
        every = {f"r{number:05}" for number in range(routers)}
        eventually(lambda: simulated.built(every) == routers, timeout=300)
        rows = [
            Measured("all routers placed and told to their agents", time.monotonic() - began, "s", None, scale),
            Measured("  CPU of the monitor for that", monitor.cpu() - cpu, "s"),
        ]
        eventually(lambda: _active(database) == routers and simulated.is_quiet(), timeout=120)
        say("control plane: at rest")
        rows += _plans(database, etcd)
        rows += _at_rest(etcd, monitor, simulated)
        say("control plane: an agent dies")
        rows += _replacements(database, simulated, monitor)
        return rows


def _plans(database: Database, etcd: Etcd) -> list[Measured]:
    policy = Policy(lease_ttl=_TTL)
    view = look_on(etcd, database, Settings(policy=policy), SystemClock())
    rows = []
    for what, seen in (
        ("CPU of a plan, nothing to do", view),
        ("CPU of a plan, nothing placed yet", replace(view, pairs=(), bindings=(), observations=(), vacancies=())),
    ):
        began = time.process_time()
        made = plan(seen, policy)
        rows.append(Measured(what, time.process_time() - began, "s", 1.0, f"{len(made.actions)} actions"))
    return rows


def _at_rest(etcd: Etcd, monitor: _Monitor, simulated: Agents) -> list[Measured]:
    """From the moment on in which nothing has been written for two seconds."""

    def revision() -> int:
        return etcd.list(keys.LEADER, exact=True)[1]

    eventually(lambda: simulated.is_quiet() and revision() == (time.sleep(2), revision())[1], timeout=120)
    before, began, cpu = revision(), time.monotonic(), monitor.cpu()
    time.sleep(_REST)
    used = 100 * (monitor.cpu() - cpu) / (time.monotonic() - began)
    return [
        Measured("CPU of the monitor at rest", used, "%", 2.0, f"of one core, {_REST:g} s"),
        Measured("writes to etcd at rest", revision() - before, "", 0, "but for lease keepalives"),
    ]


def _replacements(database: Database, simulated: Agents, monitor: _Monitor) -> list[Measured]:
    """Three agents, one after the other; the slowest counts."""
    slowest, cpu, moved = 0.0, 0.0, 0
    names = sorted(simulated.hosts)
    for name in (names[0], names[len(names) // 3], names[len(names) // 2]):
        mine = set(simulated.hosts[name].routers)
        used, began = monitor.cpu(), time.monotonic()
        simulated.kill(name)
        eventually(lambda mine=mine: simulated.built(mine) == len(mine), timeout=60)
        slowest = max(slowest, time.monotonic() - began)
        cpu, moved = max(cpu, monitor.cpu() - used), max(moved, len(mine))
        assert not _bound_to(database, agent_id(AgentType.L3, name))
        eventually(simulated.is_quiet, timeout=60)
        time.sleep(2)
    return [
        Measured("dead agent replaced: planned, written, projected", slowest, "s", 2.0, f"{moved} routers, worst of 3"),
        Measured("  CPU of the monitor for that", cpu, "s"),
    ]


def _count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def _active(database: Database) -> int:
    with database.read() as connection:
        status = tables.routers.c.status == "ACTIVE"
        return connection.scalar(sa.select(sa.func.count()).select_from(tables.routers).where(status)) or 0


def _bound_to(database: Database, agent: str) -> int:
    pairs, bindings = tables.pairs, tables.bindings
    member = sa.or_(pairs.c.active_agent_id == agent, pairs.c.backup_agent_id == agent)
    statement = sa.select(sa.func.count()).select_from(bindings.join(pairs, pairs.c.id == bindings.c.pair_id))
    with database.read() as connection:
        return connection.scalar(statement.where(member)) or 0
