"""Facts -> the documents of each host. PURE: no I/O, no clock.

Documents carry generation 0 here; `haqn.monitor.publisher` numbers those that changed. A dead
agent's documents stay, so that it converges when it is back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from haqn.db.snapshot import AgentFact, Facts, PortFact, RouterFact
from haqn.documents import (
    NetworkDocument,
    PairDocument,
    PortDocument,
    Route,
    RouterDocument,
    RouterPort,
    encode,
)
from haqn.model import AgentType, NetworkType, Pair
from haqn.monitor.assemble import members_of

Document = PairDocument | NetworkDocument | RouterDocument | PortDocument

#: every kind of document under keys.DESIRED but the manifest
KINDS: Mapping[str, type[Document]] = {
    "pairs": PairDocument,
    "networks": NetworkDocument,
    "routers": RouterDocument,
    "ports": PortDocument,
}


class Projected(NamedTuple):
    """A document without its generation, and the same as JSON: what is compared."""

    document: Document
    content: bytes


#: host -> (kind, object id) -> document. Every host with an agent is in it.
Projection = dict[str, dict[tuple[str, str], Projected]]


def project(facts: Facts, settled: Collection[int], advert_interval_ms: int) -> Projection:
    """All documents of all hosts. `settled`: ids of the settled pairs."""
    projection: Projection = {agent.host: {} for agent in facts.agents.values()}
    tunnels = _tunnel_addresses(facts.agents.values())
    #: network -> hosts that must have it
    present: dict[str, set[str]] = defaultdict(set)
    for pair in facts.pairs.values():
        for host, pair_document in _pair_documents(facts, pair, pair.id in settled, advert_interval_ms):
            projection[host]["pairs", str(pair.id)] = _projected(pair_document)
    for router in facts.routers.values():
        hosts = [facts.agents[member].host for member in members_of(facts, router.id)]
        if not hosts:
            continue
        projected = _projected(_router_document(facts, router))
        for host in hosts:
            projection[host]["routers", router.id] = projected
        for port in _ports(router):
            present[port.network_id].update(hosts)
    bridge_hosts = {agent.host for agent in facts.agents.values() if agent.agent_type is AgentType.LINUX_BRIDGE}
    for port in facts.host_ports.values():
        if port.host in bridge_hosts:
            projection[port.host]["ports", port.id] = _projected(_port_document(port))
            present[port.network_id].add(port.host)
    for network_id in sorted(present):
        hosts = sorted(present[network_id])
        for host in hosts:
            network_document = _network_document(facts, network_id, host, hosts, tunnels)
            projection[host]["networks", network_id] = _projected(network_document)
    return projection


def _projected(document: Document) -> Projected:
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
    facts: Facts, pair: Pair, settled: bool, advert_interval_ms: int
) -> Iterable[tuple[str, PairDocument]]:
    for member in pair.members:
        peer = facts.agents[pair.peer_of(member)]
        beat: Mapping[str, Any] = peer.heartbeat
        yield (
            facts.agents[member].host,
            PairDocument(
                pair_id=pair.id,
                vr_id=pair.vr_id,
                role=pair.role_of(member),
                epoch=pair.epoch,
                settled=settled,
                peer_host=peer.host,
                peer_address=beat.get("ha_address", ""),
                advert_interval_ms=advert_interval_ms,
            ),
        )


def _ports(router: RouterFact) -> tuple[PortFact, ...]:
    return (*router.interfaces, router.gateway) if router.gateway is not None else router.interfaces


def _router_document(facts: Facts, router: RouterFact) -> RouterDocument:
    return RouterDocument(
        router_id=router.id,
        pair_id=facts.bindings[router.id].pair_id,
        admin_state_up=router.admin_state_up,
        enable_snat=router.enable_snat,
        gateway=_router_port(facts, router.gateway, gateway=True) if router.gateway is not None else None,
        interfaces=tuple(_router_port(facts, port, gateway=False) for port in router.interfaces),
        routes=tuple(Route(destination=destination, nexthop=nexthop) for destination, nexthop in router.routes),
    )


def _router_port(facts: Facts, port: PortFact, *, gateway: bool) -> RouterPort:
    fixed_ips = port.fixed_ips
    if not gateway:
        fixed_ips = tuple(replace(ip, gateway_ip=None) for ip in fixed_ips)
    return RouterPort(
        port_id=port.id,
        network_id=port.network_id,
        mac_address=port.mac_address,
        fixed_ips=fixed_ips,
        mtu=facts.networks[port.network_id].mtu,
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
    facts: Facts, network_id: str, host: str, hosts: Iterable[str], tunnels: Mapping[str, str]
) -> NetworkDocument:
    network = facts.networks[network_id]
    flood: tuple[str, ...] = ()
    if network.network_type is NetworkType.VXLAN:
        flood = tuple(sorted({tunnels[other] for other in hosts if other != host and other in tunnels}))
    return NetworkDocument(
        network_id=network_id,
        network_type=network.network_type,
        mtu=network.mtu,
        physical_network=network.physical_network,
        segmentation_id=network.segmentation_id,
        admin_state_up=network.admin_state_up,
        flood=flood,
    )
