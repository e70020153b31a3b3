"""Adverts are taken from peers alone, and none of a peer's is lost while the rules change."""

import contextlib
import socket
import subprocess
import sys
import threading

import pytest

from haqn.linux.vrrp import PeerFilter
from tests.isolated import isolated

pytestmark = pytest.mark.functional

HOST, PEER, STRANGER, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.11"
VRRP = 112
#: source address, virtual router id, how many: adverts with the highest priority
_SENDER = """
import socket, struct, sys, time
source, vr_id, count, target = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with socket.socket(socket.AF_INET, socket.SOCK_RAW, 112) as sender:
    sender.bind((source, 0))
    for number in range(count):
        sender.sendto(struct.pack(">BBBBHH", 0x31, vr_id, 255, 1, 10, 0), (target, 0))
        time.sleep(0.001)
"""


def send(source, vr_id, count=5, target=HOST):
    command = ["ip", "netns", "exec", "peer", sys.executable, "-c", _SENDER, source, str(vr_id), str(count), target]
    return subprocess.Popen(command)


def wire():
    for command in (
        "netns add peer",
        "link add ha0 type veth peer name ha0 netns peer",
        f"address add {HOST}/24 dev ha0",
        f"address add {OTHER}/24 dev ha0",
        "link set ha0 up",
        f"-n peer address add {PEER}/24 dev ha0",
        f"-n peer address add {STRANGER}/24 dev ha0",
        "-n peer link set ha0 up",
    ):
        subprocess.run(["ip", *command.split()], check=True)


class Listener:
    """Counts adverts by source and id, as keepalived gets them."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP)
        self._socket.settimeout(1)

    def close(self):
        self._socket.close()

    def drain(self):
        seen = {}
        while True:
            try:
                packet, (source, _) = self._socket.recvfrom(2048)
            except TimeoutError:
                return seen
            vr_id = packet[(packet[0] & 15) * 4 + 1]
            seen[source, vr_id] = seen.get((source, vr_id), 0) + 1


@isolated
def test_only_the_peer_of_a_pair_is_heard():
    wire()
    peers = PeerFilter()
    everybody = [(PEER, 7, HOST), (STRANGER, 7, HOST), (STRANGER, 7, OTHER), (PEER, 8, HOST), (STRANGER, 9, HOST)]

    def heard():
        for source, vr_id, target in everybody:
            assert send(source, vr_id, target=target).wait() == 0
        return listener.drain()

    with contextlib.closing(Listener()) as listener:
        _try_all(peers, heard)


def _try_all(peers, heard):
    assert heard() == {(PEER, 7): 5, (STRANGER, 7): 10, (PEER, 8): 5, (STRANGER, 9): 5}
    wanted = {7: frozenset({PEER}), 8: frozenset({STRANGER})}
    peers.widen(wanted)
    peers.narrow(wanted)
    # 9 is no pair's id: another keepalived of this host
    assert heard() == {(PEER, 7): 5, (STRANGER, 9): 5}
    peers.widen({7: frozenset({STRANGER})})
    assert heard() == {(PEER, 7): 5, (STRANGER, 7): 10, (PEER, 8): 5, (STRANGER, 9): 5}
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    peers.narrow(wanted)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    peers.restore()
    assert heard() == {(PEER, 7): 5, (STRANGER, 9): 5}


@isolated
def test_a_peer_is_heard_while_the_rules_change():
    wire()
    peers = PeerFilter()
    seen, changes = {}, 0
    with contextlib.closing(Listener()) as listener:
        sender = send(PEER, 7, count=500)
        reader = threading.Thread(target=lambda: seen.update(listener.drain()))
        reader.start()
        while sender.poll() is None:
            wanted = {7: frozenset({PEER}), 10 + changes % 200: frozenset({STRANGER})}
            peers.widen(wanted)
            peers.narrow(wanted)
            changes += 1
        reader.join()
    assert seen == {(PEER, 7): 500}
    assert changes > 20
