"""Routers on a host: a namespace each, with ports, addresses, routes, forwarding and source NAT.

The same on both members of a pair; whether frames pass is the gate's business. `apply` reads the kernel and changes
only what differs, so creating, updating and adopting after a restart are one thing. Called from several threads, one
router at a time each. What is to be is said by `blueprint`, the inside of a namespace is `namespace`'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import jinja2

from haqn.agent import blueprint, diff, namespace
from haqn.agent.advertiser import Advertiser
from haqn.agent.blueprint import PlannedPort
from haqn.agent.networks import quiet
from haqn.documents import NetworkDocument, RouterDocument
from haqn.exceptions import HostError
from haqn.linux import netns
from haqn.linux.netlink import Link, Netlink

LOG = logging.getLogger(__name__)

OpenPairsNow = Callable[[], diff.OpenPairs]


class MustWait(Exception):
    """Not an error: a port cannot change its device group yet without interrupting traffic."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a router is on this host now."""

    #: device group -> lines for the failover program (see haqn.failover.announce.Row)
    rows: Mapping[int, tuple[str, ...]]
    #: lines of ports that were not there before
    new_rows: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Present:
    """A port that is on this host: its ends, the device group that it is in, and whether it was made just now."""

    planned: PlannedPort
    tap_index: int
    group: int
    new: bool


def _rows(ports: list[_Present]) -> dict[int, tuple[str, ...]]:
    """Device group -> what to announce of the ports in it."""
    rows: dict[int, list[str]] = {}
    for port in ports:
        rows.setdefault(port.group, []).extend(blueprint.announcement(port.planned, port.tap_index))
    return {group: tuple(lines) for group, lines in rows.items()}


class Routers:
    """The routers of this host."""

    def __init__(
        self,
        templates: jinja2.Environment,
        physical_networks: Mapping[str, str],
        advertiser: Advertiser | None = None,
    ) -> None:
        """`advertiser`: default none, and IPv6 is not announced."""
        self._advertiser = advertiser
        self._ruleset = templates.get_template("router.nft.j2")
        self._physical_networks = physical_networks
        #: a netlink handle belongs to one thread, and a new one costs a millisecond
        self._handles = threading.local()
        self._opened: list[Netlink] = []

    def close(self) -> None:
        """Close the netlink handles of all threads, which must have ended their work."""
        while self._opened:
            self._opened.pop().close()

    def apply(self, router: RouterDocument, networks: Mapping[str, NetworkDocument], open_pairs: OpenPairsNow) -> Built:
        """Build the router as the document says. `open_pairs()`: what diff.must_wait asks for, at the moment of asking.

        Raises HostError, InvalidDocument, or MustWait (all but the change of device group is done then).
        """
        blueprint.check(router)
        planned = blueprint.ports(router, networks, self._physical_networks)
        host = self._host()
        name = diff.namespace(router.router_id)
        fresh = not netns.exists(name)
        if fresh:
            netns.create(name)
        with netns.entered(name):
            inside = Netlink()
            namespace.prepare(self._ruleset.render(blueprint.rules(router)), fresh=fresh)
        with inside:
            before = namespace.NOTHING if fresh else namespace.read(inside)
            self._remove_stale(host, before.links, planned)
            ports = [self._plug(host, before.links, name, port) for port in planned]
            with netns.entered(name):
                indexes = {device: Netlink.index(device) for device in ("lo", *(port.device for port in planned))}
                namespace.set_ip_versions(planned)
            namespace.configure(inside, before, indexes, planned)
            gateway_index = None if router.gateway is None else indexes[planned[-1].device]
            namespace.route(inside, before.routes, blueprint.routes(router, gateway_index))
        if self._advertiser is not None:
            self._advertiser.write(router.router_id, name, blueprint.advertisements(planned, indexes))
        regrouped = [self._regroup(host, port, open_pairs) for port in ports]
        built = Built(_rows(regrouped), _rows([port for port in regrouped if port.new]))
        if any(port.group != port.planned.group for port in regrouped):
            raise MustWait(f"pair {router.pair_id} is not open here yet")
        return built

    # -- parts of apply ------------------------------------------------------------------------

    def _host(self) -> Netlink:
        if not hasattr(self._handles, "host"):
            self._handles.host = Netlink()
            self._opened.append(self._handles.host)
        handle: Netlink = self._handles.host
        return handle

    @staticmethod
    def _remove_stale(host: Netlink, present: Mapping[str, Link], planned: list[PlannedPort]) -> None:
        devices = {port.device for port in planned}
        for tap in blueprint.taps(name for name in present if name not in devices):
            host.delete_link(tap)

    @staticmethod
    def _plug(host: Netlink, inside: Mapping[str, Link], name: str, planned: PlannedPort) -> _Present:
        """Make the veth pair in its bridge, shut or open as its group is; or mend what is there."""
        bridge = Netlink.index(planned.bridge)
        tap = host.link(planned.tap) if planned.device in inside else None
        if tap is None:
            host.delete_link(planned.tap)
            host.add_veth(
                planned.tap,
                group=planned.group,
                master=bridge,
                peer=planned.device,
                peer_namespace=name,
                peer_mac=planned.document.mac_address,
                mtu=planned.mtu,
            )
            netns.set_sysctls(quiet(planned.tap))
            return _Present(planned, Netlink.index(planned.tap), planned.group, new=True)
        if tap.mtu != planned.mtu:
            host.set_link(tap, mtu=planned.mtu)
        if tap.master != bridge:
            host.set_link(tap, master=bridge)
        if not tap.up:
            host.set_link(tap, state="up")
        return _Present(planned, tap.index, tap.group, new=False)

    @staticmethod
    def _regroup(host: Netlink, port: _Present, open_pairs: OpenPairsNow) -> _Present:
        """Move the port to its device group, unless that would interrupt something."""
        group = port.planned.group
        if port.group == group or diff.must_wait(port.group, group, open_pairs()):
            return port
        host.set_group(port.tap_index, group)
        return replace(port, group=group)

    # -- removal and adoption ------------------------------------------------------------------

    def remove(self, router_id: str) -> None:
        """Remove the namespace; its ports go with it."""
        name = diff.namespace(router_id)
        if self._advertiser is not None:
            self._advertiser.remove(router_id)
        if netns.exists(name):
            with Netlink.of(name) as inside:
                devices = inside.links()
            host = self._host()
            for tap in blueprint.taps(devices):
                host.delete_link(tap)
        netns.remove(name)

    def check_health(self) -> None:
        """To be called once a second: start the advertiser when it died."""
        if self._advertiser is not None:
            try:
                self._advertiser.ensure()
            except HostError as error:
                LOG.error("%s", error)

    @staticmethod
    def found() -> set[str]:
        """Ids of the routers that are on this host."""
        return {
            name.removeprefix(diff.NAMESPACE_PREFIX) for name in netns.names() if name.startswith(diff.NAMESPACE_PREFIX)
        }
