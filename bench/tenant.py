"""What a tenant notices: a floating IP through crashes, and how soon admin_state_up is obeyed by all hosts.

One lab for each advert interval, two network hosts, a VM with a floating IP. The host outside pings it every 5 ms, and
speaks every 5 ms on a TCP connection that was established before.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Callable

from bench.measure import Measured
from haqn.agent import names
from haqn.lab import faults, services
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.host import Host
from haqn.lab.probe import Probe
from haqn.lab.scenario import Scenario
from haqn.lab.scenery import wait_for
from haqn.lab.spec import EXTERNAL_HOST, LabSpec
from haqn.model import CLOSED_GROUP

_TTL = 5
_CALM = 1.0
_CRASHES = 2
_OBEYED_GOAL_S = 2.0
#: Linux' least: TCP tries again after that time, then after twice as long and so on (RFC 6298), so that it finds a way
#: that was away for some time at most as late again
_RETRANSMISSION_MS = 200.0
_PORT = 7777

_ECHO = f"""
import socket
server = socket.create_server(("", {_PORT}))
print("ready", flush=True)
connection, _ = server.accept()
while data := connection.recv(65536):
    connection.sendall(data)
"""

#: until its input ends; then prints when something came back, in seconds
_SPEAK = f"""
import json, select, socket, sys, time
connection = socket.create_connection((sys.argv[1], {_PORT}), timeout=10)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print("ready", flush=True)
heard, due = [], time.monotonic()
while True:
    ready = select.select([connection, sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]
    if sys.stdin in ready:
        break
    if connection in ready:
        if not connection.recv(65536):
            sys.exit("the connection has ended")
        heard.append(time.monotonic())
    if time.monotonic() >= due:
        connection.send(b"x" * 8)
        due = max(due + 0.005, time.monotonic())
heard.append(time.monotonic())
print(json.dumps(heard))
"""


class _Program:
    """A program of this module in a host or a VM."""

    def __init__(self, host: Host, program: str, *arguments: str, namespace: str | None = None) -> None:
        command = host.enter(["python3", "-SIc", program, *arguments], namespace=namespace)
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._process.stdout is None or self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"cannot start {command}")

    def end(self) -> str:
        """Close its input; what it says."""
        return self._process.communicate(timeout=30)[0]


class Tenant:
    """One lab with one advert interval."""

    def __init__(self, advert_ms: int, crash_goal_ms: float, say: Callable[[str], None]) -> None:
        self._advert_ms = advert_ms
        self._crash_goal_ms = crash_goal_ms
        self._say = say
        self.lab = Lab(f"tenant{advert_ms}")
        self.rows: list[Measured] = []

    def __enter__(self) -> Tenant:
        self.lab.build(LabSpec(name=self.lab.name, hosts=2, computes=1, lease_ttl=_TTL, advert_ms=self._advert_ms))
        services.start_all(self.lab)
        self.client = Client(self.lab.spec.api_url)
        self.scenario = Scenario(self.lab, self.client)
        wanted = {"floating_network_id": self.scenario.external["id"], "port_id": self.scenario.vm.port_id}
        self.address: str = self.client.create("floatingip", wanted)["floating_ip_address"]
        wait_for("the router is redundant", self.scenario.is_redundant)
        self.scenario.scenery.until_answered_outside([self.address])
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.lab.destroy()

    # -- failovers ----------------------------------------------------------------------------

    def crash(self) -> None:
        """Crash the active host several times; the worst counts."""
        pings, sessions = zip(*(self._crash_once() for _ in range(_CRASHES)), strict=True)
        label = f"host crash, {self._advert_ms} ms adverts: largest gap of"
        self._row(f"{label} pings to a floating IP", max(pings), "ms", self._crash_goal_ms)
        each = ", ".join(f"{one:.0f}" for one in sessions)
        goal = 2 * self._crash_goal_ms + _RETRANSMISSION_MS
        self._row(f"{label} TCP over a floating IP", max(sessions), "ms", goal, f"crashes: {each}")

    def _crash_once(self) -> tuple[float, float]:
        active = self.scenario.active
        self._say(f"{self._advert_ms} ms adverts: crash of {active} under a floating IP")
        vm = self.scenario.vm
        outside = self.lab.host(EXTERNAL_HOST)
        server = _Program(self.lab.host(vm.host), _ECHO, namespace=vm.namespace)
        speaker = _Program(outside, _SPEAK, self.address)
        with Probe(outside, [self.address]) as probe:
            time.sleep(_CALM)
            faults.crash(self.lab, active)
            self.scenario.scenery.until_answered_outside([self.address])
            time.sleep(3 * _CALM)
            result = probe.stop()
        heard = json.loads(speaker.end())
        server.end()
        faults.thaw(self.lab, active)
        wait_for("the router is redundant", self.scenario.is_redundant)
        time.sleep(_TTL)
        wait_for("the router is redundant", self.scenario.is_redundant)
        return result.largest_gap_ms, 1000 * max(after - before for before, after in itertools.pairwise(heard))

    # -- administrative states ------------------------------------------------------------------

    def administrative_states(self) -> None:
        """From the request until no host lets anything pass, the standby included, and until all do again."""
        members, vm = [self.scenario.active, self.scenario.standby], self.scenario.vm
        network_id = self.client.show("port", vm.port_id)["network_id"]
        ports = self.client.find("port", device_id=self.scenario.router["id"])
        (inner,) = [port for port in ports if port["network_id"] == network_id]
        taps = [names.tap(port["id"]) for port in ports]
        cases: tuple[tuple[str, str, Callable[[], set[bool]]], ...] = (
            ("router", self.scenario.router["id"], lambda: self._shut(members, taps)),
            ("port", inner["id"], lambda: self._shut(members, [names.tap(inner["id"])])),
            ("network", network_id, lambda: self._down([*members, vm.host], names.bridge(network_id))),
            ("port", vm.port_id, lambda: self._shut([vm.host], [vm.tap])),
        )
        for up, what in ((False, "shut"), (True, "open")):
            self._say(f"admin_state_up={up}")
            times = []
            for kind, object_id, shut in cases:
                if up:
                    self._set(kind, object_id, up=False, shut=shut)
                times.append(self._set(kind, object_id, up=up, shut=shut))
                if not up:
                    self._set(kind, object_id, up=True, shut=shut)
            each = ", ".join(f"{kind} {took:.1f}" for (kind, *_), took in zip(cases, times, strict=True))
            self._row(f"admin_state_up={up}: until all hosts are {what}", max(times), "s", _OBEYED_GOAL_S, each)

    def _set(self, kind: str, object_id: str, *, up: bool, shut: Callable[[], set[bool]]) -> float:
        """Seconds until the kernels of all hosts are as they should be, and no packet says otherwise."""
        with Probe(self.lab.host(EXTERNAL_HOST), [self.address]) as probe:
            time.sleep(_CALM / 2)
            began = time.monotonic()
            self.client.update(kind, object_id, {"admin_state_up": up})
            wait_for(f"{kind} {object_id} is as it should be", lambda: shut() == {not up})
            seen = time.monotonic()
            time.sleep(_CALM)
            (target,) = probe.stop().targets
        if target.answered != up:
            raise RuntimeError(f"{kind} {object_id} has admin_state_up={up}, and is nevertheless otherwise")
        otherwise = [sent / 1000 for sent, answered in target.echoes if (answered is None) == up]
        return max(seen, *otherwise) - began

    def _shut(self, hosts: list[str], taps: list[str]) -> set[bool]:
        links = [link for host in hosts for link in self.lab.host(host).query("link", "show", "type", "veth")]
        return {str(link["group"]) == str(CLOSED_GROUP) for link in links if link["ifname"] in taps}

    def _down(self, hosts: list[str], bridge: str) -> set[bool]:
        flags = [self.lab.host(host).query("link", "show", bridge)[0]["flags"] for host in hosts]
        return {"UP" not in found for found in flags if isinstance(found, list)}

    def _row(self, what: str, value: float, unit: str, goal: float, detail: str = "") -> None:
        self.rows.append(Measured(what, value, unit, goal, detail))


def measure(say: Callable[[str], None]) -> list[Measured]:
    """All of it, for 100 ms and for 50 ms adverts."""
    rows: list[Measured] = []
    for advert_ms, goal in ((100, 500.0), (50, 300.0)):
        with Tenant(advert_ms, goal, say) as tenant:
            tenant.crash()
            if not rows:
                tenant.administrative_states()
            rows += tenant.rows
    return rows
