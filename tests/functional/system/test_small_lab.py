"""`haqn-lab up` where another one was killed, a cluster that begins with one agent, and `haqn-lab down`.

Its etcd lets in only users, each with the least rights."""

import configparser
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from haqn.coordination import keys
from haqn.documents import RouterDocument, decode
from haqn.exceptions import HostError
from haqn.lab import etcdctl, services
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.command import environment
from haqn.lab.scenery import wait_for
from tests.functional.system.stage import CALM, TTL, Stage, lab_name

pytestmark = pytest.mark.functional

_PROGRAM = str(Path(sys.executable).parent / "haqn-lab")


class Again(NamedTuple):
    """A lab that is up, and the processes of the one before it."""

    lab: Lab
    processes_before: set[int]


def haqn_lab(lab: Lab, *words: str) -> str:
    done = subprocess.run(
        [_PROGRAM, "--lab", lab.name, *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start_and_kill(lab: Lab) -> set[int]:
    """`up`, killed while its programs start; what runs then."""
    up = subprocess.Popen([_PROGRAM, "--lab", lab.name, "up"], stdout=subprocess.PIPE, text=True)
    assert up.stdout
    with up:
        for line in up.stdout:
            if "database" in line:
                up.send_signal(signal.SIGKILL)
    assert up.returncode == -signal.SIGKILL
    return {process.pid for host in lab.hosts() for process in host.processes()}


@pytest.fixture(scope="module")
def again() -> Iterator[Again]:
    lab = Lab(lab_name("c"))
    try:
        before = start_and_kill(lab)
        haqn_lab(lab, "up", "--hosts", "2", "--computes", "1", "--ttl", "2", "--etcd", "3", "--etcd-auth")
        yield Again(lab, before)
    finally:
        lab.destroy(forget=True)


def test_up_ends_what_a_killed_one_has_left(again: Again) -> None:
    assert again.processes_before
    assert not [pid for pid in again.processes_before if os.path.exists(f"/proc/{pid}")]
    assert sorted(host.name for host in again.lab.hosts()) == ["cmp1", "ctl1", "ctl2", "ctl3", "ext", "net1", "net2"]
    services.wait_for_agents(again.lab)


def test_etcd_has_as_many_members_as_were_asked_for_and_needs_two_of_them(again: Again) -> None:
    def programs() -> dict[str, str]:
        hosts = json.loads(haqn_lab(again.lab, "status", "--json"))["hosts"]
        return {name: state for host in hosts for name, state in host["programs"].items() if name.startswith("etcd")}

    assert programs() == {"etcd1": "running", "etcd2": "running", "etcd3": "running"}
    assert len(etcdctl.etcdctl(again.lab, "member", "list").splitlines()) == 3
    haqn_lab(again.lab, "kill", "etcd3")
    assert programs()["etcd3"] == "absent"

    def agents_have_leases() -> bool:
        # the member that was killed may have led the others
        with contextlib.suppress(HostError):
            return len({entry.lease for entry in etcdctl.get(again.lab, etcdctl.AGENTS)}) == 3
        return False

    wait_for("the agents have leases without it", agents_have_leases)
    haqn_lab(again.lab, "restart", "etcd3")
    assert programs()["etcd3"] == "running"
    wait_for("it has caught up", agents_have_leases)


def test_a_second_agent_makes_a_pair(again: Again) -> None:
    stage = Stage(again.lab.name, again.lab.spec)
    services.stop(stage.lab, stage.agent("net2"))
    wait_for("the second agent's lease has ended", lambda: not stage.heartbeat_lease("net2"), 4 * TTL)
    with Client(stage.lab.spec.api_url) as client:
        stage.make_tenant(client)
        (alone,) = etcdctl.get(stage.lab, keys.desired_router("net1", stage.router_id))
        assert decode(alone.value, RouterDocument).pair_id is None
        assert list(stage.scenario.states) == ["net1"]

        with stage.scenario.both_ways() as both_ways:
            time.sleep(CALM)
            services.start(stage.lab, stage.agent("net2"))
            wait_for("there is a pair", stage.at_rest)
            time.sleep(CALM)
            outbound, inbound = both_ways.stop()

    assert (outbound.lost, inbound.lost) == (0, 0)


def test_each_program_may_do_its_own_in_etcd_and_nothing_else(again: Again) -> None:
    """With the user and password of its own configuration, as whoever has taken the host over has them."""
    spec = again.lab.spec
    own, others, leader = keys.observed("net1"), keys.observed("net2"), keys.LEADER

    def allowed(host: str, *words: str) -> bool:
        file = configparser.ConfigParser()
        file.read(again.lab.host(host).directory / "haqn.conf")
        user = f"--user={file['etcd']['user']}:{file['etcd']['password']}"
        command = ["etcdctl", f"--endpoints={spec.etcd_endpoints[0]}", user, *words]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0 or "permission denied" in done.stderr, done.stderr
        return done.returncode == 0

    assert allowed("net1", "get", "--prefix", keys.desired("net1"))
    assert allowed("net1", "put", f"{own}tried", "x")
    assert allowed("net1", "del", f"{own}tried")
    for key in (f"{others}tried", f"{keys.desired('net1')}tried", leader, keys.NUDGE):
        assert not allowed("net1", "put", key, "x"), key
    assert not allowed("net1", "get", "--prefix", keys.ROOT)
    assert allowed("ctl1", "get", "--prefix", keys.ROOT)
    assert not allowed("ctl1", "put", "/elsewhere", "x")
    # nobody gets in without a user
    bare = ["etcdctl", f"--endpoints={spec.etcd_endpoints[0]}", "get", leader]
    refused = subprocess.run(bare, env=environment(), capture_output=True, text=True, check=False, timeout=30)
    assert "user name is empty" in refused.stderr


def test_down_leaves_nothing(again: Again) -> None:
    running = {process.pid for host in again.lab.hosts() for process in host.processes()}
    assert len(running) > 5

    haqn_lab(again.lab, "down")

    assert again.lab.remains() == []
    assert not [pid for pid in running if os.path.exists(f"/proc/{pid}")]
