"""The API's rules are the same on every database: the unit tests of what is done in SQL, on the servers."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from haqn.db import schema, tables
from haqn.db.session import Database
from tests.functional.sql import SERVERS, database_maker
from tests.unit.api import (
    test_filters,
    test_floatingips,
    test_ha,
    test_ipv6,
    test_lists,
    test_portoptions,
    test_ports,
    test_quotas,
    test_subnetpools,
    test_tenancy,
)

# what the tests ask for
from tests.unit.api.conftest import add_agent, api, app, bind, conf, live_state, nudge  # noqa: F401 fixtures

_MODULES = (
    *(test_filters, test_floatingips, test_ha, test_ipv6, test_lists, test_portoptions, test_ports, test_quotas),
    *(test_subnetpools, test_tenancy),
)


@pytest.fixture(scope="module", params=SERVERS)
def served(request, tmp_path_factory):
    """A database that its tests empty; SQLite runs the same tests as unit tests."""
    with database_maker(request.param, tmp_path_factory.mktemp("sql")) as make:
        url = make()
        schema.upgrade(url)
        database = Database(url)
        yield database
        database.close()


@pytest.fixture
def database(served):
    yield served
    switch = "SET session_replication_role = {}" if served.engine.dialect.name == "postgresql" else "SET {}"
    off, on = ("replica", "origin") if "session" in switch else ("FOREIGN_KEY_CHECKS = 0", "FOREIGN_KEY_CHECKS = 1")
    with served.engine.begin() as connection:
        # in any order: quicker than to truncate, and than to sort the tables by their references
        connection.exec_driver_sql(switch.format(off))
        for table in tables.metadata.tables.values():
            connection.execute(sa.delete(table))
        connection.exec_driver_sql(switch.format(on))


for _module in _MODULES:
    _short = _module.__name__.rpartition(".test_")[2]
    for _name, _found in vars(_module).items():
        if _name.startswith("test_"):
            globals()[f"test_{_short}_{_name.removeprefix('test_')}"] = _found
        elif type(_found).__name__ == "FixtureFunctionDefinition":
            globals()[_name] = _found
