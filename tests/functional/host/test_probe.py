"""A neighbour beyond a port of a bridge is asked by a host that has no address there."""

import subprocess

import pytest

from haqn.agent.probe import probe
from tests.eventually import eventually
from tests.isolated import isolated

pytestmark = pytest.mark.functional


@isolated
def test_a_neighbour_answers_by_arp_and_by_nd_whether_or_not_the_interface_is_in_a_bridge():
    for command in (
        "ip netns add far",
        "ip link add up0 type veth peer name far0 netns far",
        "ip link add brq type bridge",
        "ip -n far address add 192.0.2.1/24 dev far0",
        "ip -n far address add 2001:db8::1/64 dev far0 nodad",
        "ip -n far link set far0 up",
        "ip link set brq up",
        "ip link set up0 up",
    ):
        subprocess.run(command.split(), check=True)
    for _ in range(2):
        # the kernel lets nothing out of a veth's peer until it has noticed the carrier, which may take a while
        for targets in (["192.0.2.1"], ["2001:db8::1"], ["192.0.2.9", "192.0.2.1"]):
            assert eventually(lambda targets=targets: probe("up0", targets))
        assert not probe("up0", ["192.0.2.9", "2001:db8::9"])
        subprocess.run(["ip", "link", "set", "up0", "master", "brq"], check=True)
