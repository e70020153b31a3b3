"""The systemd units, read by systemd itself (which need not run)."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
#: each of these gives a service a mount namespace of its own (systemd.exec(5))
MOUNT_NAMESPACE = ("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "ProtectProc")
MOUNT_NAMESPACE += ("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups")
MOUNT_NAMESPACE += ("ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "BindPaths", "TemporaryFileSystem")

pytestmark = pytest.mark.functional


def verify(*units: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
    )


def runnable(directory: Path, unit: Path) -> Path:
    """systemd also wants the programs to exist, and they are not installed here."""
    copy = directory / unit.name
    lines = unit.read_text().splitlines()
    copy.write_text("\n".join("ExecStart=/bin/true" if line.startswith("ExecStart=/opt") else line for line in lines))
    return copy


def section(unit: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "deploy" / "systemd" / unit)
    return parser["Service"]


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    assert len(UNITS) == 6
    done = verify(*(runnable(tmp_path, unit) for unit in UNITS))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_would_find_what_is_wrong(tmp_path: Path) -> None:
    copy = runnable(tmp_path, UNITS[0])
    copy.write_text(copy.read_text().replace("NoNewPrivileges=yes", "NoNewPrivileges=perhaps"))
    assert "perhaps" in verify(copy).stderr


@pytest.mark.parametrize("unit", ["agent", "keepalived", "failover", "advertiser"])
def test_what_handles_network_namespaces_shares_the_hosts_mounts(unit: str) -> None:
    assert not [name for name in MOUNT_NAMESPACE if name in section(f"haqn-{unit}.service")]


def test_users_and_directories_can_be_made(tmp_path: Path) -> None:
    for tool, file in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles --create", "tmpfiles.d")):
        (tmp_path / "etc").mkdir(exist_ok=True)
        command = [*tool.split(), f"--root={tmp_path}", str(ROOT / "deploy" / file / "haqn.conf")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "haqn:" in (tmp_path / "etc/passwd").read_text()
    assert (tmp_path / "run/haqn").is_dir()
