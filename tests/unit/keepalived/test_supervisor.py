"""How what must outlive the agent is started; that systemd keeps it alive was seen with a real one (doc/install.md)."""

import os
import shlex
import time
from pathlib import Path

import pytest

from haqn.exceptions import HostError
from haqn.keepalived import supervisor

ROOT = Path(__file__).parents[3]


def fake_systemctl(directory, monkeypatch, status):
    program = directory / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >{directory}/asked\nexit {status}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_systemd_runs_the_command_of_the_file_that_its_unit_reads(tmp_path, monkeypatch):
    fake_systemctl(tmp_path, monkeypatch, 0)
    supervisor.make(supervisor.Kind.SYSTEMD, tmp_path).start("keepalived", ["/usr/sbin/keepalived", "-f", "/run/x"])
    assert (tmp_path / "asked").read_text() == "start haqn-keepalived.service\n"
    name, _, value = (tmp_path / "keepalived.command").read_text().strip().partition("=")
    assert (name, shlex.split(value)) == ("COMMAND", ["/usr/sbin/keepalived -f /run/x"])


@pytest.mark.parametrize("name", ["keepalived", "failover", "advertiser"])
def test_there_is_a_unit_that_reads_it(name):
    lines = (ROOT / "deploy" / "systemd" / f"haqn-{name}.service").read_text().splitlines()
    # $COMMAND without braces: systemd makes several words of it (systemd.service(5))
    assert f"EnvironmentFile=/run/haqn/{name}.command" in lines
    assert "ExecStart=/usr/bin/env $COMMAND" in lines


def test_what_systemd_refuses_is_an_error(tmp_path, monkeypatch):
    fake_systemctl(tmp_path, monkeypatch, 1)
    with pytest.raises(HostError, match="cannot start failover"):
        supervisor.make(supervisor.Kind.SYSTEMD, tmp_path).start("failover", ["true"])


def test_without_a_supervisor_it_is_in_a_session_of_its_own(tmp_path):
    log = tmp_path / "log"
    supervisor.make(supervisor.Kind.NONE, tmp_path).start("keepalived", ["sh", "-c", "ps -o sid= -p $$"], log)
    end = time.monotonic() + 20
    while not log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert int(log.read_text()) != os.getsid(0)
