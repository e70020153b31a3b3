"""What is shipped works without the source tree: sdist, a wheel made from it, and that wheel in a fresh environment."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import venv
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.functional


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, which is built from a clone: nothing but what is committed, and no trace in the tree."""
    directory = tmp_path_factory.mktemp("build")
    run("git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", ROOT, directory / "tree", cwd=directory)
    run(
        *(sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"),
        *("--outdir", directory, directory / "tree"),
        cwd=directory,
    )
    assert len(list(directory.glob("haqn-*.tar.gz"))) == 1
    (wheel,) = directory.glob("haqn-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it; what it requires is borrowed from the one that runs the tests."""
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory, symlinks=True)
    (site,) = directory.glob("lib/python3*/site-packages")
    run(sys.executable, "-m", "pip", "--python", directory, "install", "--quiet", "--no-deps", wheel, cwd=directory)
    # of a directory that is named in a .pth file no .pth file is read, hence not that of this editable tree
    borrowed = Path(pytest.__file__).parents[1]
    (site / "borrowed.pth").write_text(f"{borrowed}\n")
    origin = run(directory / "bin" / "python", "-c", "import haqn; print(haqn.__file__)", cwd=directory)
    assert Path(origin.strip()).is_relative_to(directory)
    return directory


def test_the_schema_is_made_by_what_is_installed(installed: Path, tmp_path: Path) -> None:
    database = tmp_path / "haqn.sqlite"
    config = tmp_path / "haqn.conf"
    config.write_text(f"[database]\nconnection = sqlite:///{database}\n[agent]\nha_address = 10.0.0.1\n")
    manage = (installed / "bin" / "haqn-manage", "--config-file", config)
    for command in (("db", "upgrade"), ("db", "check"), ("config", "check")):
        run(*manage, *command, cwd=tmp_path)
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM routers").fetchone() == (0,)
    connection.close()


def test_the_programs_and_their_files_are_there(installed: Path, tmp_path: Path) -> None:
    for name in ("haqn-api", "haqn-monitor", "haqn-agent", "haqn-lab"):
        assert "usage" in run(installed / "bin" / name, "--help", cwd=tmp_path)
    # the failover program's copy and every template, as the agent makes them
    said = run(
        installed / "bin" / "python",
        "-c",
        "from pathlib import Path; from haqn import templating; from haqn.keepalived import program;"
        "print(program.install(Path('.')));"
        "e = templating.environment(); print(*[e.get_template(n).name for n in e.list_templates()])",
        cwd=tmp_path,
    )
    assert (tmp_path / "failover/haqn/failover/run.py").is_file()
    assert set(said.split()) >= {"gate.nft.j2", "keepalived.conf.j2", "router.nft.j2"}
    for file in ("etc/haqn/haqn.conf.sample", "share/haqn/systemd/haqn-agent.service"):
        assert (installed / file).is_file()


def test_the_wheel_asks_for_what_haqn_requires(wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(wheel, tmp_path, "zip")
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    required = Parser().parsestr(metadata.read_text()).get_all("Requires-Dist") or []
    wanted = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    names = {line.partition(";")[0].split("[")[0].rstrip("<>=!,. 0123456789").lower() for line in required}
    assert names == {line.split("[")[0].rstrip("<>=!,. 0123456789").lower() for line in wanted if line}
