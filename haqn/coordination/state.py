"""What is known of a prefix, and which events follow from a list or a change. Pure.

Repeated and reordered changes (an older revision of a key than the known one) have no
effect; a full list always wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from haqn.coordination.operations import KeyValue


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch. Of a deleted key, only key and mod_revision mean something."""

    item: KeyValue
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """A key was created or written; `before` is what was known of it, None if it is new."""

    item: KeyValue
    before: KeyValue | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A key is gone; `before` is what was known of it."""

    before: KeyValue


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything before this event is the whole prefix as it was at `revision`."""

    revision: int


Event = Changed | Deleted | Synced


class State:
    """The keys of one prefix as of `revision`; None before the first list. Not thread-safe."""

    def __init__(self) -> None:
        self._items: dict[str, KeyValue] = {}
        self.revision: int | None = None

    def snapshot(self) -> dict[str, KeyValue]:
        return dict(self._items)

    def get(self, key: str) -> KeyValue | None:
        return self._items.get(key)

    def listed(self, items: Mapping[str, KeyValue], revision: int) -> list[Event]:
        """The prefix is exactly `items`: the differences as events, deletes first, then Synced."""
        events: list[Event] = [Deleted(self._items.pop(key)) for key in sorted(self._items.keys() - items.keys())]
        for item in sorted(items.values(), key=lambda item: (item.mod_revision, item.key)):
            before = self._items.get(item.key)
            if before != item:
                self._items[item.key] = item
                events.append(Changed(item, before))
        self.revision = revision
        events.append(Synced(revision))
        return events

    def watched(self, changes: Iterable[Change]) -> list[Event]:
        """Apply changes in their order."""
        events: list[Event] = []
        for change in changes:
            item = change.item
            before = self._items.get(item.key)
            if before is not None and item.mod_revision <= before.mod_revision:
                continue
            if not change.deleted:
                self._items[item.key] = item
                events.append(Changed(item, before))
            elif before is not None:
                events.append(Deleted(self._items.pop(item.key)))
            self.revision = max(self.revision or 0, item.mod_revision)
        return events
