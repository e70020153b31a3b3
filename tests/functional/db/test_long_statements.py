"""A statement that takes too long is ended, and the API says so; what comes after it on the connection is not."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa
from falcon import testing

from haqn import conf as haqn_conf
from haqn.api.app import create_app
from haqn.api.livestate import NoLiveState
from haqn.api.nudge import NoNudge
from haqn.db import schema, tables
from haqn.db.session import Database
from haqn.exceptions import StatementTooLong

#: a minute or more on any machine
ENDLESS = {
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c",
    "postgresql": "SELECT pg_sleep(600)",
    "mysql": "SELECT sleep(600)",
}


@pytest.fixture
def database(new_database):
    url = new_database()
    schema.upgrade(url)
    database = Database(url, pool_size=1, longest_statement=0.5)
    yield database
    database.close()


def test_a_long_statement_is_ended_in_reads_and_writes_alike(database):
    endless = ENDLESS[database.engine.dialect.name]
    insert = tables.sequences.insert().values(name="a", next_value=1)

    def work(connection):
        connection.execute(insert)
        connection.exec_driver_sql(endless)

    began = time.monotonic()
    with pytest.raises(StatementTooLong), database.read() as connection:
        connection.exec_driver_sql(endless).all()
    with pytest.raises(StatementTooLong):
        database.write(work)
    assert time.monotonic() - began < 30
    with database.read() as connection:
        assert connection.execute(sa.select(tables.sequences)).all() == []
    # time passes between statements, too
    with database.transaction() as connection:
        connection.execute(insert)
        time.sleep(0.6)
        connection.execute(tables.sequences.update().values(next_value=2))
    with database.read() as connection:
        assert connection.scalar(sa.select(tables.sequences.c.next_value)) == 2


def test_the_api_says_that_the_database_took_too_long(database):
    app = create_app(database, NoLiveState(), NoNudge(), haqn_conf.load([], api__auth_strategy="noauth"))
    client = testing.TestClient(app)

    def slowly(_connection, _cursor, statement, parameters, _context, _many):
        """As an index that is missing would make it."""
        return (ENDLESS[database.engine.dialect.name], ()) if "FROM networks" in statement else (statement, parameters)

    sa.event.listen(database.engine, "before_cursor_execute", slowly, retval=True)
    slow = client.simulate_get("/v2.0/networks")
    assert (slow.status_code, slow.json["NeutronError"]["type"]) == (503, "ServiceUnavailable")
    assert "took too long" in slow.json["NeutronError"]["message"]
    sa.event.remove(database.engine, "before_cursor_execute", slowly)
    assert client.simulate_get("/v2.0/networks").json == {"networks": []}
