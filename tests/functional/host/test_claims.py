"""Who forwards says so again where somebody else may have spoken meanwhile; who does not forward keeps silent."""

import dataclasses
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from haqn import templating
from haqn.agent.pairs import make_gate
from haqn.failover.consumer import Consumer
from haqn.failover.gate import Gate
from haqn.failover.moves import Moves
from haqn.failover.state import StateDirectory
from haqn.model import FIRST_PAIR_ID, VrrpState
from tests.eventually import eventually
from tests.functional.host.alone import LONG_LEASE_MS, make_pairs, pair
from tests.isolated import isolated

pytestmark = pytest.mark.functional

MAC = "fa:16:3e:00:00:01"
PAIR = pair()


def run(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def make_row() -> str:
    """The row of a router's port on a new bridge with an uplink; to be used in a namespace of its own."""
    make_gate(templating.environment())
    run("ip link add bridge type bridge")
    for port, other in (("router", "router-end"), ("uplink", "switch")):
        run(f"ip link add {port} type veth peer name {other}")
        run(f"ip link set {port} master bridge up")
        run(f"ip link set {other} up")
    run("ip link set bridge up")
    # the kernel looks at a carrier when it has time; until then the bridge takes no entries for the port
    eventually(lambda: all(_is_forwarding(port) for port in ("router", "uplink")))
    return f"{socket.if_nametoindex('router')} uplink {MAC} 198.18.0.7"


def _is_forwarding(port: str) -> bool:
    """linux/if_bridge.h: BR_STATE_FORWARDING"""
    return Path(f"/sys/class/net/{port}/brport/state").read_text() == "3\n"


def learn_from_outside() -> None:
    """What the bridge makes of a frame that the other member has sent."""
    run(f"bridge fdb replace {MAC} dev uplink master dynamic")


def port_of_router() -> str:
    """Where the bridge sends frames for the router."""
    return next(entry["ifname"] for entry in json.loads(run("bridge -json fdb show br bridge")) if entry["mac"] == MAC)


def repeat_all(consumer: Consumer) -> None:
    """Everything that is due now or later."""
    while (due := consumer.next_due()) is not None:
        time.sleep(due)
        consumer.repeat()


@isolated
@pytest.mark.parametrize("still_open", [True, False])
def test_a_takeover_is_claimed_again_for_as_long_as_the_gate_is_open(tmp_path: Path, still_open: bool):
    row = make_row()
    directory = StateDirectory(str(tmp_path))
    directory.write_role(FIRST_PAIR_ID, 1)
    directory.write_rows(FIRST_PAIR_ID, [row])
    consumer = Consumer(directory, LONG_LEASE_MS, str(tmp_path / "agent.sock"))
    with Gate() as gate, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        consumer.handle([(FIRST_PAIR_ID, "MASTER")])
        assert port_of_router() == "router"

        learn_from_outside()
        wire.bind(("switch", 0x0806))
        wire.setblocking(False)
        if not still_open:
            # the kernel has, while this host was frozen; keepalived has not noticed yet
            gate.close(FIRST_PAIR_ID)
        repeat_all(consumer)

        assert port_of_router() == ("router" if still_open else "uplink")
        if still_open:
            assert wire.recv(2048)
        else:
            with pytest.raises(BlockingIOError):
                wire.recv(2048)
    consumer.close()


@isolated
def test_who_forwards_speaks_again_when_somebody_else_has_spoken_for_its_routers(tmp_path: Path):
    """A host that does not know yet that the router has left it, say; keepalived does not hear of it."""
    row = make_row()
    directory = StateDirectory(str(tmp_path))
    directory.write_role(FIRST_PAIR_ID, 1)
    directory.write_rows(FIRST_PAIR_ID, [row])
    consumer, moves = Consumer(directory, LONG_LEASE_MS, str(tmp_path / "agent.sock")), Moves()
    now = 0.0

    def look() -> None:
        nonlocal now
        now += 60.0  # later than any pause of its
        consumer.notice(moves.take(now))

    consumer.handle([(FIRST_PAIR_ID, "MASTER")])
    repeat_all(consumer)
    look()
    assert consumer.next_due() is None, "it was this host itself"

    learn_from_outside()
    look()
    assert consumer.next_due() is not None
    repeat_all(consumer)
    assert port_of_router() == "router"

    with Gate() as gate:
        gate.close(FIRST_PAIR_ID)
    consumer.handle([(FIRST_PAIR_ID, "BACKUP")])
    learn_from_outside()
    look()
    assert consumer.next_due() is None, "the other one is right"
    consumer.close()
    moves.close()


def test_two_that_both_go_on_do_not_take_the_traffic_in_turns_for_ever(tmp_path: Path):
    now = 1000.0
    directory = StateDirectory(str(tmp_path))
    directory.write_observed(FIRST_PAIR_ID, "MASTER")
    directory.write_rows(FIRST_PAIR_ID, [f"7 uplink {MAC} 198.18.0.7"])
    consumer = Consumer(directory, LONG_LEASE_MS, str(tmp_path / "agent.sock"), clock=lambda: now)
    spoken = 0
    for _ in range(300):
        now += 1.0
        consumer.notice({(8, bytes.fromhex(MAC.replace(":", "")))})
        if consumer.next_due() == 0.0:
            consumer.repeat()
            spoken += 1
    assert spoken == 5
    now += 100.0
    consumer.notice({(8, bytes.fromhex(MAC.replace(":", "")))})
    assert consumer.next_due() == 1.0, "it was quiet meanwhile"
    consumer.close()


@isolated
def test_a_contest_that_is_over_is_claimed_on_this_hosts_own_bridges(tmp_path: Path):
    """They have learnt from the other member what switches have: frames for the router would be sent to it."""
    row = make_row()
    pairs = make_pairs(tmp_path, "uplink")
    pairs.state.write_role(FIRST_PAIR_ID + 1, 0)  # of a pair without a document: keepalived is left alone
    pairs.state.write_observed(FIRST_PAIR_ID, VrrpState.MASTER)
    pairs.state.write_rows(FIRST_PAIR_ID, [row])
    with Gate() as gate:
        gate.open(FIRST_PAIR_ID, LONG_LEASE_MS)
        learn_from_outside()
        for document in (dataclasses.replace(PAIR, peer_master="2026-01-02T03:04:05.678Z"), PAIR):
            assert pairs.apply([document], holding=True) == {}
            pairs.report()
        pairs.announce_again()
    assert port_of_router() == "router"


@isolated
def test_a_pair_whose_gate_has_run_out_is_not_open_whatever_keepalived_has_said(tmp_path: Path):
    row = make_row()
    pairs = make_pairs(tmp_path, "uplink")
    pairs.state.write_observed(FIRST_PAIR_ID, VrrpState.MASTER)
    pairs.state.write_rows(FIRST_PAIR_ID, [row])
    with Gate() as gate:
        gate.open(FIRST_PAIR_ID, LONG_LEASE_MS)
        assert pairs.open_pairs().masters == {FIRST_PAIR_ID}
        gate.close(FIRST_PAIR_ID)
        assert pairs.open_pairs().masters == frozenset()
