"""Packets through routers while things go wrong: pings for as long as a step lasts, TCP connections all the time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from haqn.exceptions import HostError
from haqn.lab.chaos import stream
from haqn.lab.cluster import Lab
from haqn.lab.host import Host
from haqn.lab.probe import Probe, ProbeResult, TargetResult
from haqn.lab.spec import EXTERNAL_HOST, Kind
from haqn.lab.vms import Vm

#: milliseconds
_INTERVAL = 25.0
_FIRST_PORT = 7777
#: a host, and a network namespace of it if it is not the host's own
Place = tuple[Host, str | None]
_END_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Routed:
    """What goes through one router: the external host pings `addresses`, and the VM pings the external host."""

    router_id: str
    name: str
    addresses: tuple[str, ...]
    vm: Vm | None = None
    #: a TCP connection from the outside survives: nothing of it is in the state of one host
    stateless: bool = False


class Pings:
    """Pings through all routers, from now on until `stop`; and to a host that no fault is about, past all routers."""

    def __init__(self, lab: Lab, routed: list[Routed]) -> None:
        self._routed = routed
        self._gateway = lab.spec.external_gateway
        self._bystander = lab.spec.of_kind(Kind.COMPUTE)[0].address
        #: milliseconds for which the bystander did not answer, known after `stop`: neither haqn nor a fault is in that
        #: way, so it is the machine that all of the lab runs on that stood still
        self.stood_still = 0.0
        inward = [self._bystander, *(address for one in routed for address in one.addresses)]
        self._inward = Probe(lab.host(EXTERNAL_HOST), inward, interval_ms=_INTERVAL)
        self._outward = {
            one.name: Probe(lab.host(one.vm.host), [self._gateway], namespace=one.vm.namespace, interval_ms=_INTERVAL)
            for one in routed
            if one.vm is not None
        }

    def stop(self) -> dict[str, list[TargetResult]]:
        """Router name -> what became of the pings through it."""
        inward = {target.target: target for target in self._inward.stop().targets}
        if not inward[self._bystander].received:
            raise HostError(f"cannot tell whether the machine stood still: {self._bystander} never answered")
        self.stood_still = inward[self._bystander].largest_gap_ms
        outward = {name: probe.stop() for name, probe in self._outward.items()}
        nothing = ProbeResult(())
        return {
            one.name: [
                *(inward[address] for address in one.addresses),
                *outward.get(one.name, nothing).targets,
            ]
            for one in self._routed
        }


@dataclass(frozen=True, slots=True)
class FlowState:
    """How a TCP connection has been doing. `last`: of the last answer, milliseconds of the clock of probes."""

    answered: int
    last: float
    connections: int


class Flow:
    """A TCP connection through one router that is busy all the time, and is made again when it breaks."""

    def __init__(self, routed: Routed, server: Place, client: Place, address: str, port: int) -> None:
        self.name = routed.name
        self.stateless = routed.stateless
        self._server = _start(server, "serve", str(port))
        self._client = _start(client, "send", address, str(port))

    def state(self) -> FlowState:
        """As of now."""
        question, answer = self._client.stdin, self._client.stdout
        if question is None or answer is None:
            raise HostError(f"cannot ask flow {self.name}")
        question.write("?\n")
        question.flush()
        line = answer.readline()
        if not line:
            raise HostError(f"cannot ask flow {self.name}: its program has ended")
        return FlowState(**json.loads(line))

    def close(self) -> None:
        for process in (self._client, self._server):
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def flows(lab: Lab, routed: list[Routed]) -> list[Flow]:
    """One for each router with a VM: from the VM to the outside, but where no state is kept from the outside to it."""
    found = []
    outside: Place = (lab.host(EXTERNAL_HOST), None)
    for port, one in enumerate(routed, _FIRST_PORT):
        if one.vm is None:
            continue
        inside: Place = (lab.host(one.vm.host), one.vm.namespace)
        if one.stateless:
            found.append(Flow(one, inside, outside, one.vm.address, port))
        else:
            found.append(Flow(one, outside, inside, lab.spec.external_gateway, port))
    return found


def _start(place: Place, *arguments: str) -> subprocess.Popen[str]:
    host, namespace = place
    return subprocess.Popen(
        host.enter([sys.executable, str(Path(stream.__file__)), *arguments], namespace=namespace),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C must not end it before it is asked for its result
        start_new_session=True,
    )
