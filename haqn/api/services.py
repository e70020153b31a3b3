"""What every endpoint works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from haqn.api.livestate import LiveState
from haqn.api.nudge import Nudge
from haqn.db import outbox
from haqn.db.session import Connection, Database
from haqn.db.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One object per process."""

    database: Database
    settings: Settings
    live_state: LiveState
    nudge: Nudge

    def write(self, work: Callable[[Connection], T]) -> T:
        """`work` in one transaction (tried again if need be, so it must not change what it is given); then a nudge."""

        def recorded(connection: Connection) -> tuple[T, int]:
            return work(connection), outbox.last_recorded(connection)

        result, line = self.database.write(recorded)
        self.nudge.poke(line)
        return result
