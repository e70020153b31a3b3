"""Real etcd and SQLite, real monitor processes, and agents that only talk: heartbeats and reports without a kernel."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import sqlalchemy as sa

from haqn import conf as haqn_conf
from haqn.cmd.monitor import settings_of
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.session import Session
from haqn.db import outbox, schema, tables
from haqn.db.clock import utcnow
from haqn.db.session import Database
from haqn.documents import (
    Heartbeat,
    LeaderRecord,
    Manifest,
    PairDocument,
    PairReport,
    SyncReport,
    decode,
    encode,
)
from haqn.model import AgentType, Role, VrrpState, agent_id
from haqn.monitor.service import MonitorService
from tests.etcd_cluster import EtcdCluster
from tests.eventually import eventually

TTL = 3


def _configuration(name: str, directory: pathlib.Path, endpoints: list[str], url: str) -> str:
    """The path of the monitor's configuration file."""
    config = directory / f"{name}.conf"
    config.write_text(
        f"[DEFAULT]\nhost = {name}\n[database]\nconnection = {url}\n"
        f"[etcd]\nendpoints = {','.join(endpoints)}\nlease_ttl = {TTL}\n"
    )
    return str(config)


class MonitorProcess:
    """`haqn-monitor` as an operator starts it."""

    def __init__(self, name: str, directory: pathlib.Path, endpoints: list[str], url: str) -> None:
        config = _configuration(name, directory, endpoints, url)
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *(sys.executable, "-c", "import sys; from haqn.cmd.monitor import main; sys.exit(main())"),
                    *("--config-file", config),
                ],
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class FakeAgent:
    """An L3 agent that carries everything out at once: MASTER where it is designated, or its peer is not `up`."""

    def __init__(self, etcd: Etcd, host: str, others: dict[str, FakeAgent], *, zone: str = "") -> None:
        self.host = host
        self.id = agent_id(AgentType.L3, host)
        self.up = True
        #: it lives, and carries nothing out
        self.idle = False
        self._others = others
        others[host] = self
        self._session = Session(etcd, TTL)
        self._informer = Informer(etcd, keys.desired(host), on_change=self.report)
        self._lock = threading.Lock()
        self._session.register(
            keys.agent(AgentType.L3, host),
            encode(
                Heartbeat(
                    agent_id=self.id,
                    agent_type=AgentType.L3,
                    host=host,
                    started_at="2026-01-02T03:04:05.678Z",
                    ha_address=f"10.0.0.{len(others)}",
                    zone=zone,
                    physical_networks=("ext",),
                )
            ),
        )
        self._session.start()
        self._informer.start()

    def listing(self) -> dict[str, bytes]:
        return {key: item.value for key, item in self._informer.cache().items()}

    def manifest(self) -> Manifest | None:
        value = self.listing().get(keys.manifest(self.host))
        return decode(value, Manifest) if value else None

    def pairs(self) -> list[PairDocument]:
        return [decode(value, PairDocument) for key, value in self.listing().items() if "/pairs/" in key]

    def routers(self) -> set[str]:
        return {key.rpartition("/")[2] for key in self.listing() if "/routers/" in key}

    def documents_are_complete(self) -> bool:
        listing = self.listing()
        value = listing.get(keys.manifest(self.host))
        return value is not None and decode(value, Manifest).count == len(listing) - 1

    def report(self) -> None:
        """Say what VRRP would have come to."""
        with self._lock:
            manifest = self.manifest()
            if not self.up or self.idle or manifest is None or not self.documents_are_complete():
                return
            for pair in self.pairs():
                master = pair.role is Role.ACTIVE or not self._others[pair.peer_host].up
                self._session.register(
                    keys.observed_pair(self.host, pair.pair_id),
                    encode(
                        PairReport(
                            pair_id=pair.pair_id,
                            state=VrrpState.MASTER if master else VrrpState.BACKUP,
                            since="2026-01-02T03:04:05.678Z",
                            sequence=1,
                            role=pair.role,
                            epoch=pair.epoch,
                            gate_open=master,
                        )
                    ),
                )
            self._session.register(keys.observed_sync(self.host), encode(SyncReport(generation=manifest.generation)))

    def crash(self) -> None:
        """The peers notice at once, etcd a TTL later."""
        self.up = False
        self._session.stop(revoke=False)
        for other in self._others.values():
            other.report()

    def stop(self) -> None:
        self._informer.stop()
        self._session.stop()


