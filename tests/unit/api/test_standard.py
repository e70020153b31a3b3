"""What all resources have: tags, revisions, times."""

from __future__ import annotations

import pytest


def test_tags_are_put_taken_and_found(api):
    network = api.post("networks")
    path = f"networks/{network['id']}/tags"
    assert network["tags"] == []
    assert api.call("PUT", path, 200, {"tags": ["red", "blue"]}) == {"tags": ["blue", "red"]}
    assert api.get(path) == {"tags": ["blue", "red"]}
    api.call("PUT", f"{path}/green", 201)
    api.call("PUT", f"{path}/green", 201)
    api.get(f"{path}/green", 204)
    assert api.get(f"networks/{network['id']}")["network"]["tags"] == ["blue", "green", "red"]
    api.call("DELETE", f"{path}/blue", 204)
    assert api.call("DELETE", f"{path}/blue", 404)["NeutronError"]["type"] == "TagNotFound"
    assert api.get(f"{path}/blue", 404)["NeutronError"]["type"] == "TagNotFound"
    api.delete(path)
    assert api.get(path) == {"tags": []}
    shown = api.get(f"networks/{network['id']}")["network"]
    assert shown["revision_number"] > network["revision_number"]


@pytest.mark.parametrize("body", [{}, {"tags": "red"}, {"tags": ["a", "a"]}, {"tags": [1]}, {"tags": ["x" * 300]}])
def test_tags_that_cannot_be(api, body):
    network = api.post("networks")
    assert "tags" in api.call("PUT", f"networks/{network['id']}/tags", 400, body)["NeutronError"]["message"]


def test_filters_by_tags(api):
    both, red, none = (api.post("routers", name=name) for name in ("both", "red", "none"))
    api.call("PUT", f"routers/{both['id']}/tags", 200, {"tags": ["red", "blue"]})
    api.call("PUT", f"routers/{red['id']}/tags", 200, {"tags": ["red"]})

    def found(**query):
        return {r["name"] for r in api.get("routers", **query)["routers"]}

    assert found(tags="red") == {"both", "red"}
    assert found(tags="red,blue") == {"both"}
    assert found(**{"tags-any": "red,blue"}) == {"both", "red"}
    assert found(**{"not-tags": "red,blue"}) == {"red", "none"}
    assert found(**{"not-tags-any": "red,blue"}) == {"none"}
    api.delete(f"routers/{none['id']}")


def test_a_deleted_object_takes_its_tags_along(api, database):
    network, subnet = api.network()
    for path in (f"networks/{network['id']}", f"subnets/{subnet['id']}"):
        api.call("PUT", f"{path}/tags/x", 201)
    api.delete(f"networks/{network['id']}")
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM tags").scalar() == 0


def test_a_write_may_name_the_revision_that_it_is_for(api):
    network = api.post("networks")
    path = f"networks/{network['id']}"

    def put(status, revision, method="PUT"):
        body = {"network": {"name": "x"}} if method == "PUT" else None
        return api.call(method, path, status, body, {"If-Match": revision})

    stale = f"revision_number={network['revision_number'] + 1}"
    assert put(412, stale)["NeutronError"]["type"] == "RevisionNumberConstraintFailed"
    changed = put(200, f"revision_number={network['revision_number']}")["network"]
    assert changed["revision_number"] == network["revision_number"] + 1
    assert put(412, f"revision_number={network['revision_number']}", "DELETE")
    assert put(400, "revision_number=x")["NeutronError"]["type"] == "HTTPBadRequest"
    put(204, f"revision_number={changed['revision_number']}", "DELETE")
