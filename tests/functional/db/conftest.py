"""Everything here runs on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if "functional/db" in str(item.path):
            item.add_marker(pytest.mark.functional)
