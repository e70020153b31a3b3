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

from haqn.agent import names
from haqn.coordination import keys
from haqn.documents import RouterDocument, decode
from haqn.exceptions import HostError
from haqn.lab import etcdctl, lookup, services, wires
from haqn.lab.client import ApiError, Client
from haqn.lab.cluster import Lab
from haqn.lab.command import environment
from haqn.lab.scenery import wait_for
from haqn.lab.spec import EXTERNAL_HOST
from tests.functional.system.stage import CALM, Stage, lab_name
from tests.functional.system.test_l3 import floating_ip
from tests.functional.system.test_routers import Pinger

pytestmark = pytest.mark.functional

#: another physical network, and the interface to it on each host
_PROVIDER, _OTHER_WORLD = "provider2", "203.0.113.1"
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


@pytest.fixture(scope="module")
def alone(again: Again) -> Iterator[Stage]:
    """A tenant whose router is on net1, whose agent is the only one."""
    stage = Stage(again.lab.name, again.lab.spec)
    services.stop(stage.lab, stage.agent("net2"))
    wait_for("the second agent's lease has ended", lambda: not stage.heartbeat_lease("net2"))
    with Client(stage.lab.spec.api_url) as client:
        stage.make_tenant(client)
        yield stage


def test_a_second_agent_makes_a_pair(alone: Stage) -> None:
    stage = alone
    (document,) = etcdctl.get(stage.lab, keys.desired_router("net1", stage.router_id))
    assert decode(document.value, RouterDocument).pair_id is None
    assert list(stage.scenario.states) == ["net1"]

    with stage.scenario.both_ways() as both_ways:
        time.sleep(CALM)
        services.start(stage.lab, stage.agent("net2"))
        wait_for("there is a pair", stage.at_rest)
        time.sleep(CALM)
        outbound, inbound = both_ways.stop()

    assert (outbound.lost, inbound.lost) == (0, 0)


def plug_second_provider(stage: Stage) -> None:
    """Connect the hosts and the world by wires of their own, and tell the agents of it."""
    switch = stage.lab.switch
    switch.ip(f"link add name {_PROVIDER} type bridge", f"link set {_PROVIDER} up")
    for name in (*stage.hosts, EXTERNAL_HOST):
        host = stage.host(name)
        wires.plug(switch, _PROVIDER, ["netns", str(host.holder)], name, _PROVIDER)
        host.ip(f"link set {_PROVIDER} up")
    stage.host(EXTERNAL_HOST).ip(f"address add {_OTHER_WORLD}/24 dev {_PROVIDER}")
    for name in stage.hosts:
        file, configuration = stage.host(name).directory / "haqn.conf", configparser.ConfigParser()
        configuration.read(file)
        configuration["agent"]["physical_networks"] += f",{_PROVIDER}:{_PROVIDER}"
        with file.open("w") as changed:
            configuration.write(changed)
        services.restart(stage.lab, stage.agent(name))


def inside(stage: Stage, host: str) -> tuple[set[str], list[str]]:
    """(addresses of gateway devices, next hops of default routes) in the tenant's router on the host."""
    namespace, commands = names.namespace(stage.router_id), (["address"], ["route", "show", "default"])
    shown = [stage.host(host).run(["ip", "-j", "-4", *words], namespace=namespace).stdout for words in commands]
    links, routes = (json.loads(one or "[]") for one in shown)
    addresses = {ip["local"] for link in links if link["ifname"].startswith("qg-") for ip in link["addr_info"]}
    return addresses, [route["gateway"] for route in routes]


def test_a_gateway_moves_to_another_physical_network_on_both_members(alone: Stage) -> None:
    stage, client, vm = alone, alone.client, alone.scenario.vm
    plug_second_provider(stage)
    stage.mend()
    flat = {"provider:network_type": "flat", "provider:physical_network": _PROVIDER, "router:external": True}
    network = client.create("network", flat)
    subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "203.0.113.0/24", "enable_dhcp": False}
    client.create("subnet", subnet | {"gateway_ip": _OTHER_WORLD})
    elsewhere = {"external_gateway_info": {"network_id": network["id"]}}
    old_address = lookup.external_address(client.show("router", stage.router_id))
    with floating_ip(stage, vm.port_id) as old:
        to_old = Pinger(stage, EXTERNAL_HOST, old["floating_ip_address"])
        wait_for("the floating IP answers", to_old.answered)
        with pytest.raises(ApiError) as refused:
            client.update("router", stage.router_id, elsewhere)
        assert (refused.value.status, refused.value.kind) == (409, "RouterExternalGatewayInUseByFloatingIp")
        wait_for("nothing has changed", to_old.answered)

        client.update("floatingip", old["id"], {"port_id": None})
        address = lookup.external_address(client.update("router", stage.router_id, elsewhere))
        for host in ("net1", "net2"):
            wait_for(
                "it has the new gateway and nothing of the old one",
                lambda host=host: inside(stage, host) == ({address}, [_OTHER_WORLD]),
            )
        wait_for("the old address is nobody's", Pinger(stage, EXTERNAL_HOST, old_address).silent)
        assert to_old.silent()
        with pytest.raises(ApiError) as refused:
            client.update("floatingip", old["id"], {"port_id": vm.port_id})
        assert (refused.value.status, refused.value.kind) == (404, "ExternalGatewayForFloatingIPNotFound")

    new = client.create("floatingip", {"floating_network_id": network["id"], "port_id": vm.port_id})
    inbound = [Pinger(stage, EXTERNAL_HOST, target) for target in (address, new["floating_ip_address"])]
    ways = [Pinger(stage, vm.host, _OTHER_WORLD, vm.namespace), *inbound]
    wait_for("traffic passes both ways", lambda: all(way.answered() for way in ways))
    # the other member has it all, too
    wait_for("the standby is ready", lambda: stage.scenario.scenery.is_redundant(stage.router_id))
    standby = stage.standby
    services.manage(stage.lab, "switchover", str(stage.pair))
    wait_for("it forwards", lambda: stage.forwarders() == [standby])
    wait_for("traffic passes both ways", lambda: all(way.answered() for way in ways))


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
