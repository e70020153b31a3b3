"""IPv6 from REST to packets: a VM learns its address and its router by itself, and keeps them through failovers."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from haqn.lab import etcdctl, faults, services, vms
from haqn.lab.capture import Capture, Frame
from haqn.lab.client import Resource
from haqn.lab.probe import Probe, ProbeResult
from haqn.lab.scenery import wait_for
from haqn.lab.spec import EXTERNAL_HOST, UNDER, UPLINK
from haqn.lab.vms import Vm
from tests.functional.system.stage import CALM, CRASH_GAP, HANDOVER_GAP, Stage

pytestmark = pytest.mark.functional

OUTSIDE = "2001:db8:e::1"
TENANT = "2001:db8:66::/64"
#: RFC 4861: router advertisement
_ADVERTISEMENT = 134
_IPV6 = b"\x86\xdd"
_ETHERNET = 14
#: lengths of the headers of IPv6, and of a VXLAN tunnel
_HEADER = 40
_TUNNEL = _ETHERNET + 20 + 8 + 8


@dataclass
class Tenant:
    """A network with both IP versions behind a router whose gateway has both."""

    stage: Stage
    router: Resource
    vm: Vm

    @property
    def macs(self) -> dict[str, str]:
        """device_owner -> MAC of the router's port with IPv6."""
        ports = self.stage.client.find("port", device_id=self.router["id"])
        return {
            port["device_owner"]: port["mac_address"]
            for port in ports
            if any(":" in ip["ip_address"] for ip in port["fixed_ips"])
        }

    @property
    def addresses(self) -> tuple[str, str]:
        """(the router's on the external network, the VM's) of IPv6, as the API says."""
        outer = self.router["external_gateway_info"]["external_fixed_ips"]
        inner = self.stage.client.show("port", self.vm.port_id)["fixed_ips"]
        (of_router,), (of_vm,) = ([ip["ip_address"] for ip in ips if ":" in ip["ip_address"]] for ips in (outer, inner))
        return of_router, of_vm

    def learned(self) -> tuple[set[str], set[str]]:
        """(addresses, routers) that the VM has by router advertisements and can use."""
        links = self._shown_in_vm("address", "show", "dev", "eth0")
        made = [ip for link in links for ip in link["addr_info"] if ip.get("dynamic") and not ip.get("tentative")]
        routes = self._shown_in_vm("route", "show", "default")
        return {ip["local"] for ip in made}, {route["gateway"] for route in routes if route["protocol"] == "ra"}

    def _shown_in_vm(self, *words: str) -> list[Resource]:
        command = ["ip", "-6", "-j", *words]
        shown: list[Resource] = json.loads(
            self.stage.host(self.vm.host).run(command, namespace=self.vm.namespace).stdout
        )
        return shown

    def host(self, state: str) -> str:
        return self.stage.scenario.scenery.host_in_state(self.router["id"], state)

    def forwards(self, host: str) -> bool:
        return self.stage.scenario.scenery.states(self.router["id"]).get(host) == "active"

    @contextmanager
    def pinged(self) -> Iterator[list[ProbeResult]]:
        """VM -> outside, and outside -> router and VM, meanwhile; the results are in the list afterwards."""
        lab, results = self.stage.lab, []
        with (
            Probe(lab.host(self.vm.host), [OUTSIDE], namespace=self.vm.namespace) as outbound,
            Probe(lab.host(EXTERNAL_HOST), self.addresses) as inbound,
        ):
            time.sleep(CALM)
            yield results
            time.sleep(CALM)
            results += [outbound.stop(), inbound.stop()]

    def neighbours(self) -> list[str]:
        """What the host outside and the VM know to be the MACs of the router: caches that are warm."""
        shown = self.stage.host(EXTERNAL_HOST).run(["ip", "-6", "-j", "neighbour", "show", self.addresses[0]]).stdout
        (outside,), (inside,) = json.loads(shown), self._shown_in_vm("neighbour", "show", min(self.learned()[1]))
        return [outside["lladdr"], inside["lladdr"]]


