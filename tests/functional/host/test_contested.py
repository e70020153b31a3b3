"""A member whose peer has given way says again where the pair's routers are: without keepalived, etcd or peer."""

import dataclasses
import socket
import subprocess
from pathlib import Path

import pytest

from haqn import templating
from haqn.agent.pairs import Pairs, make_gate
from haqn.failover.announce import SWITCHES_ONLY, Row, announce, frame
from haqn.failover.gate import Gate
from haqn.model import FIRST_PAIR_ID, VrrpState
from tests.functional.host.alone import LONG_LEASE_MS, make_pairs, pair
from tests.isolated import isolated

pytestmark = pytest.mark.functional

ROW = "7 up0 fa:16:3e:00:00:01 198.18.0.7"
PAIR = pair()
#: more often than is ever announced
STEPS = 10
#: a frame that the test sends after all others
LAST = ROW.replace("198.18.0.7", "198.18.0.99")


def announced(pairs: Pairs, wire: socket.socket) -> list[bytes]:
    """What leaves in many steps of the agent's loop after the leader has ceased to ask about the other MASTER."""
    for document in (dataclasses.replace(PAIR, peer_master="2026-01-02T03:04:05.678Z"), PAIR):
        # while the host holds what it has, keepalived is left alone
        assert pairs.apply([document], holding=True) == {}
        pairs.report()
        pairs.announce_again()
    for _ in range(STEPS):
        pairs.report()
        pairs.announce_again()
    announce([Row.parse(LAST)])
    _, last = frame(Row.parse(LAST), SWITCHES_ONLY)
    return list(iter(lambda: wire.recv(2048), last))


@pytest.mark.parametrize("open_again", [True, False])
@isolated
def test_routers_are_announced_when_a_contest_is_over_and_the_gate_is_open(tmp_path: Path, open_again: bool):
    for command in ("link add up0 type veth peer name far0", "link set far0 up", "link set up0 up"):
        subprocess.run(["ip", *command.split()], check=True)
    make_gate(templating.environment())
    pairs = make_pairs(tmp_path, "up0")
    pairs.state.write_role(FIRST_PAIR_ID + 1, 0)  # of a pair without a document: reason to hold
    pairs.state.write_observed(FIRST_PAIR_ID, VrrpState.MASTER)
    pairs.state.write_rows(FIRST_PAIR_ID, [ROW])
    with Gate() as gate, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as wire:
        wire.bind(("far0", 0x0806))
        wire.settimeout(30)
        if open_again:
            gate.open(FIRST_PAIR_ID, LONG_LEASE_MS)
        frames = announced(pairs, wire)
        assert pairs.daemon.pid() is None
    _, announcement = frame(Row.parse(ROW), SWITCHES_ONLY)
    assert frames == ([announcement] * 4 if open_again else [])
