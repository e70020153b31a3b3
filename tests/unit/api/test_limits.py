import pytest
from falcon import testing

from haqn import conf as haqn_conf
from haqn.api import limits
from haqn.api.app import create_app
from haqn.api.buckets import SharedBuckets

ALICE = {"X-Project-Id": "a", "X-Roles": "member"}
ADDRESS = {"REMOTE_ADDR": "192.0.2.1"}
BOB = {"X-Project-Id": "b", "X-Roles": "member"}


@pytest.fixture
def conf():
    return haqn_conf.load(
        [],
        api__auth_strategy="noauth",
        api__project_rate=0.001,
        api__project_burst=3,
        api__address_rate=0.001,
        api__address_burst=6,
    )


@pytest.fixture
def client(database, live_state, nudge, conf):
    buckets = SharedBuckets()
    app = limits.by_project(create_app(database, live_state, nudge, conf), limits.from_conf(conf, "project", buckets))
    return testing.TestClient(limits.by_address(app, limits.from_conf(conf, "address", buckets)))


def statuses(client, path, headers, count):
    return [client.simulate_get(path, headers=headers, extras=ADDRESS).status_code for _ in range(count)]


def test_a_project_over_its_limit_is_told_when_to_come_back(client):
    assert statuses(client, "/v2.0/networks", ALICE, 3) == [200, 200, 200]
    refused = client.simulate_post("/v2.0/networks", headers=ALICE, json={"network": {}})
    assert refused.status_code == 429
    assert 900 < int(refused.headers["Retry-After"]) <= 1000
    assert refused.json["NeutronError"]["type"] == "HTTPTooManyRequests"
    assert statuses(client, "/v2.0/networks", BOB, 1) == [200]


def test_an_address_over_its_limit_is_refused_whoever_asks(client):
    assert statuses(client, "/v2.0/networks", {}, 6) == [200] * 6
    refused = client.simulate_get("/v2.0/networks", headers=BOB, extras=ADDRESS)
    assert (refused.status_code, refused.json["NeutronError"]["type"]) == (429, "HTTPTooManyRequests")
    assert int(refused.headers["Retry-After"]) >= 1


def test_who_watches_over_the_system_is_not_limited(client):
    assert 429 in statuses(client, "/v2.0/networks", ALICE, 7)
    for path, count in (("/healthz", 10), ("/readyz", 10), ("/", 10), ("/v2.0/agents", 10)):
        assert statuses(client, path, ALICE, count) == [200] * count
    assert statuses(client, "/v2.0/agentsx", ALICE, 1) == [429]
