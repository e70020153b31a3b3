"""What routers cost on one host, in namespaces of their own: `unshare --net --mount python -m bench.hostcost`.

Prints rows of `bench.measure.Measured` as JSON. Builds routers with the agent's own code, and the same namespaces,
veths and addresses with bare netlink messages to compare with.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.measure import Measured
from haqn import templating
from haqn.agent import diff, names
from haqn.agent.networks import Networks
from haqn.agent.pairs import make_gate
from haqn.agent.routers import Routers
from haqn.documents import FixedIp, FloatingIp, NetworkDocument, RouterDocument, RouterPort
from haqn.linux import netns, rtchanges, rtnetlink
from haqn.linux.netlink import Netlink
from haqn.linux.rtchanges import Address, RouteEntry
from haqn.linux.rtnetlink import Rtnetlink
from haqn.model import FIRST_PAIR_ID, NetworkType

_FLOATING_IPS = 2000
#: of memory: the kernel's, and this process's
_PARTS = ("Slab", "Percpu", "VmallocUsed", "PageTables", "KernelStack", "RssAnon")
#: of building all of them
_ROUNDS_OF_ALL = 3
#: routers that are built one after the other, for the time that one takes
_SINGLE = 20
_EXTERNAL = NetworkDocument(network_id="external", network_type=NetworkType.FLAT, mtu=1500, physical_network="physnet1")


def run(command: str, namespace: str | None = None) -> str:
    """A command's output, of that namespace."""
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    return subprocess.run([*inside, *command.split()], check=True, capture_output=True, text=True, timeout=60).stdout


def _network(number: int) -> NetworkDocument:
    return NetworkDocument(
        network_id=f"{number:011d}", network_type=NetworkType.VXLAN, mtu=1500, segmentation_id=number + 1
    )


def make_router(number: int, floating_ips: int = 0) -> RouterDocument:
    """With a gateway and one interface."""
    gateway = FixedIp(
        subnet_id="e",
        ip_address=f"198.51.{100 + number // 250}.{number % 250 + 2}",
        prefix_length=16,
        gateway_ip="198.51.0.1",
    )
    inside = FixedIp(subnet_id=str(number), ip_address="10.0.0.1", prefix_length=16)
    mac = f"{number // 256:02x}:{number % 256:02x}"
    return RouterDocument(
        router_id=f"{number:011d}",
        pair_id=FIRST_PAIR_ID,
        gateway=RouterPort(
            port_id=f"e{number:010d}", network_id="external", mac_address=f"fa:16:3e:00:{mac}", fixed_ips=(gateway,)
        ),
        interfaces=(
            RouterPort(
                port_id=f"f{number:010d}",
                network_id=f"{number:011d}",
                mac_address=f"fa:16:3e:01:{mac}",
                fixed_ips=(inside,),
            ),
        ),
        floating_ips=tuple(
            FloatingIp(
                floating_ip_address=f"198.51.{200 + n // 250}.{n % 250}", fixed_ip_address=f"10.0.{n // 250}.{n % 250}"
            )
            for n in range(floating_ips)
        ),
    )


class Host:
    """A host with a gate, an uplink, and a tenant network for each router."""

    def __init__(self, routers: int) -> None:
        templates = templating.environment()
        run("ip link add uplink type veth peer name wire")
        make_gate(templates)
        self.netlink = Netlink()
        networks = Networks(self.netlink, "192.0.2.1", {"physnet1": "uplink"})
        self.networks = {"external": _EXTERNAL} | {f"{n:011d}": _network(n) for n in range(routers)}
        for network in self.networks.values():
            networks.apply(network)
        self.routers = Routers(templates, {"physnet1": "uplink"})

    def apply(self, router: RouterDocument) -> tuple[str, ...]:
        open_pairs = diff.OpenPairs(masters=frozenset({FIRST_PAIR_ID}))
        return self.routers.apply(router, self.networks, lambda: open_pairs).changes


def bare(router: RouterDocument) -> None:
    """The same namespace, veths, addresses and default route, and nothing else."""
    name = names.namespace(router.router_id)
    netns.create(name)
    ports = [(port, names.bridge(port.network_id)) for port in (*router.interfaces, router.gateway) if port is not None]
    with Rtnetlink() as host, Rtnetlink.of(name) as inside, (netns.DIRECTORY / name).open() as namespace:
        host.apply(
            rtchanges.add_veth(
                names.tap(port.port_id),
                group=FIRST_PAIR_ID,
                master=rtnetlink.index(bridge),
                peer=names.interface_device(port.port_id),
                peer_namespace=namespace.fileno(),
                peer_mac=port.mac_address,
                mtu=port.mtu,
            )
            for port, bridge in ports
        )
        devices = inside.links()
        inside.apply(
            change
            for port, _ in ports
            for index in [devices[names.interface_device(port.port_id)].index]
            for change in (
                *(rtchanges.add_address(Address(index, ip.ip_address, ip.prefix_length)) for ip in port.fixed_ips),
                rtchanges.set_up(index),
            )
        )
        inside.apply(
            [rtchanges.set_up(devices["lo"].index), rtchanges.replace_route(RouteEntry("0.0.0.0/0", "198.51.0.1"))]
        )


