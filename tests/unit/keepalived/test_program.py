"""The copies of the failover program, over several upgrades."""

from pathlib import Path

import pytest

from haqn.keepalived import program


def copies(run_path: Path) -> list[Path]:
    return sorted(run_path.glob("failover-*"))


@pytest.fixture
def version(monkeypatch):
    """Set what the installed package's failover program is."""
    return lambda text: monkeypatch.setattr(program, "_sources", lambda: {"run.py": text.encode()})


def test_the_entry_point_has_one_name_for_all_versions(tmp_path, version):
    entries = []
    for text in ("one", "two"):
        version(text)
        entries.append(program.install(tmp_path))
        assert entries[-1].read_text() == text
    assert entries[0] == entries[1]


def test_the_same_version_changes_nothing(tmp_path, version):
    version("one")
    before = program.install(tmp_path).stat()
    assert program.install(tmp_path).stat() == before
    assert len(copies(tmp_path)) == 1


def test_the_version_before_stays_until_the_next_upgrade(tmp_path, version):
    """keepalived may have started a check from it at this very moment."""
    version("one")
    old = program.install(tmp_path).resolve()
    version("two")
    program.install(tmp_path)
    assert old.read_text() == "one"
    version("three")
    program.install(tmp_path)
    assert not old.exists()
    assert len(copies(tmp_path)) == 2
