"""The SQL servers that functional tests share: each is started once, when the first test needs it."""

from __future__ import annotations

import pytest

from tests.functional.sql import DATABASES, database_maker


@pytest.fixture(scope="session", params=DATABASES)
def new_database(request, tmp_path_factory):
    """`new_database()` is the URL of an empty database; the test runs on each kind of database."""
    with database_maker(request.param, tmp_path_factory.mktemp(request.param)) as make:
        yield make
