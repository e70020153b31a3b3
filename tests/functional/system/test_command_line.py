"""haqn-lab as a person uses it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.scenery import Scenery, wait_for
from tests.functional.system.stage import lab_name

pytestmark = pytest.mark.functional

_PROGRAM = str(Path(sys.executable).parent / "haqn-lab")


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab(lab_name("c"))
    yield lab
    lab.destroy(forget=True)


def haqn_lab(lab: Lab, *words: str, expect: int = 0) -> str:
    done = subprocess.run(
        [_PROGRAM, "--lab", lab.name, *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def kill_while_starting(lab: Lab) -> None:
    """`up`, killed when its first programs run."""
    up = subprocess.Popen([_PROGRAM, "--lab", lab.name, "up"], stdout=subprocess.PIPE, text=True)
    assert up.stdout
    with up, up.stdout:
        for line in up.stdout:
            if "database" in line:
                up.send_signal(signal.SIGKILL)
                break
    assert up.wait() == -signal.SIGKILL


def test_a_lab_by_hand(lab: Lab) -> None:
    kill_while_starting(lab)
    left = {process.pid for host in lab.hosts() for process in host.processes()}
    assert left

    said = haqn_lab(lab, "up", "--hosts", "2", "--computes", "1", "--ttl", "2")
    assert "is up after" in said
    assert not [pid for pid in left if os.path.exists(f"/proc/{pid}")]
    status = json.loads(haqn_lab(lab, "status", "--json"))
    assert {
        host["name"]: host["agents_alive"] for host in status["hosts"] if host["kind"] in ("network", "compute")
    } == {
        "net1": True,
        "net2": True,
        "cmp1": True,
    }
    environment = haqn_lab(lab, "env")
    listing = f"eval $({_PROGRAM} --lab {lab.name} env) && etcdctl get --prefix --keys-only /haqn/v1/agents"
    assert f'HAQN_API="{lab.spec.api_url}"' in environment
    agents = subprocess.run(["sh", "-c", listing], capture_output=True, text=True, check=True).stdout.split("\n\n")
    assert len([agent for agent in agents if agent.strip()]) == 3

    with Client(lab.spec.api_url) as client:
        scenery = Scenery(lab, client)
        external = scenery.external_network()
        _, subnet = scenery.tenant_network("tenant", "10.73.0.0/24")
        router = scenery.router("tenant", external["id"], [subnet["id"]])
        assert "10.73.0." in haqn_lab(lab, "vm", "add", "one", "--network", "tenant")
        wait_for("the router is redundant", lambda: scenery.is_redundant(router["id"]))
        haqn_lab(lab, "vm", "exec", "one", "ping", "-n", "-c", "3", "-i", "0.2", lab.spec.external_gateway)
        active = scenery.host_in_state(router["id"], "active")

        probe = subprocess.Popen(
            [_PROGRAM, "--lab", lab.name, "probe", "one", "--seconds", "6"], stdout=subprocess.PIPE, text=True
        )
        haqn_lab(lab, "crash", active)
        seen, _ = probe.communicate(timeout=60)
        assert probe.returncode == 0
        assert seen.count("largest gap") == 2
        status = json.loads(haqn_lab(lab, "status", "--json"))
        (crashed,) = (host for host in status["hosts"] if host["name"] == active)
        assert crashed["programs"] == {"agent": "frozen", "keepalived": "frozen"}
        haqn_lab(lab, "heal", active)
        wait_for("the host is back", lambda: all(agent["alive"] for agent in client.find("agent")))
    assert "vm one on cmp1" in haqn_lab(lab, "status")
    assert "no host net9" in haqn_lab(lab, "crash", "net9", expect=1)

    haqn_lab(lab, "down")
    assert lab.remains() == []
    assert "is not up" in haqn_lab(lab, "status", expect=1)
