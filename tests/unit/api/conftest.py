"""The whole API over a real SQLite database, called without a server."""

from __future__ import annotations

import contextlib
import datetime

import pytest
import sqlalchemy as sa
from falcon import testing

from haqn import conf as haqn_conf
from haqn.api.app import create_app
from haqn.db import schema, tables
from haqn.db.session import Database
from haqn.model import AgentType, agent_id
from tests.emptied import empty
from tests.watch import Watch

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


@contextlib.contextmanager
def statements_of(database):
    """The SQL statements of the block, as they are executed."""
    seen = []

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


class Present:
    """What the test that runs has, so that one application, which takes longer to make than most tests, serves all."""

    def __init__(self):
        self.part = None

    def __getattr__(self, name):
        return getattr(self.part, name)


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory):
    """A database that its tests empty, so that statements are compiled once."""
    url = f"sqlite:///{tmp_path_factory.mktemp('database')}/haqn.sqlite"
    schema.upgrade(url)
    database = Database(url)
    # no test looks at what an end of the machine leaves
    sa.event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    yield database
    database.close()


@pytest.fixture
def database(sqlite):
    yield sqlite
    empty(sqlite)


@pytest.fixture
def empty_database_url(tmp_path):
    """That of a database without tables."""
    return f"sqlite:///{tmp_path}/empty.sqlite"


@pytest.fixture
def live_state():
    return FakeLiveState()


@pytest.fixture
def nudge():
    return FakeNudge()


@pytest.fixture(scope="session")
def usual_conf():
    return haqn_conf.load([], api__auth_strategy="noauth")


@pytest.fixture
def conf(usual_conf):
    return usual_conf


@pytest.fixture(scope="session")
def usual_app(usual_conf):
    """The application, and what it takes for its database, live state and nudge."""
    parts = Present(), Present(), Present()
    return create_app(*parts, usual_conf), parts


@pytest.fixture
def app(request, database, live_state, nudge, conf, usual_conf):
    if conf is not usual_conf:
        return create_app(database, live_state, nudge, conf)
    app, parts = request.getfixturevalue("usual_app")
    for stand_in, part in zip(parts, (database, live_state, nudge), strict=True):
        stand_in.part = part
    return app


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


@pytest.fixture
def watch():
    return Watch()
