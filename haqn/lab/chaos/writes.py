"""A user who goes on writing through the API, whatever happens to it, and remembers what was answered."""

from __future__ import annotations

import random
import threading
import time

from haqn.lab.chaos.ledger import Ledger
from haqn.lab.client import ApiError, Client

#: names of everything that is made here begin so
PREFIX = "chaos-"
#: seconds
_PAUSE = 0.5
#: longer than the API tries to write
_TIMEOUT = 25.0
_MOST = {"network": 6, "router": 3}
_SERVER_BUG = 500


class Writer:
    """Creates, renames and deletes networks and routers (with gateways) until `close`."""

    def __init__(self, url: str, external_id: str, seed: int) -> None:
        self._url = url
        self._external_id = external_id
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._ledgers = {kind: Ledger() for kind in _MOST}
        self._lock = threading.Lock()
        self._may_write = threading.Event()
        self._may_write.set()
        self._resting = threading.Event()
        self._ended = threading.Event()
        self._number = 0
        #: writes that were answered, and those that were not
        self.answered = 0
        self.unanswered = 0
        #: wall clock of the last answer
        self.last_answer = 0.0
        #: answers that no fault excuses
        self.bugs: list[str] = []
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._may_write.set()
        self._thread.join()

    def rest(self) -> None:
        """Stop writing, and wait until the last write is answered or given up."""
        self._may_write.clear()
        self._resting.wait(2 * _TIMEOUT)

    def go_on(self) -> None:
        self._resting.clear()
        self._may_write.set()

    def contradictions(self, rows: dict[str, dict[str, str]]) -> list[str]:
        """What SQL has otherwise than it was answered. `rows`: kind -> id -> name. What is written at this very moment
        may be among it, but not twice.
        """
        with self._lock:
            return [
                f"{kind} {one}" for kind, ledger in self._ledgers.items() for one in ledger.contradictions(rows[kind])
            ]

    def clean(self) -> None:
        """Delete everything that was made here, known or not. Call while at rest; ApiError, OSError."""
        with Client(self._url, timeout=_TIMEOUT) as client:
            for kind in _MOST:
                for found in client.find(kind):
                    if found["name"].startswith(PREFIX):
                        client.delete(kind, found["id"])
            for kind in _MOST:
                self._ledgers[kind] = Ledger()

    def _run(self) -> None:
        client = Client(self._url, timeout=_TIMEOUT)
        while not self._ended.wait(_PAUSE):
            if not self._may_write.is_set():
                self._resting.set()
                self._may_write.wait()
                continue
            kind = self._chance.choice(tuple(_MOST))
            with self._lock:
                alive = self._ledgers[kind].alive
            try:
                if len(alive) < self._chance.randint(1, _MOST[kind]):
                    self._create(client, kind)
                elif self._chance.random() < 0.5:
                    self._rename(client, kind, self._chance.choice(alive))
                else:
                    self._delete(client, kind, self._chance.choice(alive))
            except ApiError as error:
                self.unanswered += 1
                if error.status == _SERVER_BUG:
                    self.bugs.append(f"the API answered {error}")
            except OSError:
                self.unanswered += 1
            else:
                self.answered += 1
                self.last_answer = time.time()
        client.close()

    def _name(self) -> str:
        self._number += 1
        return f"{PREFIX}{self._number}"

    def _create(self, client: Client, kind: str) -> None:
        name = self._name()
        attributes: dict[str, object] = {"name": name}
        if kind == "router":
            attributes["external_gateway_info"] = {"network_id": self._external_id}
        created = client.create(kind, attributes)
        with self._lock:
            self._ledgers[kind].wrote(created["id"], name)

    def _rename(self, client: Client, kind: str, object_id: str) -> None:
        name = self._name()
        with self._doubting(kind, object_id) as sure:
            client.update(kind, object_id, {"name": name})
            sure.value, sure.done = name, True

    def _delete(self, client: Client, kind: str, object_id: str) -> None:
        with self._doubting(kind, object_id) as sure:
            client.delete(kind, object_id)
            sure.done = True

    def _doubting(self, kind: str, object_id: str) -> _Doubt:
        return _Doubt(self._ledgers[kind], self._lock, object_id)


class _Doubt:
    """A write to one object: in doubt unless it was `done`, and then it made the object `value`."""

    def __init__(self, ledger: Ledger, lock: threading.Lock, object_id: str) -> None:
        self._ledger = ledger
        self._lock = lock
        self._object_id = object_id
        self.value: str | None = None
        self.done = False

    def __enter__(self) -> _Doubt:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self.done:
                self._ledger.wrote(self._object_id, self.value)
            else:
                self._ledger.doubt(self._object_id)