def _remove(host: Host, routers: list[RouterDocument]) -> None:
    for router in routers:
        host.routers.remove(router.router_id)
    # the kernel takes namespaces down in the background
    time.sleep(2 + len(routers) / 40)


def _seconds(work: Iterator[object]) -> list[float]:
    """Wall-clock seconds of each of the steps."""
    found = []
    began = time.perf_counter()
    for _ in work:
        found.append(time.perf_counter() - began)
        began = time.perf_counter()
    return found


def _kib() -> dict[str, int]:
    """The kernel's memory by its parts (proc(5), /proc/meminfo), without what it could drop, and this process's own.

    Not what is left of all memory: that is whatever other processes do meanwhile.
    """
    gc.collect()
    # twice: what the first time frees lets go of more
    for _ in range(2):
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        time.sleep(0.5)
    lines = dict(
        line.split(":", 1)
        for file in ("/proc/meminfo", "/proc/self/status")
        for line in Path(file).read_text().splitlines()
    )
    return {part: int(lines[part].split()[0]) for part in _PARTS}


def _memory(rounds: list[dict[str, float]], count: int) -> Measured:
    """The middle of several rounds: other processes use the kernel's memory, too."""
    totals = [sum(one.values()) for one in rounds]
    parts = ", ".join(f"{part} {statistics.median(one[part] for one in rounds):.0f}" for part in _PARTS)
    detail = f"rounds: {', '.join(f'{total:.0f}' for total in totals)}; {parts}"
    return Measured(f"memory a router, kernel included, of {count}", statistics.median(totals), "KiB", None, detail)


def building(count: int) -> list[Measured]:
    """Time to build, memory, audit."""
    host = Host(count + 1)
    routers = [make_router(number) for number in range(count)]
    host.apply(make_router(count))
    _remove(host, [make_router(count)])
    single = [make_router(number) for number in range(_SINGLE)]
    one = statistics.median(_seconds(host.apply(router) for router in single))
    _remove(host, single)
    one_bare = statistics.median(_seconds(bare(router) for router in single))
    _remove(host, single)
    built, compared, memory = [], [], []
    for _ in range(_ROUNDS_OF_ALL):
        _remove(host, routers)
        compared.append(sum(_seconds(bare(router) for router in routers)))
        _remove(host, routers)
        before = _kib()
        built.append(sum(_seconds(host.apply(router) for router in routers)))
        after = _kib()
        memory.append({part: (after[part] - before[part]) / count for part in after})
    cpu = time.process_time()
    changes = [change for router in routers for change in host.apply(router)]
    audited = time.process_time() - cpu
    many = dataclasses.replace(routers[0], floating_ips=make_router(0, _FLOATING_IPS).floating_ips)
    (floating,) = _seconds(host.apply(router) for router in [many])
    (one_less,) = _seconds(
        host.apply(router) for router in [dataclasses.replace(many, floating_ips=many.floating_ips[1:])]
    )
    rounds = f"both one after the other, the best of {_ROUNDS_OF_ALL} rounds"
    return [
        Measured("one router: built", one * 1000, "ms", None, f"bare netlink: {one_bare * 1000:.1f} ms"),
        Measured("one router: built, against bare netlink", one / one_bare, "x", 2.0),
        Measured(f"{count} routers: built", min(built), "s", None, f"bare netlink: {min(compared):.1f} s; {rounds}"),
        Measured(f"{count} routers: built, against bare netlink", min(built) / min(compared), "x", 2.0, rounds),
        _memory(memory, count),
        Measured(f"{count} routers audited: processor time", audited, "s", 5.0),
        Measured(f"changes that an audit of {count} untouched routers made", len(changes), "", 0),
        Measured(f"{_FLOATING_IPS} floating IPs of one router added", floating, "s", 1.0),
        Measured(f"one of {_FLOATING_IPS} floating IPs removed", one_less * 1000, "ms"),
    ]


def print_alone(measure: Callable[[], list[Measured]]) -> None:
    """Measure with an empty /run and a /sys of this network namespace, and print JSON."""
    for command in ("mount --make-rprivate /", "mount -t tmpfs tmpfs /run", "mount -t sysfs sysfs /sys"):
        run(command)
    run("ip link set lo up")
    json.dump([dataclasses.asdict(row) for row in measure()], sys.stdout)


def main() -> int:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="bench.hostcost", description=__doc__)
    parser.add_argument("--routers", type=int, default=400)
    given = parser.parse_args()
    print_alone(lambda: building(given.routers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
