"""The copies of the failover program, over several upgrades."""

import subprocess
import sys
from pathlib import Path

import pytest

from haqn.keepalived import program


def copies(run_path: Path) -> list[Path]:
    return sorted(run_path.glob("failover-*"))


@pytest.fixture
def version(monkeypatch):
    """Set what the installed package's failover program is."""
    return lambda text: monkeypatch.setattr(program, "_sources", lambda: {"failover/run.py": text.encode()})


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


def test_a_copy_has_all_that_it_needs(tmp_path: Path) -> None:
    """Its modules are the copy's, whatever becomes of the package that it was made from."""
    entry = program.install(tmp_path)
    code = f"""
import sys
sys.path.append({str(entry.parents[2])!r})
from haqn.failover import consumer, refresh
print(*[module.__file__ for name, module in sys.modules.items() if name.startswith("haqn")])
"""
    said = subprocess.run([sys.executable, "-SIE", "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"{entry.parents[1]}/onlyone.py" in said.split()
    assert all(Path(file).is_relative_to(tmp_path) for file in said.split())
