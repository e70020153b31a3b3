"""The SQL servers that functional tests share: each is started once, when the first test needs it."""

from __future__ import annotations

import contextlib
import functools

import pytest

from tests.functional.sql import DATABASES, database_maker


@pytest.fixture(scope="session")
def databases(tmp_path_factory):
    """`databases(kind)()` is the URL of an empty database of that kind."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def maker(kind):
            return running.enter_context(database_maker(kind, tmp_path_factory.mktemp(kind)))

        yield maker


@pytest.fixture(scope="session", params=DATABASES)
def new_database(request, databases):
    """`new_database()` is the URL of an empty database; the test runs on each kind of database."""
    return databases(request.param)
