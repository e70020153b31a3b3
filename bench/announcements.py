"""What a host announces of router ports: on its uplink, and within VXLAN on its tunnel interface."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from bench.measure import Measured
from haqn.agent import names
from haqn.lab.capture import Capture
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.spec import UNDER, UPLINK

GATEWAY = "network:router_gateway"
#: what is captured on which link; pings need not be
_WANTED = {UPLINK: "arp or icmp6", UNDER: "udp port 4789"}


@dataclass(frozen=True, slots=True)
class RouterPort:
    """A router's port: on the external network, or on a tenant's."""

    external: bool
    tap: str
    mac: str
    address: str


def router_ports(client: Client, router_ids: Iterable[str]) -> list[RouterPort]:
    """All ports of the routers, as the API knows them."""
    wanted = set(router_ids)
    return [
        RouterPort(
            external=port["device_owner"] == GATEWAY,
            tap=names.tap(port["id"]),
            mac=port["mac_address"],
            address=port["fixed_ips"][0]["ip_address"],
        )
        for port in client.find("port")
        if port["device_id"] in wanted
    ]


class Announcements:
    """Captures those of one host while it is entered."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._lab = lab
        self._host = host
        self._captures: list[Capture] = []

    def __enter__(self) -> Announcements:
        with ExitStack() as stack:
            for link, only in _WANTED.items():
                self._captures.append(stack.enter_context(Capture(self._lab, self._host, link, only=only)))
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def moments(self, since: float) -> dict[tuple[str, str], float]:
        """(MAC, address) -> when it was announced for the first time after `since` (seconds of the wall clock).

        It ends the captures.
        """
        first: dict[tuple[str, str], float] = {}
        for frame in (frame for capture in self._captures for frame in capture.stop()):
            if frame.time >= since and (announced := frame.announced):
                first[announced] = min(frame.time, first.get(announced, math.inf))
        return first

    def row(self, what: str, ports: list[RouterPort], since: float, goal: float) -> Measured:
        """How long after `since` the last of the ports was announced for the first time, in milliseconds; without end
        if one never was."""
        first = self.moments(since)
        moments = {port: first.get((port.mac, port.address), math.inf) for port in ports}
        counts = []
        for kind, external in (("external", True), ("tenant", False)):
            of_kind = [moment for port, moment in moments.items() if port.external == external]
            counts.append(f"{sum(map(math.isfinite, of_kind))} of {len(of_kind)} {kind}")
        value = (max(moments.values()) - since) * 1000
        return Measured(f"{what}: last router port announced", value, "ms", goal, " and ".join(counts) + " ports")
