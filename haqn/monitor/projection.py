"""Facts -> the documents of each host. PURE: no I/O, no clock.

Documents carry generation 0 here; `haqn.monitor.publisher` numbers those that changed. A dead
agent's documents stay, so that it converges when it is back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from haqn.db.snapshot import AgentFact, Facts, NetworkFact, PortFact, RouterFact, router_ports
from haqn.documents import (
    DesiredDocument,
    FloatingIp,
    NetworkDocument,
    PairDocument,
    PortDocument,
    Route,
    RouterDocument,
    RouterPort,
    encode,
)
from haqn.model import AgentType, NetworkType, Pair, Role
from haqn.monitor.actives import Word
from haqn.monitor.assemble import members_of


class Projected(NamedTuple):
    """A document without its generation, and the same as JSON: what is compared."""

    document: DesiredDocument
    content: bytes


#: host -> (kind, object id) -> document. Every host with an agent is in it.
Projection = dict[str, dict[tuple[str, str], Projected]]


class Projector:
    """Makes projections; remembers documents of routers and networks whose facts have not changed since."""

    def __init__(self, advert_interval_ms: int) -> None:
        self._advert_interval_ms = advert_interval_ms
        self._tunnels: dict[str, str] = {}
        self._routers: dict[str, tuple[RouterFact, int | None, Projected]] = {}
        self._networks: dict[str, tuple[NetworkFact, tuple[str, ...], dict[str, Projected]]] = {}

    def project(
        self,
        facts: Facts,
        settled: Collection[int],
        awaiting: Collection[int] = (),
        words: Mapping[int, Word] = MappingProxyType({}),
        withheld: Collection[tuple[str, str]] = (),
    ) -> Projection:
        """All documents of all hosts. `settled`: ids of the settled pairs; `awaiting`: of those that their BACKUP
        must not know yet; `words`: what is to be said to pairs besides; `withheld`: (host, router) of standbys that are
        to be taken down.
        """
        self._forget(facts)
        agents = facts.placed.agents
        projection: Projection = {agent.host: {} for agent in agents.values()}
        #: network -> hosts that must have it
        present: dict[str, set[str]] = defaultdict(set)
        for pair in facts.placed.pairs.values():
            word = words.get(pair.id, Word())
            for host, document in _pair_documents(facts, pair, pair.id in settled, word, self._advert_interval_ms):
                if document.role is Role.ACTIVE or pair.id not in awaiting:
                    projection[host]["pairs", str(pair.id)] = _projected(document)
        for router in facts.wanted.routers.values():
            hosts = [agents[member].host for member in members_of(facts, router.id)]
            if not hosts:
                continue
            projected = self._router(facts, router)
            for host in hosts:
                if (host, router.id) not in withheld:
                    projection[host]["routers", router.id] = projected
            for port in router_ports(router):
                present[port.network_id].update(hosts)
        bridge_hosts = {agent.host for agent in agents.values() if agent.agent_type is AgentType.LINUX_BRIDGE}
        for port in facts.wanted.host_ports.values():
            if port.host in bridge_hosts:
                projection[port.host]["ports", port.id] = _projected(_port_document(port))
                present[port.network_id].add(port.host)
        for network_id, network_hosts in present.items():
            network = facts.wanted.networks[network_id]
            for host, projected in self._network(network, tuple(sorted(network_hosts))).items():
                projection[host]["networks", network_id] = projected
        return projection

    def _forget(self, facts: Facts) -> None:
        tunnels = _tunnel_addresses(facts.placed.agents.values())
        if tunnels != self._tunnels:
            self._tunnels = tunnels
            self._networks.clear()
        for gone in self._routers.keys() - facts.wanted.routers.keys():
            del self._routers[gone]
        for gone in self._networks.keys() - facts.wanted.networks.keys():
            del self._networks[gone]

    def _router(self, facts: Facts, router: RouterFact) -> Projected:
        pair_id = facts.placed.bindings[router.id].pair_id
        made = self._routers.get(router.id)
        # the same facts by identity, which is what a router's document costs to compare
        if made is None or made[0] is not router or made[1] != pair_id:
            made = (router, pair_id, _projected(_router_document(facts, router)))
            self._routers[router.id] = made
        return made[2]

    def _network(self, network: NetworkFact, hosts: tuple[str, ...]) -> dict[str, Projected]:
        made = self._networks.get(network.id)
        if made is None or made[0] is not network or made[1] != hosts:
            documents = {host: _projected(_network_document(network, host, hosts, self._tunnels)) for host in hosts}
            made = (network, hosts, documents)
            self._networks[network.id] = made
        return made[2]


def _projected(document: DesiredDocument) -> Projected:
    return Projected(document, encode(document))


def _tunnel_addresses(agents: Iterable[AgentFact]) -> dict[str, str]:
    """host -> VXLAN tunnel endpoint; hosts that have none are left out."""
    found: dict[str, str] = {}
    for agent in agents:
        address = agent.heartbeat.get("tunnel_address") or agent.heartbeat.get("ha_address")
        if address:
            found[agent.host] = address
    return found


def _pair_documents(
    facts: Facts, pair: Pair, settled: bool, word: Word, advert_interval_ms: int
) -> Iterable[tuple[str, PairDocument]]:
    for member in pair.members:
        peer = facts.placed.agents[pair.peer_of(member)]
        beat: Mapping[str, Any] = peer.heartbeat
        yield (
            facts.placed.agents[member].host,
            PairDocument(
                pair_id=pair.id,
                vr_id=pair.vr_id,
                role=pair.role_of(member),
                epoch=pair.epoch,
                settled=settled,
                yields=word.yields if member == pair.backup_agent_id else "",
                peer_master=word.question if member == pair.active_agent_id else "",
                peer_host=peer.host,
                peer_address=beat.get("ha_address", ""),
                advert_interval_ms=advert_interval_ms,
            ),
        )


def _router_document(facts: Facts, router: RouterFact) -> RouterDocument:
    return RouterDocument(
        router_id=router.id,
        pair_id=facts.placed.bindings[router.id].pair_id,
        admin_state_up=router.admin_state_up,
        enable_snat=router.enable_snat,
        gateway=_router_port(facts, router.gateway, gateway=True) if router.gateway is not None else None,
        interfaces=tuple(_router_port(facts, port, gateway=False) for port in router.interfaces),
        routes=tuple(Route(destination=destination, nexthop=nexthop) for destination, nexthop in router.routes),
        floating_ips=tuple(
            FloatingIp(floating_ip_address=one.floating_ip_address, fixed_ip_address=one.fixed_ip_address)
            for one in router.floating_ips
        ),
    )


def _router_port(facts: Facts, port: PortFact, *, gateway: bool) -> RouterPort:
    if gateway:
        # the external network has a router already
        fixed_ips = tuple(replace(ip, ra_mode=None, dns_nameservers=()) for ip in port.fixed_ips)
    else:
        fixed_ips = tuple(replace(ip, gateway_ip=None) for ip in port.fixed_ips)
    return RouterPort(
        port_id=port.id,
        network_id=port.network_id,
        mac_address=port.mac_address,
        fixed_ips=fixed_ips,
        mtu=facts.wanted.networks[port.network_id].mtu,
        admin_state_up=port.admin_state_up,
    )


def _port_document(port: PortFact) -> PortDocument:
    return PortDocument(
        port_id=port.id,
        network_id=port.network_id,
        mac_address=port.mac_address,
        admin_state_up=port.admin_state_up,
    )


def _network_document(
    network: NetworkFact, host: str, hosts: Iterable[str], tunnels: Mapping[str, str]
) -> NetworkDocument:
    flood: tuple[str, ...] = ()
    if network.network_type is NetworkType.VXLAN:
        flood = tuple(sorted({tunnels[other] for other in hosts if other != host and other in tunnels}))
    return NetworkDocument(
        network_id=network.id,
        network_type=network.network_type,
        mtu=network.mtu,
        physical_network=network.physical_network,
        segmentation_id=network.segmentation_id,
        admin_state_up=network.admin_state_up,
        flood=flood,
    )
