"""What of the desired state is yet to be done, and what its parts are called on a host. PURE: no I/O, no clock.

Names of devices and namespaces are Neutron's Linux bridge and L3 agents' names, so that an operator finds them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from haqn.agent.desired import Desired
from haqn.documents import DesiredDocument, NetworkDocument, RouterDocument, RouterPort, digest, ports_of
from haqn.model import CLOSED_GROUP, FIRST_PAIR_ID, UNGATED_GROUP, NetworkType

NAMESPACE_PREFIX = "qrouter-"
BRIDGE_PREFIX = "brq"
VXLAN_PREFIX = "vxlan-"
_SHORT = 11

Key = tuple[str, str]


def namespace(router_id: str) -> str:
    """The network namespace of a router."""
    return NAMESPACE_PREFIX + router_id


def tap(port_id: str) -> str:
    """The device of a port on the host's side."""
    return "tap" + port_id[:_SHORT]


def gateway_device(port_id: str) -> str:
    """The device of a gateway port in the router's namespace."""
    return "qg-" + port_id[:_SHORT]


def interface_device(port_id: str) -> str:
    """The device of a router interface in the router's namespace."""
    return "qr-" + port_id[:_SHORT]


def bridge(network_id: str) -> str:
    """The bridge of a network."""
    return BRIDGE_PREFIX + network_id[:_SHORT]


def egress(network: NetworkDocument, physical_networks: Mapping[str, str]) -> str | None:
    """The device through which frames of the network leave the host; None for a network that does not."""
    if network.network_type is NetworkType.VXLAN:
        return f"{VXLAN_PREFIX}{network.segmentation_id}"
    if network.network_type is NetworkType.FLAT:
        return physical_networks.get(network.physical_network or "")
    return None


def group(router: RouterDocument, port: RouterPort) -> int:
    """The device group that the port should be in."""
    if not (router.admin_state_up and port.admin_state_up):
        return CLOSED_GROUP
    return UNGATED_GROUP if router.pair_id is None else router.pair_id


@dataclass(frozen=True, slots=True)
class OpenPairs:
    """What the gates of this host are."""

    #: pairs whose gate is open here
    masters: frozenset[int] = frozenset()
    #: pairs that have been BACKUP here for a while, so that their peer may be trusted to forward
    yielded: frozenset[int] = frozenset()


def must_wait(current: int, target: int, pairs: OpenPairs) -> bool:
    """Whether moving a port from one device group to the other would interrupt traffic that passes here now."""
    passes = current < FIRST_PAIR_ID or current in pairs.masters
    shuts = FIRST_PAIR_ID <= target != CLOSED_GROUP and target not in pairs.masters
    return passes and shuts and target not in pairs.yielded


def router_must_wait(present: RouterDocument, wanted: RouterDocument, pairs: OpenPairs) -> bool:
    """The same for a router as a whole, so that it need not be looked at before its moment has come."""
    before = UNGATED_GROUP if present.pair_id is None else present.pair_id
    return any(must_wait(before, group(wanted, port), pairs) for port in ports_of(wanted))


@dataclass(frozen=True, slots=True)
class Todo:
    """Keys to carry out and keys to undo."""

    change: frozenset[Key]
    remove: frozenset[Key]


def todo(desired: Desired, applied: Mapping[Key, DesiredDocument | None]) -> Todo:
    """Compare with what was applied; a value of None there is something found on the host and not yet looked at."""
    change = {key for key, document in desired.documents.items() if applied.get(key) != document}
    remove = set() if desired.holding else set(applied) - set(desired.documents) - set(desired.invalid)
    return Todo(frozenset(change), frozenset(remove))


def applied_generation(desired: Desired, unfinished: Collection[Key]) -> int:
    """The generation up to which everything is applied, given the keys that are not (errors not counted)."""
    oldest = [
        desired.documents[key].generation if key in desired.documents else desired.generation for key in unfinished
    ]
    return min([desired.generation, *(generation - 1 for generation in oldest)])


def applied_digest(desired: Desired, unfinished: Collection[Key]) -> str:
    """The digest of all desired documents once they are applied; empty while some are `unfinished`, for whatever
    reason. One that cannot be read is not in it."""
    return "" if desired.holding or unfinished else digest(desired.fingerprints.values())
