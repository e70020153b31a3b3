"""A member yields in the state that is meant and in no other, and until it hears its peer; keepalived is real."""

import dataclasses
import subprocess
import sys
import time

import pytest

from haqn.documents import PairDocument
from haqn.keepalived.config import virtual_address
from haqn.model import Role, VrrpState
from tests.eventually import eventually
from tests.functional.host.alone import pair
from tests.functional.host.test_failover import FIRST, apply, open_gates, pairs_of_host
from tests.isolated import isolated

pytestmark = pytest.mark.functional

#: sends VRRPv3 adverts of a MASTER with the highest priority, ten a second (RFC 5798 section 5.2)
PEER = """
import ipaddress, socket, struct, sys, time
address = ipaddress.ip_address(sys.argv[1]).packed
source, destination = (ipaddress.ip_address(one).packed for one in ("192.0.2.2", "192.0.2.1"))
body = struct.pack("!BBBBHH", 0x31, 1, 254, 1, 10, 0) + address
pseudo = source + destination + struct.pack("!BBH", 0, 112, len(body))
total = sum(struct.unpack(f"!{len(pseudo + body) // 2}H", pseudo + body))
total = (total >> 16) + (total & 0xFFFF)
body = body[:6] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[8:]
sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
while True:
    sender.sendto(body, ("192.0.2.1", 0))
    time.sleep(0.1)
"""


def backup(**changes: object) -> PairDocument:
    return dataclasses.replace(pair(0), role=Role.BACKUP, **changes)


@isolated
def test_a_member_yields_in_the_state_that_is_meant_until_it_hears_its_peer(tmp_path):
    with pairs_of_host(tmp_path) as pairs:
        apply(pairs, backup())
        eventually(lambda: open_gates() == {FIRST})
        (report,) = pairs.report()
        assert (report.gate_open, report.yielding) == (True, False)
        # a question is answered when keepalived has run a check since
        apply(pairs, backup(peer_master="then"))
        assert pairs.report()[0].peer_master == ""
        eventually(lambda: pairs.report()[0].peer_master == "then")
        # an order about another state
        apply(pairs, backup(yields="2026-01-01T00:00:00.000Z"))
        time.sleep(0.5)
        assert open_gates() == {FIRST}
        apply(pairs, backup(yields=report.since))
        eventually(lambda: open_gates() == set() and pairs.report()[0].state is VrrpState.FAULT)
        assert pairs.report()[0].yielding
        # the order ends
        apply(pairs, backup())
        eventually(lambda: open_gates() == {FIRST})
        assert not pairs.report()[0].yielding
        # and again; now its peer can be heard
        apply(pairs, backup(yields=pairs.report()[0].since))
        eventually(lambda: pairs.report()[0].state is VrrpState.FAULT)
        for command in (
            "ip netns add far",
            "ip link add v0 type veth peer name v1 netns far",
            "ip link set v0 master eth0 up",
            "ip -n far address add 192.0.2.2/24 dev v1",
            "ip -n far link set v1 up",
        ):
            subprocess.run(command.split(), check=True)
        command = ["ip", "netns", "exec", "far", sys.executable, "-c", PEER, virtual_address(FIRST)]
        with subprocess.Popen(command) as peer:
            try:
                eventually(lambda: pairs.report()[0].state is VrrpState.BACKUP)
                assert not pairs.report()[0].yielding
                time.sleep(1)
                assert open_gates() == set(), "it stands by"
            finally:
                peer.kill()
        eventually(lambda: open_gates() == {FIRST})


@isolated
def test_a_host_that_was_rebooted_waits_before_it_claims_what_nobody_seems_to_have(tmp_path):
    with pairs_of_host(tmp_path) as pairs:
        began = time.monotonic()
        apply(pairs, pair(0, epoch=4))
        eventually(lambda: pairs.report() and pairs.report()[0].yielding)
        eventually(lambda: open_gates() == {FIRST})
        assert time.monotonic() - began > 3
