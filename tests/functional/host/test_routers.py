"""Bridges and routers in the real kernel: built, changed, adopted, removed."""

import dataclasses
import json
import subprocess

import pytest

from haqn import templating
from haqn.agent import diff, names
from haqn.agent.advertiser import Advertiser
from haqn.agent.networks import Networks
from haqn.agent.pairs import make_gate
from haqn.agent.ports import Ports
from haqn.agent.routers import Routers
from haqn.agent.work import MustWait
from haqn.documents import FixedIp, NetworkDocument, PortDocument, Route, RouterDocument, RouterPort
from haqn.exceptions import HostError, InvalidDocument
from haqn.linux.netlink import Netlink
from haqn.model import CLOSED_GROUP, NetworkType
from tests.isolated import isolated

pytestmark = pytest.mark.functional

PAIR = 65536
EXTERNAL = NetworkDocument(
    network_id="e0000000-0000", network_type=NetworkType.FLAT, mtu=1500, physical_network="physnet1"
)
TENANT = NetworkDocument(
    network_id="a0000000-0000",
    network_type=NetworkType.VXLAN,
    mtu=1450,
    segmentation_id=77,
    flood=("192.0.2.2", "192.0.2.3"),
)
NETWORKS = {network.network_id: network for network in (EXTERNAL, TENANT)}
GATEWAY = RouterPort(
    port_id="90000000-0000-0001",
    network_id=EXTERNAL.network_id,
    mac_address="fa:16:3e:00:00:01",
    fixed_ips=(FixedIp(subnet_id="s", ip_address="198.51.100.5", prefix_length=24, gateway_ip="198.51.100.1"),),
)
INTERFACE = RouterPort(
    port_id="10000000-0000-0002",
    network_id=TENANT.network_id,
    mac_address="fa:16:3e:00:00:02",
    fixed_ips=(FixedIp(subnet_id="t", ip_address="10.0.0.1", prefix_length=24),),
    mtu=1450,
)
ROUTER = RouterDocument(router_id="r1", pair_id=PAIR, gateway=GATEWAY, interfaces=(INTERFACE,))
QG, QR = names.gateway_device(GATEWAY.port_id), names.interface_device(INTERFACE.port_id)
NAMESPACE = names.namespace("r1")
SHUT = diff.OpenPairs()


def output(*command: str, namespace: str | None = None) -> str:
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    return subprocess.run([*inside, *command], capture_output=True, text=True, check=True).stdout


def links(namespace: str | None = None) -> dict[str, dict]:
    found = {link["ifname"]: link for link in json.loads(output("ip", "-d", "-j", "link", namespace=namespace))}
    for link in found.values():
        link.get("linkinfo", {}).get("info_data", {}).pop("gc_timer", None)  # it just runs
        # whether the other end is up is told a moment later
        del link["operstate"]
        link["flags"] = [flag for flag in link["flags"] if flag == "UP"]
    return found


def addresses(namespace: str) -> dict[str, set[str]]:
    return {
        link["ifname"]: {f"{ip['local']}/{ip['prefixlen']}" for ip in link["addr_info"]}
        for link in json.loads(output("ip", "-j", "address", namespace=namespace))
    }


def routes(namespace: str) -> set[tuple[str, str]]:
    found = json.loads(output("ip", "-j", "-4", "route", namespace=namespace))
    return {(route["dst"], route["gateway"]) for route in found if "gateway" in route}


class HostUnderTest:
    """A host with an uplink and the two networks."""

    def __init__(self, advertiser: Advertiser | None = None) -> None:
        subprocess.run(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "wire"], check=True)
        subprocess.run(["ip", "address", "add", "192.0.2.1/24", "dev", "wire"], check=True)
        make_gate(templating.environment())
        self.netlink = Netlink()
        self.networks = Networks(self.netlink, "192.0.2.1", {"physnet1": "eth1"})
        self.routers = Routers(templating.environment(), {"physnet1": "eth1"}, advertiser)
        for network in NETWORKS.values():
            self.networks.apply(network)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.netlink.close()

    def apply(self, router: RouterDocument = ROUTER, pairs: diff.OpenPairs = SHUT):
        return self.routers.apply(router, NETWORKS, lambda: pairs)


