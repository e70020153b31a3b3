"""haqn-lab as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from haqn.lab.scenario import Scenario
from haqn.lab.scenery import wait_for

pytestmark = [pytest.mark.functional, pytest.mark.timeout(300)]

PROGRAM = str(Path(sys.executable).parent / "haqn-lab")


def call(scenario: Scenario, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "--lab", scenario.lab.name, *words], check=False, capture_output=True, text=True, timeout=120
    )


def said(scenario: Scenario, *words: str) -> str:
    done = call(scenario, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(scenario: Scenario, host: str) -> dict:
    hosts = json.loads(said(scenario, "status", "--json"))["hosts"]
    return next(one for one in hosts if one["name"] == host)


def test_status_tells_what_runs_and_what_does_not(scenario: Scenario) -> None:
    active = scenario.active
    whole = status(scenario, active)
    assert (whole["running"], whole["cut"], whole["agents_alive"]) == (True, [], True)
    assert whole["programs"] == {"agent": "running", "keepalived": "running"}
    assert f"  {active} " in said(scenario, "status")

    said(scenario, "pause", active, "agent")
    said(scenario, "cut", active, "mgmt")
    assert status(scenario, active)["programs"]["agent"] == "frozen"
    assert status(scenario, active)["cut"] == ["mgmt"]

    said(scenario, "resume", active, "agent")
    said(scenario, "mend", active)
    assert status(scenario, active)["cut"] == []

    said(scenario, "crash", active)
    assert status(scenario, active)["cut"] == ["link", "uplink"]
    said(scenario, "heal", active)
    assert status(scenario, active)["programs"]["keepalived"] == "running"


def test_a_standby_loses_links_and_its_keepalived(scenario: Scenario) -> None:
    standby = scenario.standby
    for link in ("ha", "uplink"):
        said(scenario, "cut", standby, link)
    assert sorted(status(scenario, standby)["cut"]) == ["ha", "uplink"]
    said(scenario, "mend", standby)

    before = {process.pid for process in scenario.lab.host(standby).processes() if process.name == "keepalived"}
    said(scenario, "kill", standby, "keepalived")
    wait_for(
        "the agent has started another one", lambda: status(scenario, standby)["programs"]["keepalived"] == "running"
    )
    after = {process.pid for process in scenario.lab.host(standby).processes() if process.name == "keepalived"}
    assert before
    assert after.isdisjoint(before)


def test_programs_are_killed_and_restarted_one_by_one(scenario: Scenario) -> None:
    said(scenario, "kill", "monitor2")
    assert status(scenario, "ctl1")["programs"] == {
        "etcd1": "running",
        "api": "running",
        "monitor1": "running",
        "monitor2": "absent",
    }
    said(scenario, "restart", "monitor")
    assert status(scenario, "ctl1")["programs"]["monitor2"] == "running"


def test_a_host_is_power_cycled(scenario: Scenario) -> None:
    standby = scenario.standby
    said(scenario, "heal", standby, "--reboot")

    wait_for(f"the agent of {standby} is alive", lambda: status(scenario, standby)["agents_alive"])
    assert said(scenario, "exec", standby, "hostname") == f"{standby}\n"


def test_the_environment_makes_etcdctl_reach_the_lab(scenario: Scenario) -> None:
    exports = [line.removeprefix("export ") for line in said(scenario, "env").splitlines() if "=" in line]
    variables = {name: value.strip('"') for name, _, value in (line.partition("=") for line in exports)}
    keys = subprocess.run(
        ["etcdctl", "get", "--prefix", "--keys-only", "/haqn/v1/agents"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert keys.count("/haqn/v1/agents/L3 agent/net") == 3
    assert variables["OS_ENDPOINT"] == scenario.lab.spec.api_url


def test_a_vm_is_added_probed_and_deleted(scenario: Scenario) -> None:
    said(scenario, "vm", "add", "vm2", "--network", "tenant")
    try:
        assert "vm2 on cmp1: 10.77.0." in said(scenario, "vm", "list")
        gateway = scenario.lab.spec.external_gateway
        ping = ["ping", "-n", "-q", "-c", "1", "-W", "1", gateway]
        wait_for("vm2 reaches out", lambda: call(scenario, "vm", "exec", "vm2", *ping).returncode == 0)
        probed = said(scenario, "probe", "vm2", "--seconds", "1")
        assert "vm2 -> external" in probed
        assert probed.count("largest gap") == 2
        again = call(scenario, "vm", "add", "vm2", "--network", "tenant")
        assert (again.returncode, again.stderr) == (1, "haqn-lab: cannot add VM vm2: there is one of this name\n")
    finally:
        said(scenario, "vm", "delete", "vm2")
    assert "vm2" not in said(scenario, "vm", "list")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["crash", "net9"], "no host net9 in lab"),
        (["kill", "net1", "api"], "cannot find net1 api; there are: cmp1 agent"),
        (["vm", "exec", "nobody", "true"], "no VM nobody"),
        (["vm", "add", "vm9", "--network", "no-such-network"], "there are 0"),
        (["vm", "add", "vm9", "--network", "tenant", "--host", "net1"], "not a compute host"),
    ],
)
def test_what_cannot_be_done_is_said(scenario: Scenario, words: list[str], complaint: str) -> None:
    done = call(scenario, *words)

    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
