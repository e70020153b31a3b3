"""Routers with IPv6 in the kernel: both members of a pair build the same, at once, and only the open one is heard."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from haqn import templating
from haqn.advertiser import daemon
from haqn.agent import names
from haqn.agent.advertiser import Advertiser
from haqn.agent.pairs import make_gate
from haqn.documents import FixedIp, Route, RouterDocument
from haqn.failover import announce
from haqn.failover.gate import Gate
from haqn.keepalived.supervisor import OwnSession
from haqn.linux import netns
from tests.eventually import eventually
from tests.functional.host.test_gate import PAIR, bridge_with_a_gated_port, ip
from tests.functional.host.test_routers import (
    GATEWAY,
    INTERFACE,
    NAMESPACE,
    QG,
    QR,
    ROUTER,
    TENANT,
    HostUnderTest,
    output,
)
from tests.isolated import isolated

pytestmark = pytest.mark.functional

GATEWAY6 = dataclasses.replace(
    GATEWAY,
    fixed_ips=(
        *GATEWAY.fixed_ips,
        FixedIp(subnet_id="s6", ip_address="2001:db8:1::5", prefix_length=64, gateway_ip="fe80::1"),
    ),
)
INTERFACE6 = dataclasses.replace(
    INTERFACE,
    fixed_ips=(
        FixedIp(subnet_id="t6", ip_address="2001:db8:2::1", prefix_length=64, ra_mode="slaac"),
        FixedIp(subnet_id="u6", ip_address="2001:db8:3::1", prefix_length=64, ra_mode="slaac"),
    ),
)
ROUTER6 = dataclasses.replace(
    ROUTER,
    gateway=GATEWAY6,
    interfaces=(INTERFACE6,),
    routes=(Route(destination="2001:db8:ff::/48", nexthop="2001:db8:2::9"),),
)


def addresses(device: str) -> dict[str, list[str]]:
    """Address -> its flags, of IPv6."""
    (link,) = json.loads(output("ip", "-6", "-j", "address", "show", "dev", device, namespace=NAMESPACE))
    flags = ("tentative", "dadfailed", "optimistic")
    return {f"{a['local']}/{a['prefixlen']}": [flag for flag in flags if a.get(flag)] for a in link["addr_info"]}


def routes() -> set[tuple[str, str, str]]:
    found = json.loads(output("ip", "-6", "-j", "route", namespace=NAMESPACE))
    return {(route["dst"], route["gateway"], route["dev"]) for route in found if "gateway" in route}


@isolated
def test_a_router_with_both_versions():
    with HostUnderTest() as host:
        built = host.apply(ROUTER6)
        # at once, and nothing is detected first: the peer has the same addresses
        assert addresses(QR) == {"2001:db8:2::1/64": [], "2001:db8:3::1/64": [], "fe80::f816:3eff:fe00:2/64": []}
        assert addresses(QG) == {"2001:db8:1::5/64": [], "fe80::f816:3eff:fe00:1/64": []}
        assert routes() == {("default", "fe80::1", QG), ("2001:db8:ff::/48", "2001:db8:2::9", QR)}
        assert output("cat", f"/proc/sys/net/ipv6/conf/{QR}/forwarding", namespace=NAMESPACE) == "1\n"
        output("ping", "-c", "1", "-W", "1", "2001:db8:1::5", namespace=NAMESPACE)
        rules = output("nft", "list", "ruleset", namespace=NAMESPACE)
        assert "table ip6 haqn" in rules
        assert "snat to 198.51.100.5" in rules
        lines = [line.split()[2:] for line in built.rows[PAIR]]
        assert [GATEWAY.mac_address, "198.51.100.5"] in lines
        assert [GATEWAY.mac_address, "2001:db8:1::5"] in lines
        assert [INTERFACE.mac_address, "2001:db8:2::1"] in lines
        before = output("ip", "-6", "address", namespace=NAMESPACE), routes()
        host.apply(ROUTER6)
        assert (output("ip", "-6", "address", namespace=NAMESPACE), routes()) == before


@isolated
def test_ipv6_comes_and_goes():
    with HostUnderTest() as host:
        host.apply()
        assert output("ip", "-6", "address", namespace=NAMESPACE) == ""
        host.apply(ROUTER6)
        assert addresses(QG) == {"2001:db8:1::5/64": [], "fe80::f816:3eff:fe00:1/64": []}
        output("ip", "-6", "address", "flush", "dev", QR, namespace=NAMESPACE)
        output("ip", "-6", "route", "del", "default", namespace=NAMESPACE)
        host.apply(dataclasses.replace(ROUTER6, interfaces=(dataclasses.replace(INTERFACE6, fixed_ips=()),), routes=()))
        assert output("ip", "-6", "address", "show", "dev", QR, namespace=NAMESPACE) == ""
        assert routes() == {("default", "fe80::1", QG)}
        only6 = dataclasses.replace(GATEWAY6, fixed_ips=GATEWAY6.fixed_ips[1:])
        host.apply(RouterDocument(router_id="r1", pair_id=PAIR, gateway=only6))
        assert addresses(QG) == {"2001:db8:1::5/64": [], "fe80::f816:3eff:fe00:1/64": []}
        assert "snat" not in output("nft", "list", "ruleset", namespace=NAMESPACE)
        host.apply()
        assert output("ip", "-6", "address", "show", "dev", QG, namespace=NAMESPACE) == ""
        assert names.tap(INTERFACE.port_id) in output("ip", "link")


def reaches(address: str) -> bool:
    command = ["ip", "netns", "exec", "vm", "ping", "-c", "1", "-W", "0.3", address]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


@isolated
def test_the_gate_is_for_all_frames():
    make_gate(templating.environment())
    bridge_with_a_gated_port()
    for namespace, address in (("router", "2001:db8::1"), ("vm", "2001:db8::2")):
        ip(f"-n {namespace} address add {address}/64 dev eth0 nodad")
    with Gate() as gate:
        assert not reaches("2001:db8::1")
        gate.open(PAIR, 30_000)
        ip("-n vm neighbour flush all")
        assert reaches("2001:db8::1")
        gate.close(PAIR)
        assert not reaches("2001:db8::1")


@isolated
def test_announcements_of_takeovers_end_in_bridges_that_learn_from_them():
    make_gate(templating.environment())
    ip(
        "netns add uplink",
        "netns add vm",
        "link add name br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        "link set br0 up",
        "link add up0 type veth peer name eth0 netns uplink",
        "link add tap1 type veth peer name eth0 netns vm",
        "link set up0 master br0 up",
        "link set tap1 master br0 up",
        "-n uplink link set eth0 up",
        "-n vm link set eth0 up",
        "-n vm address add 2001:db8::2/64 dev eth0 nodad",
        "-n vm neighbour add 2001:db8::1 lladdr fa:16:3e:00:00:99 nud stale router dev eth0",
    )
    own = ["bridge", "fdb", "replace", announce.SWITCHES_ONLY.hex(":"), "dev", "br0", "self", "permanent"]
    subprocess.run(own, check=True)
    row = announce.Row.parse("1 eth0 fa:16:3e:00:00:07 2001:db8::1")

    def known() -> tuple[str, bool]:
        (entry,) = json.loads(output("ip", "-j", "neighbour", "show", "2001:db8::1", namespace="vm"))
        return entry["lladdr"], "router" in entry

    def learned() -> bool:
        return "fa:16:3e:00:00:07" in output("bridge", "fdb", "show", "brport", "up0")

    with netns.entered("uplink"):
        assert announce.announce([row]) == 1
    eventually(learned)
    assert known() == ("fa:16:3e:00:00:99", True), "it was flooded"
    with netns.entered("uplink"):
        announce.announce([row], announce.EVERYBODY)
    eventually(lambda: known() == ("fa:16:3e:00:00:07", True))


def hears(namespace: str, device: str = "eth0") -> tuple[set[str], set[str]]:
    """(addresses that the host made of what it was told, its routers)."""
    (link,) = json.loads(output("ip", "-6", "-j", "address", "show", "dev", device, namespace=namespace))
    made = {ip["local"] for ip in link["addr_info"] if ip["scope"] == "global"}
    found = json.loads(output("ip", "-6", "-j", "route", "show", "default", namespace=namespace))
    return made, {route["gateway"] for route in found}


@isolated
def test_hosts_hear_only_the_open_router_and_keep_it():
    advertiser = Advertiser(pathlib.Path("/run/haqn"), sys.executable, OwnSession())
    with HostUnderTest(advertiser) as host, Gate() as gate:
        host.apply(ROUTER6)
        host.routers.check_health()
        ip(
            "netns add vm",
            "link add tapvm type veth peer name eth0 address fa:16:3e:00:00:aa netns vm",
            f"link set tapvm master {names.bridge(TENANT.network_id)} up",
        )
        daemon_pid, _ = eventually(lambda: daemon.find("/run/haqn/advertiser"))
        ip("-n vm link set eth0 up")
        time.sleep(1.0)
        assert hears("vm") == (set(), set()), "a standby was heard"
        gate.open(PAIR, 60_000)
        told = {"2001:db8:2:0:f816:3eff:fe00:aa", "2001:db8:3:0:f816:3eff:fe00:aa"}, {"fe80::f816:3eff:fe00:2"}
        eventually(lambda: hears("vm") == told, timeout=30)
        assert "mtu 1450" in output("ip", "-6", "route", "show", "default", namespace="vm")
        # an end of the program is none of the router
        os.kill(daemon_pid, signal.SIGTERM)
        eventually(lambda: daemon.find("/run/haqn/advertiser") is None)
        assert hears("vm") == told
        host.routers.check_health()
        eventually(lambda: daemon.find("/run/haqn/advertiser"))
        host.routers.remove("r1")
        host.routers.check_health()
        eventually(lambda: daemon.find("/run/haqn/advertiser") is None)
