"""Health says that the process lives; readiness, what it lacks."""

from __future__ import annotations

import pytest

from haqn.api.app import create_app
from haqn.db.session import Database
from tests.unit.api.conftest import Api


def look(api, path="/readyz"):
    result = api.client.simulate_get(path)
    return result.status_code, result.json["status"], set(result.json.get("missing", ()))


def test_ready(api, live_state):
    live_state.alive_agents["a"] = True
    assert look(api) == (200, "ready", set())


def test_without_etcd_it_is_degraded_and_serves(api):
    assert look(api) == (200, "degraded", {"etcd"})


@pytest.mark.parametrize("name", ["no/such/directory/haqn.sqlite", "empty.sqlite"])
def test_without_its_database_it_is_not_ready_and_lives(tmp_path, live_state, nudge, conf, name):
    live_state.alive_agents["a"] = True
    database = Database(f"sqlite:///{tmp_path}/{name}")
    api = Api(create_app(database, live_state, nudge, conf))
    assert look(api) == (503, "not ready", {"database"})
    assert look(api, "/healthz") == (200, "ok", set())
    assert api.client.simulate_get("/").status_code == 200
    database.close()
