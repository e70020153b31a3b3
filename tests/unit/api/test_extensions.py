"""The extension mechanism, with the sample extension installed as a package is."""

from __future__ import annotations

import pathlib

import pytest

from haqn.api import extensions
from haqn.api.app import create_app
from haqn.cmd import manage
from haqn.db.session import Database
from tests.unit.api.conftest import Api

SAMPLE = pathlib.Path(__file__).parents[2] / "sample_extension"


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.syspath_prepend(str(SAMPLE))


@pytest.fixture
def colourful(installed, empty_database_url, tmp_path, live_state, nudge, conf):
    """The API with the extension, over a database that was made by haqn-manage."""
    config = tmp_path / "haqn.conf"
    config.write_text(f"[database]\nconnection = {empty_database_url}\n")
    assert manage.main(["--config-file", str(config), "db", "upgrade"]) == 0
    assert manage.main(["--config-file", str(config), "db", "upgrade"]) == 0
    database = Database(empty_database_url)
    yield Api(create_app(database, live_state, nudge, conf))
    database.close()


def test_nothing_is_installed(api):
    assert extensions.load() == []
    api.get("extensions/colours", 404)
    assert "colour" in api.post("networks", 400, colour="red")["message"]


def test_an_extension_adds_an_attribute(colourful):
    api = colourful
    assert api.get("extensions/colours")["extension"]["name"] == "Colours"
    assert "colours" in {extension["alias"] for extension in api.get("extensions")["extensions"]}
    red, plain = api.post("networks", colour="red"), api.post("networks")
    assert (red["colour"], plain["colour"]) == ("red", None)
    assert api.get(f"networks/{red['id']}")["network"] == red
    assert [n["id"] for n in api.get("networks", colour=["red", "green"])["networks"]] == [red["id"]]
    assert api.get("networks", colour="blue")["networks"] == []
    assert api.get("networks", colour="red", fields=["colour"])["networks"] == [{"colour": "red"}]
    changed = api.put(f"networks/{red['id']}", colour="blue", name="x")
    assert (changed["colour"], changed["name"]) == ("blue", "x")
    assert changed["revision_number"] == red["revision_number"] + 1
    assert api.put(f"networks/{red['id']}", name="y")["colour"] == "blue"
    assert "colour" in api.put(f"networks/{red['id']}", 400, colour=1)["message"]
    api.delete(f"networks/{red['id']}")


def test_an_extension_adds_a_resource(colourful):
    api = colourful
    paint = api.post("paints", colour="red", project_id="p1")
    assert (paint["colour"], paint["litres"]) == ("red", 1)
    assert api.put(f"paints/{paint['id']}", litres="3")["litres"] == 3
    assert api.get("paints", litres=3)["paints"] == [paint | {"litres": 3}]
    assert api.get(f"paints/{paint['id']}", 404, {"X-Project-Id": "p2"})["NeutronError"]["type"] == "PaintNotFound"
    assert "paints" in {resource["collection"] for resource in api.get("")["resources"]}
    api.delete(f"paints/{paint['id']}")
    assert api.get(f"paints/{paint['id']}", 404)["NeutronError"]["type"] == "PaintNotFound"


def test_a_broken_extension_is_named(tmp_path, monkeypatch):
    (tmp_path / "bad-1.0.dist-info").mkdir()
    (tmp_path / "bad-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    entries = tmp_path / "bad-1.0.dist-info" / "entry_points.txt"
    monkeypatch.syspath_prepend(str(tmp_path))
    for value, reason in (("no_such_module:X", "no_such_module"), ("json:dumps", "function")):
        entries.write_text(f"[{extensions.GROUP}]\nbad = {value}\n")
        with pytest.raises(extensions.ExtensionBroken, match=rf"bad.*{reason}"):
            extensions.load()