@isolated
def test_a_router_is_built_completely():
    with HostUnderTest() as host:
        built = host.apply()
        outside = links()
        for port, network in ((GATEWAY, EXTERNAL), (INTERFACE, TENANT)):
            tap = outside[names.tap(port.port_id)]
            assert tap["master"] == names.bridge(network.network_id)
            assert tap["group"] == str(PAIR)
            assert "UP" in tap["flags"]
            assert tap["mtu"] == port.mtu
        inside = links(NAMESPACE)
        assert (inside[QG]["address"], inside[QR]["address"]) == (GATEWAY.mac_address, INTERFACE.mac_address)
        assert (inside[QG]["mtu"], inside[QR]["mtu"]) == (1500, 1450)
        assert addresses(NAMESPACE)[QG] == {"198.51.100.5/24"}
        assert addresses(NAMESPACE)[QR] == {"10.0.0.1/24"}
        assert routes(NAMESPACE) == {("default", "198.51.100.1")}
        assert output("cat", "/proc/sys/net/ipv4/ip_forward", namespace=NAMESPACE) == "1\n"
        rules = output("nft", "list", "ruleset", namespace=NAMESPACE)
        assert f'oifname "{QG}" ip saddr != 198.51.100.5 snat to 198.51.100.5' in rules
        tap_index = outside[names.tap(INTERFACE.port_id)]["ifindex"]
        assert f"{tap_index} vxlan-77 {INTERFACE.mac_address} 10.0.0.1" in built.rows[PAIR]
        assert built.new_rows == built.rows
        assert host.routers.found() == {"r1"}


@isolated
def test_bridges_lead_where_their_networks_lead():
    with HostUnderTest() as host:
        outside = links()
        assert outside["eth1"]["master"] == names.bridge(EXTERNAL.network_id)
        assert outside["vxlan-77"]["master"] == names.bridge(TENANT.network_id)
        assert outside["vxlan-77"]["linkinfo"]["info_data"]["local"] == "192.0.2.1"

        def flood() -> set[str]:
            entries = json.loads(output("bridge", "-j", "fdb", "show", "dev", "vxlan-77"))
            return {entry["dst"] for entry in entries if entry["mac"] == "00:00:00:00:00:00"}

        assert flood() == {"192.0.2.2", "192.0.2.3"}
        host.networks.apply(dataclasses.replace(TENANT, flood=("192.0.2.3", "192.0.2.4", "192.0.2.1")))
        assert flood() == {"192.0.2.3", "192.0.2.4"}
        # a new agent finds what is there
        adopted = Networks(host.netlink, "192.0.2.1", {"physnet1": "eth1"})
        adopted.apply(dataclasses.replace(TENANT, flood=("192.0.2.4",)))
        assert flood() == {"192.0.2.4"}
        assert adopted.found() == {network_id[:11] for network_id in NETWORKS}
        adopted.apply(dataclasses.replace(TENANT, admin_state_up=False))
        assert "UP" not in links()[names.bridge(TENANT.network_id)]["flags"]
        adopted.remove(TENANT.network_id)
        adopted.remove(EXTERNAL.network_id)
        assert "vxlan-77" not in links()
        assert "eth1" in links(), "a physical interface is not removed with its bridge"


@isolated
def test_applying_again_changes_nothing_and_changes_change_only_what_differs():
    with HostUnderTest() as host:
        host.apply()
        before = (links(), links(NAMESPACE))
        again = host.apply()
        assert (links(), links(NAMESPACE)) == before
        assert not any(again.new_rows.values())
        second = dataclasses.replace(
            INTERFACE,
            port_id="20000000-0000-0003",
            mac_address="fa:16:3e:00:00:03",
            fixed_ips=(FixedIp(subnet_id="u", ip_address="10.1.0.1", prefix_length=24),),
        )
        changed = dataclasses.replace(
            ROUTER,
            interfaces=(INTERFACE, second),
            enable_snat=False,
            routes=(Route(destination="172.16.0.0/24", nexthop="10.0.0.9"),),
        )
        built = host.apply(changed)
        assert [line.split()[2] for line in built.new_rows[PAIR]] == [second.mac_address]
        assert routes(NAMESPACE) == {("default", "198.51.100.1"), ("172.16.0.0/24", "10.0.0.9")}
        assert f'oifname "{QG}" ip saddr' not in output("nft", "list", "ruleset", namespace=NAMESPACE)
        unchanged = links(NAMESPACE)[QR]["ifindex"]
        assert unchanged == before[1][QR]["ifindex"]
        host.apply(dataclasses.replace(ROUTER, gateway=None))
        assert routes(NAMESPACE) == set()
        assert set(links(NAMESPACE)) >= {"lo", QR}
        assert QG not in links(NAMESPACE)
        assert names.tap(second.port_id) not in links()


