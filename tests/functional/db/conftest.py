"""Everything here runs on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import pytest

from haqn.db import schema
from haqn.db.session import Database
from tests.emptied import empty
from tests.functional.sql import SERVERS

# what the tests of the whole API ask for
from tests.unit.api.conftest import (  # noqa: F401 fixtures
    add_agent,
    api,
    app,
    bind,
    conf,
    live_state,
    nudge,
    usual_app,
    usual_conf,
)


def pytest_collection_modifyitems(items):
    for item in items:
        if "functional/db" in str(item.path):
            item.add_marker(pytest.mark.functional)


@pytest.fixture(scope="module", params=SERVERS)
def served(request, databases):
    """A database that its tests empty; SQLite runs the same tests as unit tests."""
    url = databases(request.param)()
    schema.upgrade(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def database(served):
    yield served
    empty(served)
