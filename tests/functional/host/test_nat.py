"""Floating IPs and source NAT with real packets: two tenants of one external network, the same addresses and MACs."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import subprocess
from collections.abc import Iterator

import pytest

from haqn.agent import diff, names
from haqn.documents import FixedIp, FloatingIp, NetworkDocument, RouterDocument, RouterPort
from haqn.failover import announce
from haqn.linux import netns
from haqn.model import NetworkType
from tests.functional.host.test_routers import GATEWAY, INTERFACE, NETWORKS, QR, TENANT, HostUnderTest, output
from tests.isolated import isolated

pytestmark = pytest.mark.functional

OTHER_TENANT = dataclasses.replace(TENANT, network_id="b0000000-0000", segmentation_id=78)
SECOND = NetworkDocument(network_id="c0000000-0000", network_type=NetworkType.VXLAN, mtu=1450, segmentation_id=79)
WORLD = "198.51.100.1"
#: behind the provider's router, on a link of MTU 1300
FAR = "192.0.3.2"
#: beside the router, so that nobody but the router translates
ONE, TWO, ELSEWHERE = "198.51.100.21", "198.51.100.22", "198.51.100.31"


def floating(address: str, fixed: str) -> FloatingIp:
    return FloatingIp(floating_ip_address=address, fixed_ip_address=fixed)


def port_on(network: NetworkDocument, port_id: str, mac: str, address: str) -> RouterPort:
    fixed_ip = FixedIp(subnet_id=port_id, ip_address=address, prefix_length=24)
    return RouterPort(
        port_id=port_id, network_id=network.network_id, mac_address=mac, fixed_ips=(fixed_ip,), mtu=network.mtu
    )


ROUTER = RouterDocument(
    router_id="r1",
    pair_id=None,
    gateway=GATEWAY,
    interfaces=(INTERFACE, port_on(SECOND, "30000000-0000-0004", "fa:16:3e:00:00:04", "10.0.1.1")),
    floating_ips=(floating(ONE, "10.0.0.11"), floating(TWO, "10.0.1.12")),
)
OTHER = RouterDocument(
    router_id="r2",
    pair_id=None,
    gateway=dataclasses.replace(
        GATEWAY,
        port_id="a9000000-0000-0001",
        mac_address="fa:16:3e:00:00:09",
        fixed_ips=(dataclasses.replace(GATEWAY.fixed_ips[0], ip_address="198.51.100.6"),),
    ),
    interfaces=(port_on(OTHER_TENANT, "a1000000-0000-0002", INTERFACE.mac_address, "10.0.0.1"),),
    floating_ips=(floating(ELSEWHERE, "10.0.0.11"),),
)


def plug(name: str, network: NetworkDocument, mac: str, address: str) -> None:
    """A VM, in the namespace of that name."""
    netns.create(name)
    output(
        *f"ip link add tap-{name} mtu {network.mtu} master {names.bridge(network.network_id)} type veth".split(),
        *f"peer name eth0 mtu {network.mtu} address {mac} netns {name}".split(),
    )
    output("ip", "link", "set", f"tap-{name}", "up")
    for command in ("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up"):
        output("ip", *command.split(), namespace=name)
    output("ip", "route", "add", "default", "via", address.rpartition(".")[0] + ".1", namespace=name)


@contextlib.contextmanager
def world() -> Iterator[HostUnderTest]:
    """vm1 and vm2 have floating IPs of r1, vm3 has none; vm1 has a double at the other tenant."""
    with HostUnderTest() as host:
        networks = NETWORKS | {network.network_id: network for network in (OTHER_TENANT, SECOND)}
        for network in (OTHER_TENANT, SECOND):
            host.networks.apply(network)
        for router in (ROUTER, OTHER):
            host.routers.apply(router, networks, diff.OpenPairs)
        output("ip", "address", "add", f"{WORLD}/24", "dev", "wire")
        for device in ("wire", "eth1"):
            output("ip", "link", "set", device, "up")
        netns.create("far")
        for command in (
            "link add edge mtu 1300 type veth peer name eth0 mtu 1300 netns far",
            "address add 192.0.3.1/24 dev edge",
            "link set edge up",
            f"-n far address add {FAR}/24 dev eth0",
            "-n far link set eth0 up",
            "-n far route add default via 192.0.3.1",
        ):
            output("ip", *command.split())
        netns.set_sysctls({"net/ipv4/ip_forward": "1"})
        plug("vm1", TENANT, "fa:16:3e:00:01:01", "10.0.0.11")
        plug("vm2", SECOND, "fa:16:3e:00:01:02", "10.0.1.12")
        plug("vm3", TENANT, "fa:16:3e:00:01:03", "10.0.0.13")
        plug("double", OTHER_TENANT, "fa:16:3e:00:01:01", "10.0.0.11")
        yield host


def ping(target: str, *options: str, namespace: str | None = None) -> str:
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    command = [*inside, "ping", "-n", "-c", "1", "-W", "1", *options, target]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def reaches(target: str, *options: str, namespace: str | None = None) -> bool:
    return " 0% packet loss" in ping(target, *options, namespace=namespace)


@contextlib.contextmanager
def captured(namespace: str, expression: str, count: int) -> Iterator[list[str]]:
    """Lines of tcpdump, after the block."""
    command = ["ip", "netns", "exec", namespace, "timeout", "5", "tcpdump", "-lnvv", "-i", "eth0"]
    with subprocess.Popen(
        [*command, "-c", str(count), expression], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as dump:
        assert dump.stderr is not None
        while "listening" not in (said := dump.stderr.readline()):
            assert said, "tcpdump has ended"
        lines: list[str] = []
        yield lines
        lines += dump.communicate()[0].splitlines()


@isolated
def test_floating_ips_and_source_nat_side_by_side():
    with world():
        assert all(reaches(address) for address in (ONE, TWO, ELSEWHERE))
        for vm in ("vm1", "vm2", "vm3", "double"):
            assert reaches(WORLD, namespace=vm), vm
        # through the same router: from one with, and from one without a floating IP; to itself; from another subnet
        for vm, target in (("vm1", TWO), ("vm2", ONE), ("vm3", ONE), ("vm3", TWO), ("vm1", ONE)):
            assert reaches(target, namespace=vm), (vm, target)
        # across routers, both ways
        for vm, target in (("vm1", ELSEWHERE), ("vm3", ELSEWHERE), ("double", ONE), ("double", TWO)):
            assert reaches(target, namespace=vm), (vm, target)
        # the router itself, at the address that strangers of its own side are given, too
        for vm in ("vm1", "vm3"):
            assert reaches("198.51.100.5", namespace=vm), vm
        # and to the fixed address, untranslated
        with captured("vm2", "icmp", 2) as lines:
            assert reaches("10.0.1.12", namespace="vm1")
        assert "10.0.0.11 > 10.0.1.12" in lines[1]
        # who is seen
        seen = {}
        for vm in ("vm1", "vm3", "double"):
            with captured("vm2", "icmp[0] == 8", 1) as lines:
                assert reaches(TWO, namespace=vm)
            seen[vm] = lines[1].split(" > ")[0].strip()
        assert seen == {"vm1": ONE, "vm3": "198.51.100.5", "double": ELSEWHERE}
        # a closed port is the VM's to refuse, one of the router is nobody's
        with socket.socket() as connection, pytest.raises(ConnectionRefusedError):
            connection.connect((ONE, 81))
        with socket.socket() as connection:
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.connect(("198.51.100.5", 81))


@isolated
def test_errors_and_path_mtus_are_about_the_address_that_the_sender_knows():
    with world():
        # a packet with DF that the tenant's network is too small for: the router's own error, about a packet that it
        # had translated already
        assert reaches(ONE, "-M", "do", "-s", "1422")
        assert "Frag needed and DF set (mtu = 1450)" in ping(ONE, "-M", "do", "-s", "1472")
        assert "mtu 1450" in output("ip", "route", "get", ONE)
        # the other way: a router in the internet, about a packet of a VM; also through source NAT
        for vm in ("vm1", "vm3"):
            assert reaches(FAR, "-M", "do", "-s", "1272", namespace=vm)
            with captured(vm, "icmp[0] == 3", 1) as lines:
                assert "Frag needed and DF set (mtu = 1300)" in ping(FAR, "-M", "do", "-s", "1372", namespace=vm)
            assert not [line for line in lines if "bad cksum" in line]
            assert re.search(r"10\.0\.0\.1[13] > 192\.0\.3\.2", lines[-1])
            assert "mtu 1300" in output("ip", "route", "get", FAR, namespace=vm)
        # so a TCP connection moves data in both directions, whoever begins
        for sender, target in ((None, ONE), ("far", ONE), ("vm1", FAR), ("vm3", FAR), ("vm3", TWO), ("vm1", ELSEWHERE)):
            assert moves_data(sender, target), (sender, target)
        # what is unreachable or too far says so, to and from a floating IP
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
            question.connect((ONE, 9))
            question.settimeout(1)
            question.send(b"?")
            with pytest.raises(ConnectionRefusedError):
                question.recv(1)
        assert "Time to live exceeded" in ping(ONE, "-t", "1")
        assert "Time to live exceeded" in ping(FAR, "-t", "2", namespace="vm1")
        assert "Destination Net Unreachable" in ping("203.0.113.77", namespace="vm1")


SERVERS = {ONE: "vm1", TWO: "vm2", ELSEWHERE: "double", FAR: "far"}
SERVE = """
import socket
server = socket.create_server(("", 8080))
print(flush=True)
connection, _ = server.accept()
data = b""
while len(data) < 200000:
    data += connection.recv(65536)
