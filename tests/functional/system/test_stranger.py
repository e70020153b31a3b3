"""A host on the underlay that is no member of a pair cannot take it over by adverts of its own."""

from __future__ import annotations

import ipaddress
import re
import struct
import sys

import pytest

from haqn.keepalived.config import virtual_address
from tests.functional.system.stage import Stage

pytestmark = pytest.mark.functional

_SENDER = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_RAW, 112) as sender:
    for _ in range(100):
        sender.sendto(bytes.fromhex(sys.argv[1]), (sys.argv[2], 0))
        time.sleep(0.02)
"""


def advert(source: str, target: str, vr_id: int, address: str) -> bytes:
    """RFC 5798 section 5.1: a valid advert of the owner's priority, every 10 ms, with its checksum."""
    body = struct.pack(">BBBBHH4s", 0x31, vr_id, 255, 1, 1, 0, ipaddress.IPv4Address(address).packed)
    ends = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(target).packed
    total = sum(struct.unpack(">12H", ends + struct.pack(">BBH", 0, 112, len(body)) + body))
    checksum = ~(total % 0xFFFF) & 0xFFFF
    return body[:6] + struct.pack(">H", checksum) + body[8:]


def test_a_stranger_cannot_take_a_pair_over(stage: Stage) -> None:
    active, pair = stage.active, stage.pair
    victim, stranger = stage.host(active), stage.host(stage.third)
    configuration = victim.run(["cat", "/run/haqn/keepalived.conf"]).stdout
    found = re.search(rf"vrrp_instance P{pair} {{.*?virtual_router_id (\d+)", configuration, re.DOTALL)
    assert found is not None
    source, target = (stage.lab.spec.host(name).address for name in (stage.third, active))
    packet = advert(source, target, int(found[1]), virtual_address(pair))
    before = stage.scenario.states
    with stage.scenario.both_ways() as both_ways:
        stranger.run([sys.executable, "-c", _SENDER, packet.hex(), target])
        outbound, inbound = both_ways.stop()
    assert stage.scenario.states == before
    assert stage.forwarders() == [active]
    for result in (outbound, inbound):
        assert result.lost == 0
    rules = victim.run(["nft", "list", "table", "ip", "haqn_vrrp"]).stdout
    dropped = re.search(rf"@th,8,8 {int(found[1]):#x} .* counter packets (\d+)", rules)
    assert dropped is not None, rules
    assert int(dropped[1]) == 100
