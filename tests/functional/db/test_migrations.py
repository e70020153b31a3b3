"""The schema comes to the newest revision from nothing and from every earlier one, with the rows that are there."""

from __future__ import annotations

import datetime

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from haqn.db import schema, tables
from haqn.db.session import Database
from haqn.exceptions import SchemaOutdated

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
SCRIPTS = ScriptDirectory(str(schema.MIGRATIONS))
REVISIONS = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]
#: what the first release could hold
STANDARD = {"project_id": "p", "created_at": NOW, "updated_at": NOW, "revision_number": 1}
ROWS = {
    "networks": {
        **{"id": "n", "admin_state_up": True, "status": "ACTIVE", "shared": False, "external": True, "mtu": 1500},
        **{"network_type": "flat", "physical_network": "ext", "segment_key": "flat:ext"},
    },
    "ports": {
        **{"id": "p", "network_id": "n", "mac_address": "fa:16:3e:00:00:01", "admin_state_up": True},
        **{"status": "DOWN", "binding_profile": {}},
    },
    "routers": {
        **{"id": "r", "admin_state_up": True, "status": "ACTIVE", "ha": True, "enable_snat": True},
        **{"gateway_port_id": "p", "routes": [], "availability_zone_hints": []},
    },
}


def test_there_is_one_newest_revision():
    assert len(SCRIPTS.get_heads()) == 1


def test_a_new_database_gets_exactly_the_tables(new_database):
    url = new_database()
    with pytest.raises(SchemaOutdated, match="haqn-manage"):
        schema.check(url)
    schema.upgrade(url)
    check_complete(url)
    schema.upgrade(url)
    check_complete(url)


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_earlier_revision_is_brought_up_to_date_with_its_rows(new_database, revision):
    url = new_database()
    schema.upgrade(url, REVISIONS[0])
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for name, values in ROWS.items():
            # the columns of that time, by name; today's table may have others
            today = tables.metadata.tables[name].c
            columns = [sa.column(column, today[column].type) for column in STANDARD | values]
            connection.execute(sa.table(name, *columns).insert().values(STANDARD | values))
    engine.dispose()
    schema.upgrade(url, revision)
    schema.upgrade(url)
    check_complete(url)
    database = Database(url)
    with database.read() as connection:
        for table, values in ROWS.items():
            (row,) = connection.execute(sa.select(tables.metadata.tables[table])).mappings()
            assert {name: row[name] for name in values} == values
    database.close()


def check_complete(url):
    schema.check(url)
    database = Database(url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    database.close()
