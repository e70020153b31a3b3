"""Carrying out documents, and undoing what is not wanted any more: the hands of the agent's loop.

Routers are built by threads, each of which works on one at a time; everything else is done in the loop's own thread.
Knows what is done, in hand, waiting or failed, and what failover is to announce; is told what is wanted, and when to
look.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from haqn.agent import diff
from haqn.agent.backend import PairDriver, RouterDriver
from haqn.agent.desired import Desired
from haqn.agent.diff import Key
from haqn.agent.newcomers import Newcomers
from haqn.agent.routers import Built
from haqn.agent.work import MustWait, Work
from haqn.clock import Clock
from haqn.documents import DesiredDocument, RouterDocument, ports_of
from haqn.exceptions import HaqnError

LOG = logging.getLogger(__name__)

#: seconds until the next look at what waits: a tap that is not there, a gate that is not open, what the leader asked
LOOK_AGAIN = 0.25
#: changes that are named in the log
_NAMED_CHANGES = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker thread has to say about a router."""

    key: Key
    document: RouterDocument | None
    future: Future[Built | None]
    #: nothing should have been left to do
    audit: bool


class Carrier:
    """One host. `wake()` is called from other threads when a router is done."""

    def __init__(
        self,
        *,
        routers: RouterDriver,
        pairs: PairDriver | None,
        workers: int,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self.work = Work()
        self._routers = routers
        self._pairs = pairs
        self._clock = clock
        self._wake = wake
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="router")
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._rows: dict[str, Mapping[int, tuple[str, ...]]] = {}
        self._newcomers = Newcomers()

    def close(self) -> None:
        """Finish what is in hand, and begin nothing."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._newcomers.close()

    def next_due(self, now: float) -> float | None:
        """Seconds until there is something to do; None: nothing waits."""
        pauses = (self.work.next_retry(now), self._newcomers.next_due(now))
        return min((pause for pause in pauses if pause is not None), default=None)

    def tell_newcomers(self, open_pairs: diff.OpenPairs) -> None:
        """Repeat what neighbours are to hear again by now."""
        self._newcomers.repeat(open_pairs.masters, self._clock.monotonic())

    # -- in the loop's own thread ------------------------------------------------------------------

    def do(self, key: Key, document: DesiredDocument, apply: Callable[..., object]) -> None:
        """Carry out one document."""
        if not self.work.may_start(key, self._clock.monotonic()):
            return
        try:
            finished = apply(document)
        except (HaqnError, OSError) as error:
            self._fail(key, error)
            return
        if finished is False:
            self.work.wait(key, self._clock.monotonic() + LOOK_AGAIN)
        else:
            self.work.done(key, document)

    def undo(self, key: Key, remove: Callable[[str], None]) -> None:
        """Undo one document."""
        if not self.work.may_start(key, self._clock.monotonic()):
            return
        try:
            remove(key[1])
        except (HaqnError, OSError) as error:
            self._fail(key, error)
        else:
            self.work.removed(key)

    def _fail(self, key: Key, error: Exception) -> None:
        LOG.warning("%s %s: %s", *key, error)
        if key in self.work.applied:
            self.work.applied[key] = None
        self.work.failed(key, str(error), self._clock.monotonic())

    def do_pairs(self, keys: list[Key], desired: Desired) -> None:
        """Give the pairs to keepalived: all at once, for it has one configuration."""
        ready = [key for key in keys if self.work.may_start(key, self._clock.monotonic())]
        if self._pairs is None or not ready:
            return
        now = self._clock.monotonic()
        try:
            errors = self._pairs.apply(desired.pairs(), holding=desired.holding)
        except MustWait as reason:
            LOG.debug("pairs wait: %s", reason)
            for key in keys:
                self.work.wait(key, now + LOOK_AGAIN)
        else:
            for key in keys:
                document = desired.documents.get(key)
                if key[1] in errors:
                    self.work.failed(key, errors[key[1]], now)
                elif document is not None:
                    self.work.done(key, document)
                else:
                    self.work.removed(key)
        # a router may be older here than its pair: what the pair is to announce is known already
        self._write_rows()

    def submit(self, key: Key, desired: Desired, open_pairs: diff.OpenPairs) -> None:
        """Have a router built or removed, as soon as that interrupts nothing."""
        now = self._clock.monotonic()
        if not self.work.may_start(key, now):
            return
        document = desired.documents.get(key)
        present = self.work.applied.get(key)
        if isinstance(document, RouterDocument):
            if isinstance(present, RouterDocument) and diff.router_must_wait(present, document, open_pairs):
                self.work.wait(key, now + LOOK_AGAIN)
                return
            self.build(key, document, desired, audit=False)
        else:
            self.work.in_flight.add(key)
            removal: Future[Built | None] = self._executor.submit(self._routers.remove, key[1])
            removal.add_done_callback(lambda done: self._finish(Outcome(key, None, done, audit=False)))

    def build(self, key: Key, document: RouterDocument, desired: Desired, *, audit: bool) -> None:
        """Have a router built, or looked at whether it is."""
        used = {port.network_id for port in ports_of(document)}
        networks = {network_id: found for network_id in used if (found := desired.network(network_id))}
        self.work.in_flight.add(key)
        future: Future[Built | None] = self._executor.submit(self._routers.apply, document, networks, self.open_pairs)
        future.add_done_callback(lambda done: self._finish(Outcome(key, document, done, audit=audit)))

    def open_pairs(self) -> diff.OpenPairs:
        """What the gates of this host are at this moment."""
        return self._pairs.open_pairs() if self._pairs is not None else diff.OpenPairs()

    def _finish(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        self._wake()

    def collect(self) -> None:
        """Take in what the workers have finished; write what is to be announced; announce what is new and open."""
        new: dict[int, list[str]] = {}
        touched = False
        while not self._outcomes.empty():
            outcome = self._outcomes.get()
            self.work.in_flight.discard(outcome.key)
            try:
                built = outcome.future.result()
            except MustWait as reason:
                LOG.debug("router %s waits: %s", outcome.key[1], reason)
                self.work.wait(outcome.key, self._clock.monotonic() + LOOK_AGAIN)
            except (HaqnError, OSError) as error:
                self._fail(outcome.key, error)
            except Exception as error:
                LOG.exception("router %s: unexpected", outcome.key[1])
                self.work.failed(outcome.key, f"unexpected: {error!r}", self._clock.monotonic())
            else:
                touched = True
                if built is None or outcome.document is None:
                    self._rows.pop(outcome.key[1], None)
                    self.work.removed(outcome.key)
                    continue
                if outcome.audit and built.changes:
                    LOG.warning(
                        "router %s was not as it was made: %s",
                        outcome.key[1],
                        "; ".join(built.changes[:_NAMED_CHANGES]),
                    )
                self._rows[outcome.key[1]] = built.rows
                for group, lines in built.new_rows.items():
                    new.setdefault(group, []).extend(lines)
                self.work.done(outcome.key, outcome.document)
        if touched:
            self._write_rows()
            self._newcomers.tell(new, self.open_pairs().masters, self._clock.monotonic())

    def _write_rows(self) -> None:
        if self._pairs is None:
            return
        by_group: dict[int, list[str]] = {}
        for router_id in sorted(self._rows):
            for group, rows in self._rows[router_id].items():
                by_group.setdefault(group, []).extend(rows)
        # what runs since before this agent's start and was not looked at yet must be announced, too
        adopting = any(key[0] == "routers" and document is None for key, document in self.work.applied.items())
        self._pairs.write_rows(by_group, keep_others=adopting)
