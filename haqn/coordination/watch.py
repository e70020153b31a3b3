"""One watch on one member, with a watchdog that tells a quiet stream from a dead one.

Whether the stream lives is asked by creating and cancelling a second watch that lets no
event through. gRPC's keepalive notices a frozen etcd late or never, and etcd 3.4 sends
progress notifications ahead of events, so neither can be used (doc/adr/0002-etcd-client.md).

Knows one stream; failover, lists and state are the informer's.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Self

from haqn.clock import Clock
from haqn.coordination import messages
from haqn.coordination.retries import Remedy, remedy
from haqn.coordination.state import Change
from haqn.coordination.stubs import Connection, Message, RpcError, rpc, status
from haqn.coordination.timing import Pulse, Watchdog

#: How long a reader waits before it looks around, in seconds: until the watchdog has something to say, which it may
#: find a moment after it is due, and not for longer than the reader's own affairs can wait.
_SHORTEST_TICK, _LONGEST_TICK = 0.02, 1.0


class WatchBroken(Exception):
    """The stream has ended or says nothing; `remedy` tells what may help."""

    def __init__(self, reason: str, remedy: Remedy = Remedy.OTHER_ENDPOINT) -> None:
        super().__init__(reason)
        self.remedy = remedy


class WatchCompacted(Exception):
    """The history from the asked revision on is not there any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Something that the member said: changes in order of revision, or just that it lives (no changes)."""

    cluster_id: int
    changes: tuple[Change, ...]


class Watch:
    """Context manager around one stream. Read it in one thread; `cancel` from any."""

    def __init__(
        self,
        connection: Connection,
        prefix: str,
        *,
        exact: bool,
        start_revision: int,
        ping_after: float,
        silence: float,
        clock: Clock,
    ) -> None:
        """Watch from `start_revision` on; durations in seconds."""
        self.connection = connection
        self.endpoint = connection.endpoint
        self._clock = clock
        start, end = messages.key_range(prefix, exact=exact)
        no_put, no_delete = rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE
        self._ping = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=start, filters=[no_put, no_delete]))
        self._requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Message | WatchBroken] = queue.SimpleQueue()
        self._requests.put(
            rpc.WatchRequest(
                create_request=rpc.WatchCreateRequest(key=start, range_end=end, start_revision=start_revision)
            )
        )
        now = clock.monotonic()
        self._watchdog = Watchdog(ping_after=ping_after, silence=silence, heard_at=now, asked_at=now)
        self._watch_id: int | None = None
        self._stream = connection.watch.Watch(iter(self._requests.get, None), metadata=connection.metadata)

    def __enter__(self) -> Self:
        threading.Thread(target=self._pump, name="watch-pump", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self.cancel()

    def cancel(self) -> None:
        """End the stream; whoever reads it gets WatchBroken."""
        self._stream.cancel()

    def read(self) -> Answer | None:
        """The next answer; None when nothing has come for a moment, so that the reader may look around.

        Raises WatchBroken or WatchCompacted; the watch is of no use afterwards.
        """
        try:
            idle = self._watchdog.idle_for(self._clock.monotonic())
            message = self._answers.get(timeout=min(max(idle, _SHORTEST_TICK), _LONGEST_TICK))
        except queue.Empty:
            self._look_for_life()
            return None
        if isinstance(message, WatchBroken):
            raise message
        self._watchdog.heard(self._clock.monotonic())
        if self._watch_id is None:
            self._watch_id = message.watch_id
        if message.watch_id == self._watch_id:
            if message.compact_revision:
                raise WatchCompacted
            if message.canceled:
                raise WatchBroken(f"cancelled by etcd: {message.cancel_reason}")
        elif message.created:
            self._requests.put(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=message.watch_id)))
        changes = tuple(Change(messages.key_value(event.kv), deleted=bool(event.type)) for event in message.events)
        return Answer(message.header.cluster_id, changes)

    def _look_for_life(self) -> None:
        now = self._clock.monotonic()
        pulse = self._watchdog.check(now)
        if pulse is Pulse.PING:
            self._watchdog.asked(now)
            self._requests.put(self._ping)
        elif pulse is Pulse.DEAD:
            raise WatchBroken("no answer")

    def _pump(self) -> None:
        """Move messages from gRPC, which can only be waited for without a limit, to a queue."""
        try:
            for message in self._stream:
                self._answers.put(message)
            self._answers.put(WatchBroken("ended by etcd"))
        except RpcError as error:
            code, details = status(error)
            self._answers.put(WatchBroken(f"{code}: {details}", remedy(code, details)))
