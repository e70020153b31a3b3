"""Which keys a session wants on its lease, and which are known to be there. Pure, not thread-safe."""

from __future__ import annotations

from collections.abc import Iterable, Set


class Registrations:
    """The difference between what was registered and what etcd has confirmed."""

    def __init__(self) -> None:
        self._wanted: dict[str, bytes] = {}
        #: None: something was sent, and nothing is known of the outcome
        self._bound: dict[str, bytes | None] = {}

    def want(self, key: str, value: bytes) -> None:
        self._wanted[key] = value

    def unwant(self, key: str) -> None:
        self._wanted.pop(key, None)

    def pending_puts(self) -> dict[str, bytes]:
        return {key: value for key, value in self._wanted.items() if self._bound.get(key) != value}

    def pending_deletes(self) -> list[str]:
        return [key for key in self._bound if key not in self._wanted]

    def sending(self, keys: Iterable[str]) -> None:
        """Before a write is sent: from now on only its answer tells what the key is."""
        for key in keys:
            self._bound[key] = None

    def put(self, key: str, value: bytes) -> None:
        """etcd has confirmed the put."""
        self._bound[key] = value

    def deleted(self, key: str) -> None:
        """etcd has confirmed that the key is not ours any more."""
        self._bound.pop(key, None)

    def seen(self, keys: Set[str]) -> None:
        """These keys are on the lease; what else was bound has been deleted by somebody and is put again."""
        for key in [key for key in self._bound if key not in keys]:
            del self._bound[key]

    def lease_gone(self) -> None:
        """Nothing is bound any more: keys die with their lease."""
        self._bound.clear()
