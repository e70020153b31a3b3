"""Every answer counts, whoever gives it."""

from __future__ import annotations

import pytest
from falcon import testing

from haqn import conf as haqn_conf
from haqn.api import identity, limits
from haqn.api.app import create_app
from haqn.api.buckets import Rate, SharedBuckets
from haqn.api.limits import Limit
from haqn.api.metrics import Measured


@pytest.fixture
def client(database, live_state, nudge, tmp_path):
    users = tmp_path / "htpasswd"
    users.write_text("")
    conf = haqn_conf.load([], api__auth_strategy="http_basic", api__http_basic_auth_user_file=str(users))
    measured = Measured()
    app = identity.authenticated(create_app(database, live_state, nudge, conf, measured), conf)
    app = limits.by_address(app, Limit("address", Rate(0.001, 3), SharedBuckets()))
    return testing.TestClient(measured.around(app))


def counts(client):
    prefix = "haqn_api_request_seconds_count"
    lines = [line for line in client.simulate_get("/metrics").text.splitlines() if line.startswith(prefix)]
    return {line.removeprefix(prefix).rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_refusals_are_among_them(client):
    address = {"REMOTE_ADDR": "192.0.2.1"}
    statuses = [client.simulate_get("/v2.0/networks", extras=address).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    client.simulate_get("/healthz")
    client.simulate_get("/readyz")
    assert client.simulate_request("OPTIONS", "/healthz").status_code == 200
    assert counts(client) == {
        '{method="GET",resource="refused",status="4xx"}': 5,
        '{method="GET",resource="/healthz",status="2xx"}': 1,
        '{method="GET",resource="/readyz",status="2xx"}': 1,
        '{method="OPTIONS",resource="/healthz",status="2xx"}': 1,
    }
    assert counts(client)['{method="GET",resource="/metrics",status="2xx"}'] == 1
    assert "haqn_api_requests_in_flight 1.0" in client.simulate_get("/metrics").text


def test_an_error_of_what_is_before_the_api_counts(client):
    def broken(_environ, _start_response):
        raise RuntimeError

    measured = Measured()
    with pytest.raises(RuntimeError):
        testing.TestClient(measured.around(broken)).simulate_get("/v2.0/networks")
    (family,) = [found for found in measured.registry.collect() if found.name == "haqn_api_request_seconds"]
    assert {sample.labels["status"] for sample in family.samples if sample.name.endswith("_count")} == {"5xx"}
