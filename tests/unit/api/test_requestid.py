"""Every answer names its request, whoever gives it, and so does every line that is logged on the way to it."""

from __future__ import annotations

import io
import logging
import uuid

import pytest
from falcon import testing
from oslo_context import context
from oslo_log import formatters

from haqn import conf as haqn_conf
from haqn.api import identity, limits
from haqn.api.app import create_app
from haqn.api.buckets import SharedBuckets
from haqn.api.requestid import identified
from haqn.db.session import Database

ADDRESS = {"REMOTE_ADDR": "192.0.2.1"}


@pytest.fixture(autouse=True)
def no_request():
    """Threads of a server have no request before their first one."""
    context._request_store.context = None
    yield
    context._request_store.context = None


@pytest.fixture
def log(conf):
    """What oslo.log writes."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatters.ContextFormatter(project="haqn", version="1", config=conf))
    logger = logging.getLogger("haqn.api")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(level)


def id_of(result):
    text = result.headers["x-openstack-request-id"]
    assert uuid.UUID(text.removeprefix("req-"))
    return text


@pytest.fixture
def client(app):
    return testing.TestClient(identified(app))


def test_every_answer_of_the_api_has_an_id_of_its_own_and_a_line_in_the_log(client, log):
    results = [client.simulate_get(path) for path in ("/", "/nope", "/v2.0/ports", "/v2.0/networks/a%0Ab")]
    ids = [id_of(result) for result in results]
    assert len(set(ids)) == 4
    lines = log.getvalue().splitlines()
    assert [any(each in line for line in lines) for each in ids] == [True] * 4
    (line,) = [line for line in lines if ids[3] in line]
    assert line.endswith("GET '/v2.0/networks/a\\nb': 404")


def test_lines_on_the_way_to_an_answer_tell_whose_it_is(tmp_path, live_state, nudge, conf, log):
    database = Database(f"sqlite:///{tmp_path}/no/such/directory/x.sqlite")
    client = testing.TestClient(identified(create_app(database, live_state, nudge, conf)))
    headers = {"X-User-Id": "carl", "X-Project-Id": "the-project", "X-Roles": "admin"}
    result = client.simulate_get("/v2.0/networks", headers=headers)
    assert result.status_code == 503
    error, answered = log.getvalue().splitlines()
    for line in (error, answered):
        assert id_of(result) in line
        assert "carl the-project" in line
    database.close()


def test_another_services_request_is_named_in_the_log(client, log):
    given = f"req-{uuid.uuid4()}"
    result = client.simulate_get("/", headers={"X-Openstack-Request-Id": given})
    assert id_of(result) != given
    assert f"{given} {id_of(result)}" in log.getvalue()
    made_up = client.simulate_get("/", headers={"X-Openstack-Request-Id": "req-x forged"})
    assert id_of(made_up) in log.getvalue()
    assert "forged" not in log.getvalue()


def test_who_is_refused_before_the_api_is_told_an_id(database, live_state, nudge, tmp_path, log):
    conf = haqn_conf.load(
        [],
        api__auth_strategy="http_basic",
        api__http_basic_auth_user_file=str(tmp_path / "htpasswd"),
        api__address_rate=0.001,
        api__address_burst=1,
    )
    (tmp_path / "htpasswd").write_text("")
    app = identity.authenticated(create_app(database, live_state, nudge, conf), conf)
    limited = limits.by_address(app, limits.from_conf(conf, "address", SharedBuckets()))
    client = testing.TestClient(identified(limited))
    unknown, too_many = (client.simulate_get("/v2.0/networks", extras=ADDRESS) for _ in range(2))
    assert (unknown.status_code, too_many.status_code) == (401, 429)
    assert id_of(unknown) != id_of(too_many)
    assert f"{id_of(unknown)} " in log.getvalue()
    # a line for each of a flood would be a part of it
    assert id_of(too_many) not in log.getvalue()


def test_what_breaks_before_the_api_is_answered_and_logged(log):
    def broken(_environ, _start_response):
        raise RuntimeError("secret")

    result = testing.TestClient(identified(broken)).simulate_get("/v2.0/networks")
    assert (result.status_code, result.json["NeutronError"]["type"]) == (500, "HTTPInternalServerError")
    assert "secret" not in result.text
    error, *traceback, answered = log.getvalue().splitlines()
    assert (id_of(result) in error, id_of(result) in answered) == (True, True)
    assert any("RuntimeError: secret" in line for line in traceback)