connection.sendall(data)
"""
ASK = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 8080), timeout=5)
connection.sendall(bytes(200000))
left = 200000
while left:
    left -= len(connection.recv(65536))
"""


def moves_data(sender: str | None, target: str) -> bool:
    def python(namespace: str | None, program: str, *arguments: str) -> subprocess.Popen:
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        return subprocess.Popen([*inside, "python3", "-SIc", program, *arguments], stdout=subprocess.PIPE)

    with python(SERVERS[target], SERVE) as server:
        server.stdout.readline()
        with python(sender, ASK, target) as client:
            done = client.wait() == 0
        server.kill()
    return done


@isolated
def test_without_a_floating_ip_nothing_is_left_of_it():
    with world() as host:
        networks = NETWORKS | {network.network_id: network for network in (OTHER_TENANT, SECOND)}
        built = host.routers.apply(
            dataclasses.replace(ROUTER, floating_ips=ROUTER.floating_ips[:1]), networks, diff.OpenPairs
        )
        assert len(built.changes) == 2, "the rules, and one address"
        assert not reaches(TWO)
        assert reaches(ONE)
        assert reaches(WORLD, namespace="vm2"), "by source NAT now"
        back = host.routers.apply(ROUTER, networks, diff.OpenPairs)
        (lines,) = back.new_rows.values()
        assert [line.split()[3] for line in lines] == [TWO]
        # as the agent does: somebody has asked for it in vain a moment ago
        with announce.Announcer() as announcer:
            assert announcer.tell_neighbours([announce.Row.parse(line) for line in lines]) == 1
        assert reaches(TWO)
        host.routers.apply(dataclasses.replace(ROUTER, enable_snat=False), networks, diff.OpenPairs)
        assert reaches(WORLD, namespace="vm1"), "floating IPs need no source NAT"
        assert not reaches(WORLD, namespace="vm3")
        output("ip", "route", "add", "10.0.0.0/24", "via", "198.51.100.5")
        assert reaches(WORLD, namespace="vm3"), "untranslated, for somebody who knows the way"
        assert reaches("10.0.0.13")
        assert QR in output("ip", "link", namespace=names.namespace("r1"))
