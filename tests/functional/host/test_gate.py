"""The gate against the real kernel: what the failover program does to it, and what passes."""

import errno
import subprocess
import time

import pytest

from haqn import templating
from haqn.agent.pairs import make_gate
from haqn.failover.gate import Gate
from haqn.model import CLOSED_GROUP, FIRST_PAIR_ID, UNGATED_GROUP
from tests.isolated import isolated

pytestmark = pytest.mark.functional

PAIR = 65536


def ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def pings(namespace: str, address: str) -> bool:
    ip(f"-n {namespace} neighbour flush all")  # an address that failed is asked for again only a second later
    command = ["ip", "netns", "exec", namespace, "ping", "-c", "1", "-W", "0.3", address]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def bridge_with_a_gated_port(group: int = PAIR) -> None:
    ip(
        "netns add router",
        "netns add vm",
        "link add name br0 type bridge stp_state 0 forward_delay 0",
        "link set br0 up",
        "link add tap1 type veth peer name eth0 netns router",
        "link add tap2 type veth peer name eth0 netns vm",
        f"link set tap1 group {group} master br0 up",
        "link set tap2 master br0 up",
        "-n router address add 10.0.0.1/24 dev eth0",
        "-n router link set eth0 up",
        "-n vm address add 10.0.0.2/24 dev eth0",
        "-n vm link set eth0 up",
    )


@isolated
def test_whether_it_is_there():
    with Gate() as gate:
        assert not gate.exists()
        make_gate(templating.environment())
        assert gate.exists()
        gate.open(PAIR, 3000)
        assert gate.exists()


@isolated
def test_without_its_table_a_gate_cannot_be_opened():
    with Gate() as gate:
        with pytest.raises(OSError, match="nf_tables") as caught:
            gate.open(PAIR, 3000)
        assert caught.value.errno == errno.ENOENT


@isolated
def test_frames_pass_while_the_gate_is_open_and_not_before_or_after():
    make_gate(templating.environment())
    bridge_with_a_gated_port()
    with Gate() as gate:
        assert not pings("router", "10.0.0.2")
        assert not pings("vm", "10.0.0.1")
        gate.open(PAIR, 30_000)
        assert pings("router", "10.0.0.2")
        assert pings("vm", "10.0.0.1")
        gate.close(PAIR)
        gate.close(PAIR)  # once more is no error
        assert not pings("vm", "10.0.0.1")
        gate.open(PAIR + 1, 30_000)  # another pair's gate
        assert not pings("vm", "10.0.0.1")


@isolated
def test_a_shut_port_teaches_the_bridge_nothing():
    make_gate(templating.environment())
    bridge_with_a_gated_port()
    assert not pings("router", "10.0.0.2")
    entries = subprocess.run(["bridge", "fdb", "show", "dev", "tap1"], capture_output=True, text=True, check=True)
    assert all("permanent" in line for line in entries.stdout.splitlines())


@pytest.mark.parametrize("group", [UNGATED_GROUP, FIRST_PAIR_ID - 1])
@isolated
def test_ports_outside_of_any_pair_are_not_gated(group):
    make_gate(templating.environment())
    bridge_with_a_gated_port(group)
    assert pings("vm", "10.0.0.1")


@pytest.mark.parametrize("group", [FIRST_PAIR_ID, FIRST_PAIR_ID + 1, 2 * FIRST_PAIR_ID, CLOSED_GROUP])
@isolated
def test_ports_of_all_pairs_and_those_that_are_down_are_gated(group):
    make_gate(templating.environment())
    bridge_with_a_gated_port(group)
    assert not pings("vm", "10.0.0.1")
    assert not pings("router", "10.0.0.2")


@isolated
def test_the_kernel_closes_a_gate_that_nobody_refreshes():
    make_gate(templating.environment())
    bridge_with_a_gated_port()
    with Gate() as gate:
        gate.open(PAIR, 1500)
        time.sleep(0.8)
        assert gate.refresh(PAIR, 1500)
        time.sleep(0.9)  # longer than the first lease
        assert pings("vm", "10.0.0.1")
        time.sleep(1.5)
        assert not pings("vm", "10.0.0.1")
        assert not gate.refresh(PAIR, 1500), "a lease that ran out must not be renewed silently"
        assert not pings("vm", "10.0.0.1")


@isolated
def test_making_the_gate_again_leaves_open_gates_open():
    make_gate(templating.environment())
    bridge_with_a_gated_port()
    with Gate() as gate:
        gate.open(PAIR, 30_000)
        make_gate(templating.environment())
        assert pings("vm", "10.0.0.1")
        assert gate.refresh(PAIR, 30_000)
    rules = subprocess.run(["nft", "list", "table", "bridge", "haqn"], capture_output=True, text=True, check=True)
    assert rules.stdout.count(" drop\n") == 3