class Cluster:
    """Use it as a context manager."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.url = f"sqlite:///{directory}/haqn.sqlite"
        schema.upgrade(self.url)
        self.database = Database(self.url)
        self.etcd_cluster = EtcdCluster(directory, size=1)
        self.monitors: dict[str, MonitorProcess] = {}
        self.agents: dict[str, FakeAgent] = {}

    def __enter__(self) -> Cluster:
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self.etcd_cluster)
        self.etcd = self._stack.enter_context(self.etcd_cluster.client())
        return self

    def __exit__(self, *_: object) -> None:
        for monitor in self.monitors.values():
            monitor.end()
        for agent in self.agents.values():
            agent.stop()
        self.database.close()
        self._stack.close()

    def start_monitor(self, name: str) -> MonitorProcess:
        self.monitors[name] = MonitorProcess(name, self.directory, self.etcd_cluster.endpoints, self.url)
        return self.monitors[name]

    @contextlib.contextmanager
    def own_monitor(self, name: str) -> Iterator[None]:
        """A monitor in this process, whose insides a test may change."""
        path = _configuration(name, self.directory, self.etcd_cluster.endpoints, self.url)
        conf = haqn_conf.load(["--config-file", path], prog="haqn-monitor")
        with contextlib.closing(Etcd.from_conf(conf)) as etcd, contextlib.closing(Database(self.url)) as database:
            service = MonitorService(
                etcd, database, holder=f"{name}:{os.getpid()}", lease_ttl=TTL, settings=settings_of(conf)
            )
            thread = threading.Thread(target=service.run)
            thread.start()
            try:
                yield
            finally:
                service.stop()
                thread.join()

    def start_agents(self, *hosts: str) -> None:
        for host in hosts:
            FakeAgent(self.etcd, host, self.agents)

    def leader(self) -> LeaderRecord | None:
        """Who leads, once its epoch is known."""
        item = self.etcd.get(keys.LEADER)
        record = decode(item.value, LeaderRecord) if item else None
        return record if record is not None and record.epoch else None

    def holder(self) -> str:
        """The monitor that has the leader's key; empty: none has."""
        item = self.etcd.get(keys.LEADER)
        return decode(item.value, LeaderRecord).holder.partition(":")[0] if item else ""

    def wait_for_leader(self, *, besides: str = "", timeout: float = 20.0) -> LeaderRecord:
        def look() -> LeaderRecord | None:
            record = self.leader()
            return record if record and record.holder.partition(":")[0] != besides else None

        return eventually(look, timeout=timeout)

    def create_routers(self, *ids: str) -> None:
        """As the API does: rows, outbox line, and then the nudge."""
        now = utcnow()

        def work(connection):
            for router_id in ids:
                connection.execute(
                    tables.routers.insert().values(
                        id=router_id,
                        project_id="p",
                        name=router_id,
                        created_at=now,
                        updated_at=now,
                        admin_state_up=True,
                        status="BUILD",
                        ha=True,
                        enable_snat=True,
                        routes=[],
                        availability_zone_hints=[],
                    )
                )
            return outbox.record(connection, "router", ids[-1])

        line = self.database.write(work)
        self.etcd.put(keys.NUDGE, str(line).encode())

    def rows(self, statement):
        with self.database.read() as connection:
            return connection.execute(statement).all()

    def members(self, router_id: str) -> tuple[str, ...]:
        """Hosts of the router by its binding, the designated active first."""
        hosts = {agent.id: agent.host for agent in self.agents.values()}
        found = self.rows(
            sa.select(tables.bindings.c.agent_id, tables.pairs.c.active_agent_id, tables.pairs.c.backup_agent_id)
            .select_from(tables.bindings.outerjoin(tables.pairs, tables.pairs.c.id == tables.bindings.c.pair_id))
            .where(tables.bindings.c.router_id == router_id)
        )
        return tuple(hosts[agent] for row in found for agent in row if agent is not None)

    def status(self, router_id: str) -> str:
        return self.rows(sa.select(tables.routers.c.status).where(tables.routers.c.id == router_id))[0][0]
