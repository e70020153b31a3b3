"""The nouns of haqn that every layer shares: roles, states, agents, pairs, bindings.

Knows the words of DESIGN.md and nothing else: no I/O, no clock, no third-party
library. Assigned words (`Role`) and observed words (`VrrpState`) are never mixed.
"""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass

#: Pair ids double as Linux device groups of router ports; smaller groups are never gated.
FIRST_PAIR_ID = 65536
#: Device group that no pair has: its ports are shut whatever VRRP says (admin_state_up=false). ip(8) shows groups as
#: signed numbers, so pair ids stay below it, too.
CLOSED_GROUP = 2**31 - 2
#: Device group of a port that belongs to no pair (a router without a standby).
UNGATED_GROUP = 1
#: the epoch of a pair that was just made
FIRST_EPOCH = 1
#: RFC 5798 section 5.2.3: a virtual router id is 1..255.
MAX_VR_ID = 255

_AGENT_NAMESPACE = uuid.UUID("6a0f2f0e-9d5c-4b57-8a4e-6f6861716e31")


class AgentType(enum.StrEnum):
    """Neutron's names of agent types."""

    L3 = "L3 agent"
    LINUX_BRIDGE = "Linux bridge agent"


class Role(enum.StrEnum):
    """What the control plane wants a member of a pair to be (assigned)."""

    ACTIVE = "ACTIVE"
    BACKUP = "BACKUP"


class VrrpState(enum.StrEnum):
    """What keepalived says that an instance is (observed). RFC 5798 section 6.4 plus keepalived's FAULT."""

    MASTER = "MASTER"
    BACKUP = "BACKUP"
    FAULT = "FAULT"


class NetworkType(enum.StrEnum):
    """`provider:network_type` values that haqn can carry out."""

    FLAT = "flat"
    VXLAN = "vxlan"
    LOCAL = "local"


class Ipv6Mode(enum.StrEnum):
    """`ipv6_ra_mode` (what routers announce) and `ipv6_address_mode` (how ports come by addresses) of a subnet."""

    SLAAC = "slaac"
    DHCPV6_STATEFUL = "dhcpv6-stateful"
    #: addresses by SLAAC, the rest by DHCPv6
    DHCPV6_STATELESS = "dhcpv6-stateless"


#: modes in which the hosts make their addresses themselves
AUTO_ADDRESS_MODES = frozenset({Ipv6Mode.SLAAC, Ipv6Mode.DHCPV6_STATELESS})


def agent_id(agent_type: AgentType, host: str) -> str:
    """The UUID of the agent of this type on this host; the same after a restart and after etcd was wiped."""
    return str(uuid.uuid5(_AGENT_NAMESPACE, f"{agent_type}@{host}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent as the planner sees it: its SQL row joined with its heartbeat."""

    id: str
    agent_type: AgentType
    host: str
    alive: bool
    admin_state_up: bool = True
    draining: bool = False
    zone: str = ""
    ha_address: str = ""
    tunnel_address: str = ""
    physical_networks: frozenset[str] = frozenset()
    #: None: no limit of its own
    max_routers: int | None = None
    #: why it takes no more at this moment, by its own word; empty: it does
    full: str = ""
    #: empty: every router (network) is allowed
    allowed_routers: frozenset[str] = frozenset()
    allowed_networks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two L3 agents that share one vrrp_instance. `id` is also the device group of the ports that ride on it."""

    id: int
    active_agent_id: str
    backup_agent_id: str
    vr_id: int
    #: grows with every change of the designated role
    epoch: int

    @property
    def members(self) -> tuple[str, str]:
        return (self.active_agent_id, self.backup_agent_id)

    def peer_of(self, agent_id: str) -> str:
        return self.backup_agent_id if agent_id == self.active_agent_id else self.active_agent_id

    def role_of(self, agent_id: str) -> Role:
        return Role.ACTIVE if agent_id == self.active_agent_id else Role.BACKUP


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The permanent record router -> pair; or router -> one agent (ha=false, or no second agent yet)."""

    router_id: str
    pair_id: int | None = None
    agent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterRequest:
    """What the planner must know of a router to place it."""

    id: str
    ha: bool = True
    #: physical network of the gateway's network; None: no gateway, or one that needs no uplink
    physical_network: str | None = None
    gateway_network_id: str | None = None
    availability_zone_hints: tuple[str, ...] = ()
    #: agents that an operator took the router off
    excluded_agents: tuple[str, ...] = ()
