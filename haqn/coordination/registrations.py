"""Which keys a session wants on its lease, and what is known of them in etcd. Pure, not thread-safe.

Every put is conditional on the key's last known revision. So a try that had no answer, and that
a frozen member carries out when it wakes up, cannot undo what was written since.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class _Known:
    #: None: not what we want, or a write was sent and nothing is known of its outcome
    value: bytes | None = None
    #: the key's mod_revision when it was last seen; 0: it did not exist
    revision: int = 0


class Registrations:
    """The difference between what was registered and what etcd has confirmed."""

    def __init__(self) -> None:
        self._wanted: dict[str, bytes] = {}
        self._known: dict[str, _Known] = {}
        #: keys that were deleted, but of which a put may be on its way still
        self._withdrawn: set[str] = set()

    def want(self, key: str, value: bytes) -> None:
        self._wanted[key] = value

    def unwant(self, key: str) -> None:
        self._wanted.pop(key, None)

    def pending_puts(self) -> dict[str, bytes]:
        return {key: value for key, value in self._wanted.items() if self._of(key).value != value}

    def pending_deletes(self) -> list[str]:
        return [key for key in self._known if key not in self._wanted]

    def sending(self, keys: Iterable[str]) -> dict[str, int]:
        """Before puts are sent: only their answer tells what the keys are. Returns the last known revisions."""
        for key in keys:
            self._known[key] = replace(self._of(key), value=None)
        return {key: self._known[key].revision for key in keys}

    def found(self, key: str, value: bytes | None, revision: int) -> None:
        """etcd has told: the key was last written at `revision`; `value` is None unless it is on our lease."""
        self._known[key] = _Known(value, revision)

    def deleted(self, key: str) -> None:
        """etcd has told that the key is gone, or is another's."""
        self._known.pop(key, None)
        self._withdrawn.add(key)

    def on_lease(self, keys: Set[str]) -> None:
        """Exactly these keys are on the lease: what somebody deleted is to be put again, what came late to be deleted.

        Keys that were never registered are not ours; an election's key may be on the same lease.
        """
        for key in self._known.keys() - keys:
            self._known[key] = replace(self._known[key], value=None)
        for key in (keys & self._withdrawn) - self._known.keys():
            self._known[key] = _Known()

    def lease_gone(self) -> None:
        """Nothing is known any more: keys die with their lease, and so do writes on their way."""
        self._known.clear()
        self._withdrawn.clear()

    def _of(self, key: str) -> _Known:
        return self._known.get(key, _Known())
