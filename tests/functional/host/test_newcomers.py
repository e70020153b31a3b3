"""Neighbours are told of new addresses, those of the same bridge, too: a few times, and where they may speak."""

import contextlib
import socket
import subprocess

import pytest

from haqn.agent.newcomers import Newcomers
from haqn.model import FIRST_PAIR_ID, UNGATED_GROUP
from tests.isolated import isolated

pytestmark = pytest.mark.functional

ADDRESS = "203.0.113.9"


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def heard(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            count += socket.inet_aton(ADDRESS) in listener.recv(2048)
        except TimeoutError:
            return count


@isolated
def test_new_addresses_are_told_three_times_where_they_may_speak():
    ip("link add bridge type bridge")
    ip("link set bridge up")
    for name in ("router", "neighbour"):
        ip(f"link add {name} type veth peer name {name}-end")
        ip(f"link set {name} master bridge up")
        ip(f"link set {name}-end up")
    line = f"{socket.if_nametoindex('router')} - fa:16:3e:00:00:01 {ADDRESS}"
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as listener,
        contextlib.closing(Newcomers()) as newcomers,
    ):
        listener.bind(("neighbour-end", 0x0806))
        listener.settimeout(0.3)
        newcomers.tell({UNGATED_GROUP: [line]}, masters=(), now=100.0)
        assert heard(listener) == 1
        counts = []
        while (due := newcomers.next_due(100.0)) is not None:
            newcomers.repeat(masters=(), now=100.0 + due)
            counts.append(heard(listener))
        assert counts == [1, 1]

        newcomers.tell({FIRST_PAIR_ID: [line]}, masters=(), now=100.0)
        assert heard(listener) == 0, "the gate is shut here"
        newcomers.repeat(masters={FIRST_PAIR_ID}, now=200.0)
        assert heard(listener) > 0, "it has opened meanwhile"
        newcomers.tell({FIRST_PAIR_ID: []}, masters={FIRST_PAIR_ID}, now=300.0)
        assert newcomers.next_due(300.0) is None
