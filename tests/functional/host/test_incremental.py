"""What a change of a router costs and leaves: events of the kernel in each namespace, messages, transactions."""

import contextlib
import dataclasses
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from haqn import templating
from haqn.agent import diff, names
from haqn.agent.networks import Networks
from haqn.agent.routers import Routers
from haqn.documents import FixedIp, FloatingIp, NetworkDocument, Route, RouterDocument
from haqn.failover import netlink
from haqn.failover.nfnetlink import NfTables
from haqn.linux import netns, nftables
from haqn.model import NetworkType
from tests.eventually import eventually
from tests.functional.host.test_routers import (
    GATEWAY,
    INTERFACE,
    NAMESPACE,
    NETWORKS,
    PAIR,
    QG,
    QR,
    ROUTER,
    HostUnderTest,
    addresses,
    links,
    output,
    routes,
)
from tests.isolated import isolated

pytestmark = pytest.mark.functional

#: linux/rtnetlink.h: RTMGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
_EVENTS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400
_NEW_ADDRESS, _NEW_ROUTE = 20, 24
#: messages that a look at a router takes which has two ports and needs nothing
_LOOK = 12

NEIGHBOUR = dataclasses.replace(
    ROUTER,
    router_id="r2",
    gateway=dataclasses.replace(
        GATEWAY,
        port_id="91000000-0000-0001",
        mac_address="fa:16:3e:00:01:01",
        fixed_ips=(dataclasses.replace(GATEWAY.fixed_ips[0], ip_address="198.51.100.6"),),
    ),
    interfaces=(dataclasses.replace(INTERFACE, port_id="11000000-0000-0002", mac_address="fa:16:3e:00:01:02"),),
)
SECOND = dataclasses.replace(
    INTERFACE,
    port_id="20000000-0000-0003",
    mac_address="fa:16:3e:00:00:03",
    fixed_ips=(FixedIp(subnet_id="u", ip_address="10.1.0.1", prefix_length=24),),
)


def floating(count: int) -> tuple[FloatingIp, ...]:
    return tuple(
        FloatingIp(floating_ip_address=f"198.51.100.{number + 50}", fixed_ip_address=f"10.0.0.{number + 50}")
        for number in range(count)
    )


def messages(data: bytes) -> list[tuple[int, bytes]]:
    """(kind, body) of each netlink message."""
    return [(kind, body) for kind, _, body in netlink.messages(data)]


