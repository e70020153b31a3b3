"""Where each document lives in etcd. The layout is documented for operators in DESIGN.md.

Knows key names only; the documents are in `haqn.documents`.
"""

from __future__ import annotations

from haqn.model import AgentType

ROOT = "/haqn/v1/"
AGENTS = ROOT + "agents/"
LEADER = ROOT + "leader/monitor"
DESIRED = ROOT + "desired/"
OBSERVED = ROOT + "observed/"
NUDGE = ROOT + "nudge"


def agent(agent_type: AgentType, host: str) -> str:
    """The heartbeat of the agent; its lease is its life."""
    return f"{AGENTS}{agent_type}/{host}"


def desired(host: str) -> str:
    """The prefix that the agent on `host` watches, and nothing else."""
    return f"{DESIRED}{host}/"


def manifest(host: str) -> str:
    """How many documents a host has, and whether they are complete."""
    return f"{DESIRED}{host}/manifest"


def desired_network(host: str, network_id: str) -> str:
    """A network that the host must have a bridge for."""
    return f"{DESIRED}{host}/networks/{network_id}"


def desired_router(host: str, router_id: str) -> str:
    """A router that the host must have."""
    return f"{DESIRED}{host}/routers/{router_id}"


def desired_port(host: str, port_id: str) -> str:
    """A VM port that the host must plug."""
    return f"{DESIRED}{host}/ports/{port_id}"


def observed(host: str) -> str:
    """The prefix that the agent on `host` reports under."""
    return f"{OBSERVED}{host}/"


def observed_pair(host: str, pair_id: int) -> str:
    """What keepalived says of a pair on a host."""
    return f"{OBSERVED}{host}/pairs/{pair_id}"


def observed_sync(host: str) -> str:
    """How far the host has come with its documents."""
    return f"{OBSERVED}{host}/sync"


def split_desired(key: str) -> tuple[str, str, str]:
    """(host, kind, id) of a key under DESIRED; kind is manifest, pairs, networks, routers or ports."""
    host, _, rest = key.removeprefix(DESIRED).partition("/")
    kind, _, object_id = rest.partition("/")
    return host, kind, object_id


def split_observed(key: str) -> tuple[str, str, str]:
    """(host, kind, id) of a key under OBSERVED; kind is pairs or sync."""
    host, _, rest = key.removeprefix(OBSERVED).partition("/")
    kind, _, object_id = rest.partition("/")
    return host, kind, object_id