def link_local(mac: str) -> str:
    """The address that a device with this MAC has on its link (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 0x02]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier))


def ipv6_packet(frame: Frame) -> bytes:
    """The IPv6 packet in the frame, or in the tunnel that it carries; empty without one."""
    for start in (0, _TUNNEL):
        packet = frame.data[start + _ETHERNET :]
        if frame.data[start + _ETHERNET - 2 : start + _ETHERNET] == _IPV6:
            return packet
    return b""


@pytest.fixture
def tenant(stage: Stage) -> Iterator[Tenant]:
    client, scenery, lab = stage.client, stage.scenario.scenery, stage.lab
    outside = lab.host(EXTERNAL_HOST)
    outside.ip(f"address replace {OUTSIDE}/64 dev {UPLINK} nodad")
    external = {"network_id": stage.scenario.external["id"], "ip_version": 6, "enable_dhcp": False}
    outer = client.create("subnet", {**external, "cidr": "2001:db8:e::/64", "gateway_ip": OUTSIDE})
    network, subnet4 = scenery.tenant_network("six", "10.66.0.0/24")
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    inner = client.create("subnet", {"network_id": network["id"], "ip_version": 6, "cidr": TENANT, **modes})
    router = scenery.router("six", stage.scenario.external["id"], [subnet4["id"], inner["id"]])
    wait_for("its members are ready", lambda: scenery.is_redundant(router["id"]))
    vm = vms.add(lab, client, name="six", host="cmp1", network_id=network["id"])
    tenant = Tenant(stage, router, vm)
    outside.ip(f"route replace {TENANT} via {tenant.addresses[0]}")
    yield tenant
    vms.delete(lab, client, "six")
    stage.delete_router(router["id"])
    client.delete("network", network["id"])
    client.delete("subnet", outer["id"])
    outside.ip(f"address del {OUTSIDE}/64 dev {UPLINK}")


def test_a_vm_learns_its_router_and_keeps_it(stage: Stage, tenant: Tenant) -> None:
    active, standby = tenant.host("active"), tenant.host("standby")
    macs = tenant.macs
    told = {tenant.addresses[1]}, {link_local(macs["network:ha_router_replicated_interface"])}
    with (
        Capture(stage.lab, active, UNDER) as heard,
        Capture(stage.lab, standby, UNDER) as silent,
        Capture(stage.lab, EXTERNAL_HOST, UPLINK, direction="out") as outside,
    ):
        wait_for("the VM has learned its address and its router", lambda: tenant.learned() == told)
        scenery = stage.scenario.scenery
        scenery.until_answered(tenant.vm.host, [OUTSIDE], tenant.vm.namespace)
        scenery.until_answered_outside(tenant.addresses)
        of_active, of_standby, arrived = heard.stop(), silent.stop(), outside.stop()
    routers = set(macs.values())
    said = [ipv6_packet(frame) for frame in of_active if frame.sources & routers]
    assert _ADVERTISEMENT in {packet[_HEADER] for packet in said if packet}
    assert not [frame for frame in of_standby if frame.sources & routers]
    # nothing is translated: the host outside sees the VM itself
    sources = {packet[8:24] for packet in map(ipv6_packet, arrived) if packet}
    assert ipaddress.IPv6Address(tenant.addresses[1]).packed in sources
    # what is too large for the tenant's network comes in pieces, once the router has said so
    ping = ["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-s", "1450", tenant.addresses[1]]
    assert stage.host(EXTERNAL_HOST).run(ping).returncode == 0
    route = stage.host(EXTERNAL_HOST).run(["ip", "-6", "route", "get", tenant.addresses[1]]).stdout
    assert "mtu 1450" in route
    known = tenant.neighbours()
    assert known == [macs["network:router_gateway"], macs["network:ha_router_replicated_interface"]]

    with tenant.pinged() as results:
        services.manage(stage.lab, "switchover", str(etcdctl.pair_of(stage.lab, tenant.router["id"])))
        wait_for("the peer forwards", lambda: tenant.forwards(standby))
    for result in results:
        assert result.largest_gap_ms < HANDOVER_GAP
        assert result.all_answered
    assert tenant.neighbours() == known

    wait_for("both members know it", lambda: tenant.forwards(standby) and tenant.host("standby") == active)
    with tenant.pinged() as results:
        faults.crash(stage.lab, standby)
        wait_for("the first one forwards again", lambda: tenant.forwards(active))
    for result in results:
        assert 0 < result.largest_gap_ms < CRASH_GAP
        assert result.all_answered
    assert tenant.neighbours() == known
    assert tenant.learned() == told
