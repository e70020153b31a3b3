"""The whole API over a real SQLite database, called without a server."""

from __future__ import annotations

import datetime
import shutil

import pytest
from falcon import testing

from haqn import conf as haqn_conf
from haqn.api.app import create_app
from haqn.db import schema, tables
from haqn.db.session import Database
from haqn.model import AgentType, agent_id

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


class FakeLiveState:
    """LiveState that is told what is so; knows nothing at first."""

    def __init__(self):
        self.alive_agents = {}
        self.pair_states = {}
        self.reports = {}
        self.syncs = {}
        self.desired = {}
        self.led_by = None

    def known(self):
        return bool(self.alive_agents)

    def alive(self, agent_id):
        return self.alive_agents.get(agent_id)

    def living(self):
        return frozenset(name for name, alive in self.alive_agents.items() if alive) if self.alive_agents else None

    def pair_state(self, host, pair_id):
        return self.pair_states.get((host, pair_id))

    def pair_report(self, host, pair_id):
        return self.reports.get((host, pair_id))

    def sync_report(self, host):
        return self.syncs.get(host)

    def generations(self, wanted):
        return {place: number for place, number in self.desired.items() if place in wanted}

    def leader(self):
        return self.led_by


class FakeNudge:
    def __init__(self):
        self.lines = []

    def poke(self, outbox_id):
        self.lines.append(outbox_id)


class Api:
    """A client that says what it expects: `api.post("networks", 201, name="a")` returns the network."""

    def __init__(self, app):
        self.client = testing.TestClient(app)

    def call(self, method, path, status, body=None, headers=None, /, **query):
        parameters = {name: value for name, value in query.items() if value is not None}
        result = self.client.simulate_request(
            method,
            f"/v2.0/{path}",
            params=parameters,
            params_csv=False,
            json=body,
            headers=headers,
        )
        assert result.status_code == status, result.text
        return result.json if result.content else None

    def get(self, path, status=200, headers=None, /, **query):
        return self.call("GET", path, status, None, headers, **query)

    def post(self, collection, status=201, headers=None, /, **attributes):
        answer = self.call("POST", collection, status, {collection[:-1]: attributes}, headers)
        return answer[collection[:-1]] if status == 201 else answer["NeutronError"]

    def put(self, path, status=200, headers=None, /, **attributes):
        name = path.split("/")[0][:-1]
        answer = self.call("PUT", path, status, {name: attributes}, headers)
        return answer[name] if status == 200 else answer["NeutronError"]

    def act(self, path, status=200, /, **body):
        answer = self.call("PUT", path, status, body)
        return answer if status == 200 else answer["NeutronError"]

    def delete(self, path, status=204):
        answer = self.call("DELETE", path, status)
        return answer and answer["NeutronError"]

    def network(self, cidr="10.0.0.0/24", **attributes):
        """A network with one subnet."""
        network = self.post("networks", **attributes)
        subnet = self.post("subnets", network_id=network["id"], cidr=cidr, ip_version=4)
        return network, subnet

    def external(self, cidr="203.0.113.0/24", physical_network="ext"):
        return self.network(
            cidr,
            **{
                "router:external": True,
                "provider:network_type": "flat",
                "provider:physical_network": physical_network,
            },
        )


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "empty.sqlite"
    schema.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(empty_database, tmp_path):
    path = tmp_path / "haqn.sqlite"
    shutil.copy(empty_database, path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.close()


@pytest.fixture
def live_state():
    return FakeLiveState()


@pytest.fixture
def nudge():
    return FakeNudge()


@pytest.fixture
def conf():
    return haqn_conf.load([], api__auth_strategy="noauth")


@pytest.fixture
def app(database, live_state, nudge, conf):
    return create_app(database, live_state, nudge, conf)


@pytest.fixture
def api(app):
    return Api(app)


@pytest.fixture
def add_agent(database):
    """Register an agent as the monitor does; returns its id."""

    def add(host, agent_type=AgentType.L3, **values):
        row = {
            "id": agent_id(agent_type, host),
            "agent_type": agent_type,
            "host": host,
            "binary": "haqn-agent",
            "availability_zone": "nova",
            "admin_state_up": True,
            "description": "",
            "heartbeat": {"host": host, "ha_address": "192.0.2.1", "routers": 0},
            "created_at": NOW,
            "started_at": NOW,
            "heartbeat_timestamp": NOW,
            **values,
        }
        with database.transaction() as connection:
            connection.execute(tables.agents.insert().values(row))
        return row["id"]

    return add


@pytest.fixture
def bind(database):
    """Bind a router to a pair (active, backup) or to one agent, as the monitor does."""

    def bind(router_id, *agent_ids, pair_id=65536):
        with database.transaction() as connection:
            if len(agent_ids) == 2:
                pair = {"active_agent_id": agent_ids[0], "backup_agent_id": agent_ids[1], "vr_id": 1, "epoch": 1}
                connection.execute(tables.pairs.insert().values(id=pair_id, created_at=NOW, **pair))
                target = {"pair_id": pair_id}
            else:
                target = {"agent_id": agent_ids[0]}
            connection.execute(tables.bindings.insert().values(router_id=router_id, created_at=NOW, **target))

    return bind
