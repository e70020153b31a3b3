"""What a tenant expects of a router, on both members alike, and through a failover."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator

import pytest

from haqn.agent import names
from haqn.failover.announce import SWITCHES_ONLY
from haqn.lab import faults, lookup, services, vms
from haqn.lab.capture import Capture
from haqn.lab.client import Resource
from haqn.lab.scenery import wait_for
from haqn.lab.spec import EXTERNAL_HOST, UPLINK, switch_port
from haqn.lab.vms import Vm
from tests.functional.system import talkers
from tests.functional.system.stage import Stage
from tests.functional.system.test_routers import Pinger, soon

pytestmark = pytest.mark.functional

_CONNECTIONS = 600
#: seconds in which a takeover is announced again, for the last time after two
_REPEATS = 4.0


@contextlib.contextmanager
def another_vm(stage: Stage, name: str, network_id: str) -> Iterator[Vm]:
    vm = vms.add(stage.lab, stage.client, name=name, host="cmp1", network_id=network_id)
    try:
        yield vm
    finally:
        vms.delete(stage.lab, stage.client, name)


@contextlib.contextmanager
def floating_ip(stage: Stage, port_id: str | None) -> Iterator[Resource]:
    wanted = {"floating_network_id": stage.scenario.external["id"], "port_id": port_id}
    created = stage.client.create("floatingip", wanted)
    try:
        yield created
    finally:
        stage.client.delete("floatingip", created["id"])


def status(stage: Stage, created: Resource) -> str:
    return str(stage.client.show("floatingip", created["id"])["status"])


def gateway_port(stage: Stage) -> Resource:
    (port,) = stage.client.find("port", device_id=stage.router_id, device_owner="network:router_gateway")
    return port


def tenant_network_id(stage: Stage) -> str:
    return str(stage.client.show("port", stage.scenario.vm.port_id)["network_id"])


def in_router(stage: Stage, host: str, *command: str) -> str:
    return stage.host(host).run(list(command), namespace=names.namespace(stage.router_id)).stdout


def test_sessions_and_neighbours_through_crash_and_switchover(stage: Stage) -> None:
    vm, lab, ext = stage.scenario.vm, stage.lab, stage.host(EXTERNAL_HOST)
    cmp1 = stage.host(vm.host)
    mac = gateway_port(stage)["mac_address"]
    first, second, pair = stage.active, stage.standby, stage.pair

    def known_mac() -> str:
        (neighbour,) = json.loads(ext.run(["ip", "-j", "neigh", "show", "to", address]).stdout)
        return str(neighbour["lladdr"])

    def switched_to() -> str:
        entries = lab.switch.query("bridge", "fdb", "show", "br", UPLINK)
        (port,) = [entry["ifname"] for entry in entries if entry["mac"] == mac]
        return str(port)

    with floating_ip(stage, vm.port_id) as created, another_vm(stage, "inner", tenant_network_id(stage)) as inner:
        address = created["floating_ip_address"]
        soon("the floating IP is ACTIVE", lambda: status(stage, created) == "ACTIVE")
        soon("it answers", Pinger(stage, EXTERNAL_HOST, address).answered)
        soon("the other VM reaches out", Pinger(stage, inner.host, lab.spec.external_gateway, inner.namespace).answered)
        with (
            talkers.server(cmp1, vm.namespace),
            talkers.server(ext),
            talkers.client(ext, address, _CONNECTIONS) as inbound,
            talkers.client(cmp1, lab.spec.external_gateway, _CONNECTIONS, inner.namespace) as outbound,
        ):
            assert (known_mac(), switched_to()) == (mac, switch_port(first, UPLINK))
            with Capture(lab, EXTERNAL_HOST, UPLINK, direction="out", only="arp") as announcements:

                def heard(announced: str) -> int:
                    """How often a takeover has been announced to the host outside."""
                    frames = (frame for frame in announcements.frames() if SWITCHES_ONLY in frame.data)
                    return sum(frame.announced == (mac, announced) for frame in frames)

                faults.crash(lab, first)
                wait_for("the gate has moved", lambda: second in stage.forwarders())
                soon("the switch has learnt", lambda: switched_to() == switch_port(second, UPLINK))
                assert known_mac() == mac
                soon("the floating IP answers", Pinger(stage, EXTERNAL_HOST, address).answered)
                own = lookup.external_address(stage.scenario.router)
                wait_for("both are announced", lambda: heard(own) and heard(address))
                time.sleep(_REPEATS)
                # once and three times more, the floating address with the repetitions (to the letter in
                # tests/functional/host/test_announcements.py; here a busy machine may make one of two repetitions)
                assert (heard(own) <= 4, heard(address) <= 3) == (True, True), (heard(own), heard(address))

            faults.thaw(lab, first)
            wait_for("both are ready", stage.at_rest)
            services.manage(lab, "switchover", str(pair if pair == stage.pair else stage.pair))
            wait_for("the gate has moved", lambda: stage.forwarders() != [second] and len(stage.forwarders()) == 1)
            assert talkers.fates(inbound) == {"alive": _CONNECTIONS}
            assert talkers.fates(outbound) == {"alive": _CONNECTIONS}


def test_a_floating_ip_touches_its_router_alone_and_what_is_undone_by_hand_is_mended(stage: Stage) -> None:
    client, vm = stage.client, stage.scenario.vm
    members = [stage.active, stage.standby]
    before, reloads = stage.footprints(), [stage.reloads(host) for host in stage.hosts]
    with floating_ip(stage, None) as created:
        address = created["floating_ip_address"]
        pinger = Pinger(stage, EXTERNAL_HOST, address)
        assert (status(stage, created), pinger.answered()) == ("DOWN", False)
        idle = stage.revisions(stage.third)
        client.update("floatingip", created["id"], {"port_id": vm.port_id})
        soon("it is ACTIVE", lambda: status(stage, created) == "ACTIVE")
        soon("it answers", pinger.answered)
        assert stage.footprints() == before
        assert [stage.reloads(host) for host in stage.hosts] == reloads
        assert stage.revisions(stage.third) == idle, "nobody else is told"
        # the same on both members
        rules = [in_router(stage, host, "nft", "list", "map", "ip", "haqn", "to_fixed") for host in members]
        assert rules[0] == rules[1]
        assert f"{address} : {vm.address}" in rules[0]

        gateway = names.gateway_device(gateway_port(stage)["id"])
        for host in members:
            for command in (
                "nft flush chain ip haqn arriving",
                f"ip address delete {address}/32 dev {gateway}",
                "ip route delete default",
                "sysctl -qw net.ipv4.ip_forward=0",
            ):
                in_router(stage, host, *command.split())
            stage.host(host).run(["nft", "flush", "chain", "bridge", "haqn", "to_port"])
        assert pinger.silent()
        wait_for("the agents have mended it", pinger.answered)
        for host in members:
            wait_for(
                "its rules are there", lambda host=host: "@to_fixed" in in_router(stage, host, "nft", "list", "ruleset")
            )
            wait_for("the gate is whole", lambda host=host: "oifgroup" in _gate(stage, host))
        assert stage.forwarders() == [members[0]]

        client.update("floatingip", created["id"], {"port_id": None})
        assert status(stage, created) == "DOWN"
        soon("it is silent", pinger.silent)
        assert address not in in_router(stage, members[0], "ip", "address")


def _gate(stage: Stage, host: str) -> str:
    return stage.host(host).run(["nft", "list", "chain", "bridge", "haqn", "to_port"]).stdout


def test_routes_and_modes(stage: Stage) -> None:
    client, scenery, vm, lab = stage.client, stage.scenario.scenery, stage.scenario.vm, stage.lab
    world = lab.spec.external_gateway
    out = Pinger(stage, vm.host, world, vm.namespace)
    to_vm = Pinger(stage, EXTERNAL_HOST, vm.address)
    assert out.answered()
    assert to_vm.answered()

    # the tenant's network is smaller than the world, and everybody along the way knows
    assert vm.mtu == 1450
    large = (
        stage.host(EXTERNAL_HOST).run(["ping", "-n", "-c1", "-W1", "-Mdo", "-s1472", vm.address], check=False).stdout
    )
    assert "mtu = 1450" in large

    # another subnet with a way that leads back through the VM's own network; another address outside
    network, subnet = scenery.tenant_network("second", "10.73.0.0/24")
    before, reloads = stage.footprints(), [stage.reloads(host) for host in stage.hosts]
    idle = stage.revisions(stage.third)
    client.add_interface(stage.router_id, subnet["id"])
    info = client.show("router", stage.router_id)["external_gateway_info"]
    more = [*info["external_fixed_ips"], {"subnet_id": info["external_fixed_ips"][0]["subnet_id"]}]
    changed = {"network_id": info["network_id"], "external_fixed_ips": more}
    router = client.update(
        "router",
        stage.router_id,
        {"external_gateway_info": changed, "routes": [{"destination": "10.99.0.0/24", "nexthop": vm.address}]},
    )
    addresses = [ip["ip_address"] for ip in router["external_gateway_info"]["external_fixed_ips"]]
    assert len(addresses) == 2
    for address in addresses:
        soon("each address answers", Pinger(stage, EXTERNAL_HOST, address).answered)
    stage.host(vm.host).ip("address add 10.99.0.1/32 dev lo", namespace=vm.namespace)
    with another_vm(stage, "second", network["id"]) as second:
        soon("one subnet reaches the other", Pinger(stage, second.host, vm.address, second.namespace).answered)
        soon("the route leads there", Pinger(stage, second.host, "10.99.0.1", second.namespace).answered)
        # an interface, a route and an address are made beside what is there; nobody else is told
        for host, after in stage.footprints().items():
            assert before[host].links.items() <= after.links.items()
            assert dataclasses.replace(after, links=before[host].links) == before[host]
        assert [stage.reloads(host) for host in stage.hosts] == reloads
        assert stage.revisions(stage.third) == idle

        # without source NAT only those who know the way back answer
        plain = {
            "network_id": info["network_id"],
            "enable_snat": False,
            "external_fixed_ips": info["external_fixed_ips"],
        }
        out_of_second = Pinger(stage, second.host, world, second.namespace)
        soon("source NAT works", out_of_second.answered)
        client.update("router", stage.router_id, {"external_gateway_info": plain})
        soon("nobody knows the way to the second subnet", out_of_second.silent)
        assert out.answered(), "the world has a route to the first one"
        soon("the second address is gone", Pinger(stage, EXTERNAL_HOST, addresses[1]).silent)
        changed = {"network_id": info["network_id"], "enable_snat": True}
        client.update("router", stage.router_id, {"external_gateway_info": changed, "routes": []})
        soon("source NAT works again", out_of_second.answered)
        soon("the route is gone", Pinger(stage, second.host, "10.99.0.1", second.namespace).silent)
    body = {"subnet_id": subnet["id"]}
    client.request("PUT", f"/v2.0/routers/{stage.router_id}/remove_router_interface", body)
    client.delete("network", network["id"])