class Ear:
    """Hears what changes in one namespace: events of rtnetlink, and how often the ruleset changed."""

    def __init__(self, namespace: str | None) -> None:
        with netns.entered(namespace) if namespace else contextlib.nullcontext():
            self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._events.bind((0, _EVENTS))
            self._tables = NfTables()
        self._events.setblocking(False)
        self._generation = nftables.generation(self._tables)

    def close(self) -> None:
        self._events.close()
        self._tables.close()

    def heard(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found += messages(self._events.recv(65536))
        return found

    def transactions(self) -> int:
        return nftables.generation(self._tables) - self._generation


def wait_for_silence() -> None:
    """The kernel tells of what new links have come to up to a second later."""
    ear = Ear(None)

    def is_quiet() -> bool:
        time.sleep(1.5)
        return not ear.heard()

    eventually(is_quiet)
    ear.close()


@dataclasses.dataclass
class Cost:
    """Of one change: what was heard where, and what was sent."""

    host: list[tuple[int, bytes]]
    neighbour: list[tuple[int, bytes]]
    #: kinds of events in the router's namespace
    router: list[int]
    transactions: int
    elsewhere: int
    sent: int
    changes: tuple[str, ...]


@contextlib.contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Kinds of the netlink messages that this process sends (those of libnftables are told as transactions)."""
    sent: list[int] = []

    class Counting(socket.socket):
        def send(self, data, *flags):
            if self.family == socket.AF_NETLINK:
                sent.extend(kind for kind, _ in messages(bytes(data)))
            return super().send(data, *flags)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Counting)
        yield sent


def cost(host: HostUnderTest, router: RouterDocument, monkeypatch: pytest.MonkeyPatch) -> Cost:
    """Of making the router so; its neighbour is there, too."""
    places = (None, names.namespace(NEIGHBOUR.router_id), names.namespace(router.router_id))
    ears = [Ear(place) for place in places]
    with counted(monkeypatch) as sent:
        built = host.apply(router)
    heard = [ear.heard() for ear in ears]
    transactions = [ear.transactions() for ear in ears]
    for ear in ears:
        ear.close()
    return Cost(
        host=heard[0],
        neighbour=heard[1],
        router=[kind for kind, _ in heard[2]],
        transactions=transactions[2],
        elsewhere=transactions[0] + transactions[1],
        sent=len(sent),
        changes=built.changes,
    )


@isolated
def test_a_floating_ip_a_route_and_an_interface_touch_their_router_alone_in_few_messages(monkeypatch):
    with HostUnderTest() as host:
        for router in (ROUTER, NEIGHBOUR):
            host.apply(router)
        wait_for_silence()
        look = cost(host, ROUTER, monkeypatch)
        assert (look.host, look.router, look.transactions, look.changes) == ([], [], 0, ())
        assert look.sent <= _LOOK

        def made(**change) -> Cost:
            nonlocal router
            router = dataclasses.replace(router, **change)
            found = cost(host, router, monkeypatch)
            assert (found.neighbour, found.elsewhere) == ([], 0)
            return found

        router = ROUTER
        # the first one brings the rules of floating IPs along: one transaction has them all, a second one adds those
        # about ICMP errors, which nft has no words for
        first = made(floating_ips=floating(1))
        assert (first.host, first.router, first.transactions) == ([], [_NEW_ADDRESS, _NEW_ROUTE], 2)
        assert first.sent <= look.sent + 6
        for before, after in ((1, 2), (2, 42), (42, 12)):
            more = made(floating_ips=floating(after))
            assert (more.host, more.transactions) == ([], 1)
            assert more.sent <= look.sent + 3 + abs(after - before)
        assert cost(host, router, monkeypatch).sent == look.sent, "a look costs the same, whatever their number"

        way = made(routes=(Route(destination="172.16.0.0/24", nexthop="10.0.0.9"),))
        assert (way.host, way.router, way.transactions, way.sent) == ([], [_NEW_ROUTE], 0, look.sent + 1)

        port = made(interfaces=(INTERFACE, SECOND))
        new = {socket.if_nametoindex(name) for name in (names.tap(SECOND.port_id), names.bridge(SECOND.network_id))}
        assert {struct.unpack_from("=i", body, 4)[0] for _, body in port.host} <= new
        assert port.host
        assert (port.transactions, port.router.count(_NEW_ADDRESS)) == (0, 1)
        assert port.sent <= look.sent + 6


@isolated
def test_a_gateway_on_another_physical_network_leaves_nothing_of_the_old_one():
    """The same on both members: each does it with its own interfaces."""
    other = NetworkDocument(
        network_id="f0000000-0000", network_type=NetworkType.FLAT, mtu=1400, physical_network="physnet2"
    )
    moved = dataclasses.replace(
        GATEWAY,
        port_id="92000000-0000-0001",
        network_id=other.network_id,
        mac_address="fa:16:3e:00:02:01",
        fixed_ips=(FixedIp(subnet_id="o", ip_address="203.0.113.5", prefix_length=24, gateway_ip="203.0.113.1"),),
    )
    networks = NETWORKS | {other.network_id: other}
    physical_networks = {"physnet1": "eth1", "physnet2": "eth2"}
    output("ip", "link", "add", "eth2", "type", "veth", "peer", "name", "wire2")
    with HostUnderTest() as host:
        both = Networks(host.netlink, "192.0.2.1", physical_networks)
        both.apply(other)
        routers = Routers(templating.environment(), physical_networks)
        before = dataclasses.replace(ROUTER, floating_ips=floating(1))
        routers.apply(before, networks, diff.OpenPairs)
        assert addresses(NAMESPACE)[QG] == {"198.51.100.5/24", "198.51.100.50/32"}

        after = dataclasses.replace(ROUTER, gateway=moved)
        built = routers.apply(after, networks, diff.OpenPairs)
        device = names.gateway_device(moved.port_id)
        inside = addresses(NAMESPACE)
        assert QG not in inside
        assert (inside[device], inside[QR]) == ({"203.0.113.5/24"}, {"10.0.0.1/24"})
        assert routes(NAMESPACE) == {("default", "203.0.113.1")}
        outside = links()
        assert names.tap(GATEWAY.port_id) not in outside
        assert outside[names.tap(moved.port_id)]["master"] == names.bridge(other.network_id)
        assert outside["eth2"]["master"] == names.bridge(other.network_id)
        assert links(NAMESPACE)[device]["mtu"] == 1400
        rules = output("nft", "list", "ruleset", namespace=NAMESPACE)
        assert "198.51.100." not in rules
        assert f'oifname "{device}" ip saddr != 203.0.113.5 snat to 203.0.113.5' in rules
        (announced,) = [line for line in built.rows[PAIR] if moved.mac_address in line]
        assert announced.split()[1:] == ["eth2", moved.mac_address, "203.0.113.5"]
        assert routers.apply(after, networks, diff.OpenPairs).changes == ()
