"""What of the desired state is yet to be done. PURE: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from haqn.agent.desired import Desired
from haqn.documents import DesiredDocument, RouterDocument, RouterPort, digest, ports_of
from haqn.model import CLOSED_GROUP, FIRST_PAIR_ID, UNGATED_GROUP

Key = tuple[str, str]


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
