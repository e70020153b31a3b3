"""What holds for every request: discovery, unknown routes, request ids, nothing half-written, one nudge per write."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from falcon import testing

from haqn import conf as haqn_conf
from haqn.api.app import RESOURCES, create_app
from haqn.api.discovery import EXTENSIONS
from haqn.db import outbox, ports, tables
from haqn.db.session import Database

EVERY = [resource.collection for resource in RESOURCES]


def rows(database):
    with database.read() as connection:
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            for name, table in tables.metadata.tables.items()
        }


def test_discovery_needs_no_database(tmp_path, live_state, nudge):
    nothing = Database(f"sqlite:///{tmp_path}/no/such/directory/x.sqlite")
    client = testing.TestClient(create_app(nothing, live_state, nudge, haqn_conf.load([], api__auth_strategy="noauth")))
    (version,) = client.simulate_get("/").json["versions"]
    assert (version["id"], version["status"]) == ("v2.0", "CURRENT")
    assert version["links"] == [{"rel": "self", "href": "http://falconframework.org/v2.0/"}]
    for path in ("/v2.0", "/v2.0/", "/v2.0.json"):
        collections = [resource["collection"] for resource in client.simulate_get(path).json["resources"]]
        assert collections == EVERY
    assert client.simulate_get("/healthz").status_code == 200
    listed = client.simulate_get("/v2.0/extensions.json").json["extensions"]
    assert {extension["alias"] for extension in listed} == set(EXTENSIONS) >= {"router", "agent", "l3-ha"}
    assert client.simulate_get("/v2.0/extensions/l3-ha").json["extension"]["alias"] == "l3-ha"
    assert client.simulate_get("/v2.0/extensions/dvr").json["NeutronError"]["type"] == "ExtensionNotFound"
    failed = client.simulate_get("/v2.0/networks")
    assert (failed.status_code, failed.json["NeutronError"]["type"]) == (503, "ServiceUnavailable")
    assert "directory" not in failed.text


@pytest.mark.parametrize("path", ["/v1.0", "/v2.0/nothing", "/v2.0/networks/1/2", "/favicon.ico"])
def test_unknown_routes_answer_in_json(api, path):
    result = api.client.simulate_get(path)
    assert result.status_code == 404
    assert result.headers["content-type"] == "application/json"
    assert result.json["NeutronError"]["type"] == "HTTPNotFound"


def test_wrong_methods_answer_in_json(api):
    result = api.client.simulate_patch("/v2.0/networks")
    assert (result.status_code, result.json["NeutronError"]["type"]) == (405, "HTTPMethodNotAllowed")
    assert "GET" in result.headers["allow"]


@pytest.mark.parametrize("collection", ["networks", "subnets", "ports", "routers", "floatingips", "agents"])
@pytest.mark.parametrize("object_id", ["a-name", "%00", str(uuid.UUID(int=1)), "%F0%9F%98%80", "x" * 2000])
def test_what_is_not_there_is_not_found(api, collection, object_id):
    for method, body in (("GET", None), ("PUT", {collection[:-1]: {}}), ("DELETE", None)):
        result = api.client.simulate_request(method, f"/v2.0/{collection}/{object_id}", json=body)
        assert result.status_code == 404
        name = {"floatingips": "FloatingIP"}.get(collection, collection[:-1].capitalize())
        assert result.json["NeutronError"]["type"] == name + "NotFound"


def test_an_unexpected_error_tells_nothing_and_leaves_nothing(api, database, monkeypatch, nudge):
    network, _ = api.network()
    before, told = rows(database), list(nudge.lines)

    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(ports.ipam, "take", fail)
    result = api.client.simulate_post("/v2.0/ports", json={"port": {"network_id": network["id"]}})
    assert result.status_code == 500
    assert result.json["NeutronError"]["message"].startswith("Request Failed")
    assert "secret" not in result.text
    assert rows(database) == before
    assert nudge.lines == told


def test_a_write_that_fails_at_its_last_step_leaves_nothing(api, database, monkeypatch):
    network, _ = api.external()
    _, inner = api.network()
    empty, _ = api.network()
    router = api.post("routers")
    before = rows(database)
    actions = [
        ("POST", "/v2.0/routers", {"router": {"external_gateway_info": {"network_id": network["id"]}}}),
        ("POST", "/v2.0/networks", {"networks": [{}, {}]}),
        ("PUT", f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": inner["id"]}),
        ("PUT", f"/v2.0/routers/{router['id']}", {"router": {"external_gateway_info": {"network_id": network["id"]}}}),
        ("DELETE", f"/v2.0/networks/{empty['id']}", None),
    ]
    record = outbox.record
    for method, path, body in actions:
        # let every outbox line but the last be written, whatever their number
        for allowed in range(10):
            calls = []

            def fail_after(connection, kind, object_id, allowed=allowed, calls=calls):
                calls.append(kind)
                if len(calls) > allowed:
                    raise RuntimeError(kind)
                return record(connection, kind, object_id)

            with monkeypatch.context() as patch:
                patch.setattr(outbox, "record", fail_after)
                result = api.client.simulate_request(method, path, json=body)
            if result.status_code != 500:
                break
            assert rows(database) == before, (method, path, allowed)
        else:
            pytest.fail("the action never succeeded")
        assert allowed > 0
        before = rows(database)


def test_each_write_has_its_outbox_line_and_nudge(api, database, nudge):
    network = api.post("networks")
    api.put(f"networks/{network['id']}", name="x")
    api.delete(f"networks/{network['id']}")
    with database.read() as connection:
        lines = connection.execute(sa.select(tables.outbox).order_by(tables.outbox.c.id)).all()
    assert [(line.kind, line.object_id) for line in lines] == [("network", network["id"])] * 3
    assert nudge.lines == [line.id for line in lines]
    api.get("networks")
    assert len(nudge.lines) == 3


def test_a_delete_answers_nothing_at_all(api):
    network = api.post("networks")
    result = api.client.simulate_delete(f"/v2.0/networks/{network['id']}.json")
    assert (result.status_code, result.content) == (204, b"")
    assert "content-type" not in result.headers
