"""Routers on a host: a namespace each, with ports, addresses, routes, forwarding and NAT.

The same on both members of a pair; whether frames pass is the gate's business. `apply` reads the kernel and changes
only what differs, so creating, updating and adopting after a restart are one thing. Called from several threads, one
router at a time each. What is to be is said by `blueprint`, the inside of a namespace is `namespace`'s and
`rules`'.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import jinja2

from haqn.agent import blueprint, diff, names, namespace
from haqn.agent.advertiser import Advertiser
from haqn.agent.blueprint import PlannedPort
from haqn.agent.networks import quiet
from haqn.agent.rules import Rulesets
from haqn.agent.work import MustWait
from haqn.documents import NetworkDocument, RouterDocument
from haqn.exceptions import HostError
from haqn.linux import netns, rtchanges, rtnetlink
from haqn.linux.rtnetlink import Device, Rtnetlink

LOG = logging.getLogger(__name__)

OpenPairsNow = Callable[[], diff.OpenPairs]
#: device group -> lines for the failover program (see haqn.failover.announce.Row)
Rows = Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Built:
    """What a router is on this host now."""

    rows: Rows
    #: lines of addresses that were not there before
    new_rows: Rows
    #: what was done, for people
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Present:
    """A port that is on this host: its end there, and the device group that it is in."""

    planned: PlannedPort
    tap_index: int
    group: int


def _rows(
    ports: list[_Present], indexes: Mapping[str, int], *, without: Collection[tuple[int, str]] = ()
) -> dict[int, tuple[str, ...]]:
    """What to announce of the ports. `without`: (index of the device inside, address)."""
    rows: dict[int, list[str]] = {}
    for port in ports:
        index, lines = indexes[port.planned.device], blueprint.announcement(port.planned, port.tap_index)
        rows.setdefault(port.group, []).extend(line for address, line in lines if (index, address) not in without)
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
        self._rulesets = Rulesets(templates)
        self._physical_networks = physical_networks

    def apply(self, router: RouterDocument, networks: Mapping[str, NetworkDocument], open_pairs: OpenPairsNow) -> Built:
        """Build the router as the document says. `open_pairs()`: what diff.must_wait asks for, at the moment of asking.

        Raises HostError, InvalidDocument, or MustWait (all but the change of device group is done then).
        """
        blueprint.check(router)
        planned = blueprint.ports(router, networks, self._physical_networks)
        ruleset = self._rulesets.wanted(blueprint.rules(router), router.floating_ips)
        name = names.namespace(router.router_id)
        fresh = not netns.exists(name)
        if fresh:
            netns.create(name)
        with Rtnetlink() as host, Rtnetlink.of(name) as inside:
            before = namespace.NOTHING if fresh else namespace.read(inside)
            with netns.entered(name):
                changes = self._rulesets.apply(router.router_id, ruleset, fresh=fresh)
                changes += namespace.prepare(tracks=ruleset.tracks)
            self._remove_stale(host, before.devices, planned)
            ports = [self._plug(host, before.devices, name, port) for port in planned]
            indexes = {device.name: device.index for device in inside.links().values()}
            with netns.entered(name):
                changes += namespace.set_ip_versions(planned)
            namespace.configure(inside, before, indexes, planned)
            gateway_index = None if router.gateway is None else indexes[planned[-1].device]
            namespace.route(inside, before.routes, blueprint.routes(router, gateway_index))
            if self._advertiser is not None:
                self._advertiser.write(router.router_id, name, blueprint.advertisements(planned, indexes))
            regrouped = [self._regroup(host, port, open_pairs) for port in ports]
        known = {(address.index, address.address) for address in before.addresses}
        built = Built(
            _rows(regrouped, indexes),
            _rows(regrouped, indexes, without=known),
            (*changes, *host.changes, *inside.changes),
        )
        if any(port.group != port.planned.group for port in regrouped):
            raise MustWait(f"pair {router.pair_id} is not open here yet")
        return built

    # -- parts of apply ------------------------------------------------------------------------

    @staticmethod
    def _remove_stale(host: Rtnetlink, present: Mapping[str, Device], planned: list[PlannedPort]) -> None:
        devices = {port.device for port in planned}
        stale = blueprint.taps(name for name in present if name not in devices)
        host.apply(rtchanges.delete_link(tap) for tap in stale)

    @staticmethod
    def _plug(host: Rtnetlink, inside: Mapping[str, Device], name: str, planned: PlannedPort) -> _Present:
        """Make the veth pair in its bridge, shut or open as its group is; or mend what is there."""
        bridge = rtnetlink.index(planned.bridge)
        tap = host.link(planned.tap)
        if tap is not None and planned.device not in inside:
            host.apply([rtchanges.delete_link(planned.tap)])
            tap = None
        if tap is None:
            with (netns.DIRECTORY / name).open() as namespace_file:
                pair = rtchanges.add_veth(
                    planned.tap,
                    group=planned.group,
                    master=bridge,
                    peer=planned.device,
                    peer_namespace=namespace_file.fileno(),
                    peer_mac=planned.document.mac_address,
                    mtu=planned.mtu,
                )
                host.apply([pair])
            netns.set_sysctls(quiet(planned.tap))
            return _Present(planned, rtnetlink.index(planned.tap), planned.group)
        changes = []
        if tap.mtu != planned.mtu:
            changes.append(rtchanges.set_mtu(tap.index, planned.mtu))
        if tap.master != bridge:
            changes.append(rtchanges.set_master(tap.index, bridge))
        if not tap.up:
            changes.append(rtchanges.set_up(tap.index))
        host.apply(changes)
        return _Present(planned, tap.index, tap.group)

    @staticmethod
    def _regroup(host: Rtnetlink, port: _Present, open_pairs: OpenPairsNow) -> _Present:
        """Move the port to its device group, unless that would interrupt something."""
        group = port.planned.group
        if port.group == group or diff.must_wait(port.group, group, open_pairs()):
            return port
        host.apply([rtchanges.set_group(port.tap_index, group)])
        return replace(port, group=group)

    # -- removal and adoption ------------------------------------------------------------------

    def remove(self, router_id: str) -> None:
        """Remove the namespace; its ports go with it."""
        name = names.namespace(router_id)
        if self._advertiser is not None:
            self._advertiser.remove(router_id)
        if netns.exists(name):
            with Rtnetlink.of(name) as inside, Rtnetlink() as host:
                host.apply(rtchanges.delete_link(tap) for tap in blueprint.taps(inside.links()))
        netns.remove(name)
        self._rulesets.forget(router_id)

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
            name.removeprefix(names.NAMESPACE_PREFIX)
            for name in netns.names()
            if name.startswith(names.NAMESPACE_PREFIX)
        }
