"""What gate and NAT cost a packet, in namespaces of their own: `unshare --net --mount python -m bench.forwarding`.

From a VM through a router to the outside, against a router that merely forwards: the same bridges, veths, addresses and
number of hops. All are measured in short turns within one run, on the same processors, so that what else this machine
does meets all alike; what counts is the processor's time, for a wall clock tells of other work, too. Prints rows of
`bench.measure.Measured` as JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.hostcost import Host, bare, make_router, print_alone, run
from bench.measure import Measured
from haqn import templating
from haqn.agent import names
from haqn.agent.pairs import make_gate
from haqn.documents import FloatingIp
from haqn.failover.gate import Gate
from haqn.linux import netns
from haqn.model import FIRST_PAIR_ID

#: of each turn of a router; it has two in each round
_BYTES, _PACKETS = "128M", 1000
_ROUNDS_OF_TCP, _ROUNDS_OF_PACKETS = 31, 40
_LEASE_MS = 600_000
_OUTSIDE, _WORLD = "outside", "198.51.0.1"
#: the first one has neither gate nor NAT
_KINDS = ("plain", "source NAT", "floating IP")
_FLOATING_IP = "198.51.200.9"
_VM_ADDRESS = "10.0.0.9"
_DISCARD = 9
_NANO = 1e-9

#: seconds of the processor for a packet or a byte through the router of that kind
Cost = Callable[[str], float]


def _vm(kind: str) -> str:
    return f"vm{_KINDS.index(kind)}"


def _end(name: str, bridge: str, address: str, gateway: str) -> None:
    netns.create(name)
    run(f"ip link add tap-{name} master {bridge} type veth peer name eth0 netns {name}")
    run(f"ip link set tap-{name} up")
    run("ip link set lo up", name)
    run(f"ip address add {address}/16 dev eth0", name)
    run("ip link set eth0 up", name)
    run(f"ip route add default via {gateway}", name)


def _build() -> None:
    """A VM and a router of each kind, side by side."""
    plain = _KINDS[0]
    host = Host(len(_KINDS))
    for name in ("iptables", "ip6tables", "arptables"):
        # as the agent does
        Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}").write_text("0")
    routers = {kind: make_router(number) for number, kind in enumerate(_KINDS)}
    _end(_OUTSIDE, names.bridge("external"), _WORLD, "198.51.100.2")
    for kind, router in routers.items():
        _end(_vm(kind), names.bridge(router.router_id), _VM_ADDRESS, "10.0.0.1")
    bare(routers[plain])
    run("sysctl -qw net.ipv4.ip_forward=1", names.namespace(routers[plain].router_id))
    run(f"ip route add {_VM_ADDRESS} via 198.51.100.2", _OUTSIDE)
    floating = FloatingIp(floating_ip_address=_FLOATING_IP, fixed_ip_address=_VM_ADDRESS)
    host.apply(routers["source NAT"])
    host.apply(dataclasses.replace(routers["floating IP"], floating_ips=(floating,)))


@contextlib.contextmanager
def _gate() -> Iterator[None]:
    """The plain router is measured without it."""
    make_gate(templating.environment())
    with Gate() as gate:
        gate.open(FIRST_PAIR_ID, _LEASE_MS)
    yield
    run("nft delete table bridge haqn")


def _rounds(count: int, cost: Cost) -> dict[str, list[float]]:
    """What each kind costs in each round: the mean of two turns, before and after which the others have theirs."""
    plain, *gated = _KINDS
    found: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for kind in _KINDS:
        cost(kind)  # caches, neighbours
    for number in range(count):
        order = gated if number % 2 else gated[::-1]
        turns = [(plain, cost(plain))]
        with _gate():
            turns += [(kind, cost(kind)) for kind in (*order, *order[::-1])]
        turns.append((plain, cost(plain)))
        for kind in _KINDS:
            found[kind].append(statistics.mean(spent for other, spent in turns if other == kind))
    return found


@contextlib.contextmanager
def _iperf_server() -> Iterator[None]:
    command = ["ip", "netns", "exec", _OUTSIDE, "iperf3", "-s"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        time.sleep(0.5)
        yield
        server.terminate()


def _of_tcp(kind: str) -> float:
    """Both ends' time: data is forwarded in the sender's, and what acknowledges it in the receiver's; or, when there is
    much of it, in the time of the kernel's own threads."""
    ends = f"0,{(os.cpu_count() or 1) - 1}"
    before = _of_softirqs()
    end = json.loads(run(f"iperf3 -J -n {_BYTES} -A {ends} -c {_WORLD}", _vm(kind)))["end"]
    used, sent = end["cpu_utilization_percent"], end["sum_sent"]
    spent = (used["host_total"] + used["remote_total"]) / 100 * sent["seconds"] + _of_softirqs() - before
    return float(spent / sent["bytes"])


def _of_softirqs() -> float:
    """Seconds that the kernel's threads for network packets have run."""
    stats = [path.parent / "schedstat" for path in Path("/proc").glob("[0-9]*/comm") if _is_softirq(path)]
    return sum(int(path.read_text().split()[0]) for path in stats) * _NANO


def _is_softirq(path: Path) -> bool:
    try:
        return path.read_text().startswith("ksoftirqd/")
    except OSError:  # it has ended
        return False


@contextlib.contextmanager
def _packets() -> Iterator[Cost]:
    """Of UDP with one octet each: all of their way is in the sender's time, for nobody answers."""
    with contextlib.ExitStack() as sockets:

        def inside(namespace: str) -> socket.socket:
            with netns.entered(namespace):
                return sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

        inside(_OUTSIDE).bind((_WORLD, _DISCARD))  # nobody reads it
        senders = {kind: inside(_vm(kind)) for kind in _KINDS}
        for sender in senders.values():
            sender.connect((_WORLD, _DISCARD))

        def cost(kind: str) -> float:
            send = senders[kind].send
            began = time.process_time()
            for _ in range(_PACKETS):
                send(b"x")
            return (time.process_time() - began) / _PACKETS

        yield cost


def _ratios(found: dict[str, list[float]], kind: str) -> list[float]:
    return [other / one for one, other in zip(found[kind], found[_KINDS[0]], strict=True)]


def _spread(ratios: list[float]) -> str:
    low, _, high = statistics.quantiles(ratios)
    return f"half of {len(ratios)} rounds: {low:.2f}-{high:.2f}"


def measure() -> list[Measured]:
    """The median of what each round says."""
    plain, *gated = _KINDS
    _build()
    run("nft delete table bridge haqn")
    with _iperf_server():
        tcp = _rounds(_ROUNDS_OF_TCP, _of_tcp)
    with _packets() as cost:
        single = _rounds(_ROUNDS_OF_PACKETS, cost)
    rows = []
    for kind in gated:
        ratios = _ratios(tcp, kind)
        gigabits = [8e-9 / statistics.median(tcp[one]) for one in (kind, plain)]
        detail = f"{_spread(ratios)}; {gigabits[0]:.1f} of {gigabits[1]:.1f} Gbit a second of processor"
        what = f"forwarding through gate and {kind}, against a plain namespace"
        rows.append(Measured(what, statistics.median(ratios), "x", 0.9, detail, at_least=True))
    for kind in gated:
        more = statistics.median(one - other for one, other in zip(single[kind], single[plain], strict=True))
        detail = f"{_spread(_ratios(single, kind))} of the rate of a plain namespace"
        rows.append(Measured(f"what gate and {kind} take of each packet", more / _NANO / 1000, "us", None, detail))
    return rows


if __name__ == "__main__":
    print_alone(measure)
    sys.exit(0)