@isolated
def test_what_somebody_changed_by_hand_is_mended():
    with HostUnderTest() as host:
        host.apply()
        output("ip", "address", "add", "10.9.9.9/24", "dev", QR, namespace=NAMESPACE)
        output("ip", "address", "del", "198.51.100.5/24", "dev", QG, namespace=NAMESPACE)
        output("nft", "flush", "ruleset", namespace=NAMESPACE)
        output("ip", "link", "set", names.tap(INTERFACE.port_id), "nomaster")
        host.apply()
        assert addresses(NAMESPACE)[QR] == {"10.0.0.1/24"}
        assert addresses(NAMESPACE)[QG] == {"198.51.100.5/24"}
        assert routes(NAMESPACE) == {("default", "198.51.100.1")}
        assert "snat" in output("nft", "list", "ruleset", namespace=NAMESPACE)
        assert links()[names.tap(INTERFACE.port_id)]["master"] == names.bridge(TENANT.network_id)


@isolated
def test_a_port_moves_to_another_pair_when_that_is_open():
    with HostUnderTest() as host:
        host.apply()
        moved = dataclasses.replace(ROUTER, pair_id=PAIR + 1)
        with pytest.raises(MustWait):
            host.apply(moved, diff.OpenPairs(masters=frozenset({PAIR})))
        assert links()[names.tap(GATEWAY.port_id)]["group"] == str(PAIR)
        built = host.apply(moved, diff.OpenPairs(masters=frozenset({PAIR, PAIR + 1})))
        assert set(built.rows) == {PAIR + 1}
        assert links()[names.tap(GATEWAY.port_id)]["group"] == str(PAIR + 1)


@isolated
def test_removal_leaves_nothing():
    with HostUnderTest() as host:
        before = set(links())
        host.apply()
        host.routers.remove("r1")
        host.routers.remove("r1")  # once more is no error
        assert host.routers.found() == set()
        assert set(links()) == before


@isolated
def test_what_cannot_be_done_says_why_and_leaves_no_half_router():
    with HostUnderTest() as host:
        with pytest.raises(HostError, match="network a0000000-0000 is not on this host"):
            host.routers.apply(ROUTER, {EXTERNAL.network_id: EXTERNAL}, lambda: SHUT)
        assert host.routers.found() == set()
        bad_mac = dataclasses.replace(ROUTER, gateway=dataclasses.replace(GATEWAY, mac_address="fa:16:3e:00:00:01\n"))
        with pytest.raises(InvalidDocument, match="MAC address"):
            host.apply(bad_mac)
        with pytest.raises(HostError, match="physical network physnet9"):
            host.networks.apply(dataclasses.replace(EXTERNAL, physical_network="physnet9"))
        with pytest.raises(HostError, match="VXLAN id 0"):
            host.networks.apply(dataclasses.replace(TENANT, segmentation_id=0))


@isolated
def test_a_tap_is_plugged_when_it_appears_and_unplugged_when_nobody_wants_it():
    with HostUnderTest() as host:
        ports = Ports(host.netlink)
        port = PortDocument(port_id="40000000-0000-1", network_id=TENANT.network_id, mac_address="fa:16:3e:00:00:09")
        assert not ports.apply(port)
        tap = names.tap(port.port_id)
        output("ip", "link", "add", tap, "type", "veth", "peer", "name", "eth9")
        assert ports.apply(port)
        assert links()[tap]["master"] == names.bridge(TENANT.network_id)
        ports.apply(dataclasses.replace(port, admin_state_up=False))
        assert links()[tap]["group"] == str(CLOSED_GROUP)
        ports.remove(port.port_id)
        assert "master" not in links()[tap]
