"""The JSON documents that haqn keeps in etcd, and their one codec.

Desired documents are written by the leader for one host each; reports and heartbeats
are written by agents under their own lease. Unknown fields are ignored and missing
ones have defaults, so that neighbouring versions understand each other. Knows nothing
of etcd: keys are in `haqn.coordination.keys`.

Units: durations in milliseconds where the name ends in `_ms`; times are ISO 8601, UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from haqn.exceptions import InvalidDocument
from haqn.model import AgentType, NetworkType, Role, VrrpState

T = TypeVar("T")


def encode(document: object) -> bytes:
    """The document as JSON, keys in field order (the same document gives the same bytes)."""
    return msgspec.json.encode(document)


def to_plain(document: object) -> dict[str, Any]:
    """The document as what JSON has: what a JSON column gives back."""
    return decode(encode(document), dict[str, Any])


def decode(data: bytes, kind: type[T]) -> T:
    """Parse and check `data`; raises InvalidDocument, which says where it is wrong."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidDocument(f"cannot read {kind.__name__}: {error}") from error


def fingerprint(kind: str, object_id: str, value: bytes) -> int:
    """128 bits that differ when a desired document does, byte by byte as it is in etcd."""
    content = hashlib.blake2b(value, digest_size=16, key=f"{kind}/{object_id}".encode()[:64]).digest()
    return int.from_bytes(content)


def digest(fingerprints: Iterable[int]) -> str:
    """All documents of a host in one hash, whatever their order: to find mistakes, not forgeries."""
    combined = 0
    for one in fingerprints:
        combined ^= one
    return f"{combined:032x}"


# -- written by agents, under their lease -------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """`/agents/<type>/<host>`: exists exactly as long as the agent's lease."""

    agent_id: str
    agent_type: AgentType
    host: str
    started_at: str
    haqn_version: str = ""
    zone: str = ""
    #: where the peer's keepalived sends adverts to
    ha_address: str = ""
    #: VXLAN tunnel endpoint
    tunnel_address: str = ""
    physical_networks: tuple[str, ...] = ()
    max_routers: int | None = None
    allowed_routers: tuple[str, ...] = ()
    allowed_networks: tuple[str, ...] = ()
    #: why the host takes no more routers at this moment; empty: it does
    full: str = ""
    #: number of routers built on the host (refreshed rarely; the exact number is in SQL)
    routers: int = 0
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """`/observed/<host>/pairs/<pair>`: what keepalived says about the pair on this host."""

    pair_id: int
    state: VrrpState
    since: str
    #: grows with every transition on this host
    sequence: int
    #: the designated role and epoch that this host has carried out
    role: Role
    epoch: int
    #: the kernel's word
    gate_open: bool
    #: it is in FAULT because it gives way to a peer that it does not hear, or was until a moment ago
    yielding: bool = False
    #: PairDocument.peer_master, once keepalived has given a sign of life after it was asked
    peer_master: str = ""
    #: role level (haqn.failover.levels)
    level: int = 0
    #: uplinks of this host without a carrier, or whose target does not answer
    dead_uplinks: tuple[str, ...] = ()
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """`/observed/<host>/sync`: how far the host has come with its desired documents."""

    #: every document of this generation or an older one is applied, or is named in `errors`
    generation: int
    #: object id (router, network, port, pair) -> why it could not be carried out
    errors: dict[str, str] = field(default_factory=dict)
    routers: int = 0
    #: true while the host keeps what runs because its desired documents are not complete
    holding: bool = False
    #: of the documents of this generation as they were applied; empty while some are not, or of an older version
    digest: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderRecord:
    """`/leader/monitor`: who leads. `epoch` is the SQL fencing epoch, 0 until it is known."""

    holder: str
    epoch: int = 0
    since: str = ""
    version: int = 1


# -- written by the leader, read by one host ----------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`/desired/<host>/manifest`: a document that is missing may be undone on the host only if
    `complete` is true and exactly `count` documents (the manifest not counted) are listed."""

    generation: int
    count: int
    complete: bool
    #: of the documents as the leader wrote them; empty: of an older version
    digest: str = ""
    #: when, by the leader's clock; for people
    written_at: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDocument:
    """`/desired/<host>/pairs/<pair>`: this host's half of a pair."""

    pair_id: int
    vr_id: int
    role: Role
    epoch: int
    #: the peer is known to have given way, so that a taken-over role may fall to the ordinary level
    settled: bool
    peer_host: str
    peer_address: str
    advert_interval_ms: int = 100
    #: `since` of the present state of this member, in which it is to yield (be in FAULT) although it does not hear its
    #: peer; empty: it is not. A state that begins later is not meant, however late this is read
    yields: str = ""
    #: a question: `since` of the peer's state MASTER. This member answers in its report when it is MASTER all the same
    peer_master: str = ""
    generation: int = 0
    #: when, by the leader's clock; for people
    written_at: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDocument:
    """`/desired/<host>/networks/<id>`: a network that this host must have a bridge for."""

    network_id: str
    network_type: NetworkType
    mtu: int
    physical_network: str | None = None
    segmentation_id: int | None = None
    admin_state_up: bool = True
    #: tunnel addresses of the other hosts that have the network (VXLAN head-end replication)
    flood: tuple[str, ...] = ()
    generation: int = 0
    #: when, by the leader's clock; for people
    written_at: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedIp:
    subnet_id: str
    ip_address: str
    prefix_length: int
    #: next hop of the default route, on the gateway port only
    gateway_ip: str | None = None
    #: what the router announces of the address's prefix (haqn.model.Ipv6Mode); None: nothing
    ra_mode: str | None = None
    #: what it announces with it
    dns_nameservers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterPort:
    """A port of a router. The gateway port is the one in `RouterDocument.gateway`."""

    port_id: str
    network_id: str
    mac_address: str
    fixed_ips: tuple[FixedIp, ...]
    mtu: int = 1500
    admin_state_up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    destination: str
    nexthop: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatingIp:
    """An address of the gateway's network that leads to one address behind the router, and the other way round."""

    floating_ip_address: str
    fixed_ip_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDocument:
    """`/desired/<host>/routers/<id>`: everything the host needs to build the router; the same for
    both members of the pair but for `generation`."""

    router_id: str
    #: None: the router has no standby, and its ports are not gated
    pair_id: int | None
    admin_state_up: bool = True
    enable_snat: bool = True
    gateway: RouterPort | None = None
    interfaces: tuple[RouterPort, ...] = ()
    routes: tuple[Route, ...] = ()
    #: by floating address
    floating_ips: tuple[FloatingIp, ...] = ()
    generation: int = 0
    #: when, by the leader's clock; for people
    written_at: str = ""
    version: int = 1


def ports_of(router: RouterDocument) -> tuple[RouterPort, ...]:
    """All ports of a router, the gateway's last."""
    return (*router.interfaces, router.gateway) if router.gateway is not None else router.interfaces


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDocument:
    """`/desired/<host>/ports/<id>`: a port bound to this host (binding:host_id), whose tap device is
    to be plugged into the network's bridge."""

    port_id: str
    network_id: str
    mac_address: str
    admin_state_up: bool = True
    generation: int = 0
    #: when, by the leader's clock; for people
    written_at: str = ""
    version: int = 1


DesiredDocument = PairDocument | NetworkDocument | RouterDocument | PortDocument

#: what is under `/desired/<host>/<kind>/`; the manifest is not in it
DESIRED_KINDS: Mapping[str, type[DesiredDocument]] = {
    "pairs": PairDocument,
    "networks": NetworkDocument,
    "routers": RouterDocument,
    "ports": PortDocument,
}
