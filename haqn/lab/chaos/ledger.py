"""What the API has answered as written, against what is in SQL. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Value = str | None


class Ledger:
    """Of each object the name that it must have; None: it must be gone."""

    def __init__(self) -> None:
        self._sure: dict[str, Value] = {}
        #: objects of which a write was not answered: it may have been done, or may yet be
        self._doubtful: set[str] = set()

    def wrote(self, object_id: str, value: Value) -> None:
        """The API has answered that it is so."""
        if object_id not in self._doubtful:
            self._sure[object_id] = value

    def doubt(self, object_id: str) -> None:
        """Nothing is known of the object any more, except that it was there."""
        self._doubtful.add(object_id)
        self._sure.pop(object_id, None)

    @property
    def alive(self) -> list[str]:
        """Objects that are there for sure."""
        return [object_id for object_id, value in self._sure.items() if value is not None]

    def contradictions(self, rows: Mapping[str, str]) -> list[str]:
        """What is not as it was answered. `rows`: id -> name of all objects in SQL."""
        found = []
        for object_id, value in self._sure.items():
            present = rows.get(object_id)
            if present != value:
                wanted = "gone" if value is None else repr(value)
                is_now = "gone" if present is None else repr(present)
                found.append(f"{object_id} was answered to be {wanted} and is {is_now}")
        return found
