"""A takeover is announced a known number of times: seen by a third host that knows the addresses, and by the switch."""

from __future__ import annotations

import collections
import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from haqn import templating
from haqn.agent.pairs import make_gate
from haqn.failover import announce
from haqn.failover.consumer import Consumer
from haqn.failover.state import StateDirectory
from haqn.linux import netns
from haqn.model import FIRST_PAIR_ID
from tests.isolated import isolated

pytestmark = pytest.mark.functional

LEASE_MS = 600_000
MAC, OTHER_MAC = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
PORT, PORT_6, OTHER_PORT = "198.18.0.7", "2001:db8::7", "198.18.0.8"
FLOATING = ("198.18.0.71", "198.18.0.72")
MACS = {PORT: MAC, PORT_6: MAC, OTHER_PORT: OTHER_MAC, **dict.fromkeys(FLOATING, MAC)}
#: a frame that the test sends after all others
LAST = "198.18.0.99"
#: seconds after a takeover at which everything is said again
REPEATS = (0.05, 0.5, 2.0)


def run(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def ip(*commands: str) -> None:
    for command in commands:
        run(f"ip {command}")


def make_lan() -> list[str]:
    """A switch with this host, another one where it has seen the routers until now, and a third one whose neighbour
    cache is warm. Returns the rows of two routers' ports on this host."""
    make_gate(templating.environment())
    for namespace in ("lan", "third"):
        netns.create(namespace)
    ip(
        "-n lan link add name switch type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        "link add uplink type veth peer name here netns lan",
        "link add old-uplink type veth peer name there netns lan",
        "-n third link add eth0 type veth peer name third netns lan",
        *(f"-n lan link set {port} master switch up" for port in ("here", "there", "third")),
        "-n lan link set switch up",
        "link set uplink up",
        "link set old-uplink up",
        "-n third address add 198.18.0.200/16 dev eth0",
        "-n third address add 2001:db8::200/64 dev eth0 nodad",
        "-n third link set eth0 up",
    )
    rows = []
    for tap, mac in (("tap1", MAC), ("tap2", OTHER_MAC)):
        ip(f"link add {tap} type veth peer name {tap}-end", f"link set {tap} group {FIRST_PAIR_ID} up")
        index = socket.if_nametoindex(tap)
        rows += [f"{index} uplink {mac} {address}" for address, of in MACS.items() if of == mac]
        run(f"bridge -n lan fdb replace {mac} dev there master dynamic")
    for address, mac in MACS.items():
        ip(f"-n third neighbour replace {address} lladdr {mac} dev eth0 nud reachable")
    return rows


class Third:
    """What arrives at the third host, and what it knows."""

    def __init__(self) -> None:
        with netns.entered("third"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._socket.bind(("eth0", 3))
        self._socket.settimeout(60)

    def close(self) -> None:
        self._socket.close()

    def heard(self) -> collections.Counter[str]:
        """How often each address was announced since the last call."""
        announce.announce([announce.Row.parse(f"1 uplink {MAC} {LAST}")])
        found: collections.Counter[str] = collections.Counter()
        frames = {
            announce.frame(announce.Row.parse(f"1 uplink {mac} {address}"), announce.SWITCHES_ONLY)[1]: address
            for address, mac in (MACS | {LAST: MAC}).items()
        }
        while True:
            data = self._socket.recv(2048)
            address = frames.get(data, "something else")
            if address == LAST:
                return +found
            # whatever bears a router's MAC counts
            found[address] += data[6:12].hex(":") in MACS.values()

    def knows(self) -> dict[str, str]:
        """Address -> MAC, of its neighbours' cache."""
        shown = json.loads(run("ip -n third -j neighbour"))
        return {one["dst"]: one["lladdr"] for one in shown if one["dst"] in MACS and "lladdr" in one}


def switched_to() -> dict[str, str]:
    """MAC of a router -> port of the switch behind which it is."""
    found = {entry["mac"]: entry["ifname"] for entry in json.loads(run("bridge -n lan -j fdb show br switch"))}
    return {mac: found[mac] for mac in (MAC, OTHER_MAC)}


@contextlib.contextmanager
def third_host() -> Iterator[Third]:
    third = Third()
    try:
        yield third
    finally:
        third.close()


@isolated
def test_a_takeover_announces_each_port_four_times_and_each_floating_address_three_times(tmp_path: Path):
    rows = make_lan()
    directory = StateDirectory(str(tmp_path))
    directory.write_role(FIRST_PAIR_ID, 1)
    directory.write_rows(FIRST_PAIR_ID, rows)
    now = 1000.0
    consumer = Consumer(directory, LEASE_MS, str(tmp_path / "agent.sock"), clock=lambda: now)
    ports, everything = {PORT: 1, PORT_6: 1, OTHER_PORT: 1}, dict.fromkeys(MACS, 1)
    with third_host() as third:
        assert set(switched_to().values()) == {"there"}
        consumer.handle([(FIRST_PAIR_ID, "MASTER")])
        # one frame a port and IP version is enough for switches, and comes first
        assert third.heard() == ports
        assert switched_to() == {MAC: "here", OTHER_MAC: "here"}
        assert third.knows() == MACS

        # keepalived says it again after a reload: nothing is new
        consumer.handle([(FIRST_PAIR_ID, "MASTER")])
        assert third.heard() == {}
        for moment in REPEATS:
            now = 1000.0 + moment - 0.01
            consumer.repeat()
            assert third.heard() == {}, "it is not time yet"
            now = 1000.0 + moment + 0.01
            consumer.repeat()
            assert third.heard() == everything
        assert consumer.next_due() is None
        now += 3600
        consumer.repeat()
        assert third.heard() == {}
        assert third.knows() == MACS
        assert switched_to() == {MAC: "here", OTHER_MAC: "here"}
    consumer.close()
