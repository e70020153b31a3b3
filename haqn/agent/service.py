"""The loop of haqn-agent: level-based, so that a lost event heals with the next look.

Desired documents -> what is left to do -> pairs, bridges, routers, taps -> reports. Never in the failover path:
it may be stopped, killed or replaced at any moment.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from haqn.agent import desired as desired_module
from haqn.agent import diff, names
from haqn.agent.audit import Audit
from haqn.agent.backend import NetworkDriver, PairDriver, PortDriver, RouterDriver
from haqn.agent.desired import Desired
from haqn.agent.diff import Key
from haqn.agent.extensions import Extensions
from haqn.agent.newcomers import Newcomers
from haqn.agent.routers import Built
from haqn.agent.work import MustWait, Work
from haqn.clock import Clock
from haqn.documents import (
    DESIRED_KINDS,
    DesiredDocument,
    NetworkDocument,
    PairReport,
    PortDocument,
    RouterDocument,
    SyncReport,
    ports_of,
)
from haqn.exceptions import HaqnError

LOG = logging.getLogger(__name__)

#: seconds between looks at what cannot wake the loop: keepalived's health
_TICK = 1.0
#: seconds until the next look at what waits: a tap that is not there, a gate that is not open, what the leader asked
_LOOK_AGAIN = 0.25


#: changes that are named in the log
_NAMED_CHANGES = 5


@dataclass(frozen=True, slots=True)
class Status:
    """What the agent has to say after a step."""

    sync: SyncReport
    pairs: tuple[PairReport, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker thread has to say about a router."""

    key: Key
    document: RouterDocument | None
    future: Future[Built | None]
    #: nothing should have been left to do
    audit: bool


def _by_kind(keys: frozenset[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {kind: [] for kind in DESIRED_KINDS}
    for key in sorted(keys):
        found[key[0]].append(key)
    return found


class AgentService:
    """One host. `listing()` gives the documents under the host's prefix (key -> value), or None: nothing new."""

    def __init__(
        self,
        *,
        listing: Callable[[], Mapping[str, bytes] | None],
        report: Callable[[Status], None],
        networks: NetworkDriver,
        routers: RouterDriver,
        ports: PortDriver,
        pairs: PairDriver | None,
        workers: int,
        clock: Clock,
        extensions: Extensions,
        on_step: Callable[[], object] = lambda: None,
        audit_interval: float = 60.0,
    ) -> None:
        """`on_step` is told of each step, at least once a second. Within `audit_interval` seconds everything that was
        carried out is looked at again."""
        self._listing = listing
        self._report = report
        self._networks = networks
        self._routers = routers
        self._ports = ports
        self._pairs = pairs
        self._clock = clock
        self._extensions = extensions
        self._on_step = on_step
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="router")
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._desired = Desired()
        self._work = Work()
        self._rows: dict[str, Mapping[int, tuple[str, ...]]] = {}
        self._status: Status | None = None
        self._next_tick = 0.0
        self._audit = Audit(audit_interval / _TICK)
        self._newcomers = Newcomers()

    # -- called from other threads -----------------------------------------------------------

    @property
    def status(self) -> Status | None:
        """What the agent has said last; None: nothing yet."""
        return self._status

    @property
    def in_flight(self) -> int:
        """Routers that are being worked on."""
        return len(self._work.in_flight)

    def poke(self) -> None:
        """Something may have changed."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` soon; everything on the host stays as it is."""
        self._stop.set()
        self._wake.set()

    # -- the loop ---------------------------------------------------------------------------

    def run(self) -> None:
        """Work until `stop`."""
        self.adopt()
        while not self._stop.is_set():
            self._wake.clear()
            self._on_step()
            try:
                self.step()
            except (HaqnError, OSError):
                LOG.exception("a step failed; the next one looks at everything again")
                self._stop.wait(_TICK)
            self._wake.wait(self._pause())
        self._executor.shutdown(wait=True, cancel_futures=True)

    def adopt(self) -> None:
        """Note what runs on the host, so that it is undone if a complete listing does not want it; make ready."""
        if self._pairs is not None:
            self._pairs.make_ready()
        for router_id in self._routers.found():
            self._work.applied["routers", router_id] = None
        for short in self._networks.found():
            self._work.applied["networks", short] = None
        LOG.info("found %d routers and networks on this host", len(self._work.applied))

    def step(self) -> None:
        """One look at everything."""
        self._collect()
        now = self._clock.monotonic()
        ticks = now >= self._next_tick
        if ticks:
            self._next_tick = now + _TICK
            if self._pairs is not None:
                self._pairs.check_health()
                self._pairs.tell_uplinks()
            self._routers.check_health()
        self._read_desired()
        todo = diff.todo(self._desired, self._work.applied)
        change, remove = _by_kind(todo.change), _by_kind(todo.remove)
        self._do_pairs(change["pairs"], remove["pairs"])
        for key in change["networks"]:
            self._do(key, self._networks.apply, NetworkDocument)
        open_pairs = self._open_pairs()
        for key in change["routers"] + remove["routers"]:
            self._submit(key, open_pairs)
        for key in change["ports"]:
            self._do(key, self._ports.apply, PortDocument)
        if ticks:
            self._look_again()
        self._newcomers.repeat(open_pairs.masters, now)
        for key in remove["ports"]:
            self._undo(key, self._ports.remove)
        # a bridge goes after the ports of the routers that are going
        if not self._work.in_flight:
            for key in remove["networks"]:
                self._undo(key, self._networks.remove)
        self._publish(todo)
        built = (document for document in self._work.applied.values() if isinstance(document, RouterDocument))
        self._extensions.look(built, open_pairs.masters)
        if self._pairs is not None:
            self._pairs.announce_again()

    def _look_again(self) -> None:
        """At a part of what was carried out: somebody else may have changed it."""
        documents = {
            key: document
            for key, document in self._work.applied.items()
            if document is not None and key[0] != "pairs" and self._desired.documents.get(key) == document
        }
        keys, new_round = self._audit.turn(documents)
        if new_round and self._pairs is not None:
            self._pairs.remake_gate()
        for key in keys:
            document = documents[key]
            if isinstance(document, NetworkDocument):
                self._do(key, self._networks.apply, NetworkDocument)
            elif isinstance(document, PortDocument):
                self._do(key, self._ports.apply, PortDocument)
            elif isinstance(document, RouterDocument) and self._work.may_start(key, self._clock.monotonic()):
                self._build(key, document, audit=True)

    def _pause(self) -> float:
        now = self._clock.monotonic()
        pauses = [max(0.0, self._next_tick - now)]
        pauses += [due for due in (self._work.next_retry(now), self._newcomers.next_due(now)) if due is not None]
        if self._pairs is not None and self._pairs.is_busy():
            pauses.append(_LOOK_AGAIN)
        return min(pauses)

    def _read_desired(self) -> None:
        listing = self._listing()
        if listing is None:  # nothing new
            return
        before = self._desired
        self._desired = desired_module.interpret(listing, before)
        for key, document in self._desired.documents.items():
            old = before.documents.get(key)
            if document is old or document == old:
                continue
            self._work.changed(key)
            if isinstance(document, NetworkDocument):
                self._adopt_network(key)
                if isinstance(old, NetworkDocument) and replace(document, flood=(), generation=0) != replace(
                    old, flood=(), generation=0
                ):
                    self._look_again_at_routers_of(document.network_id)

    def _adopt_network(self, key: Key) -> None:
        """A bridge that was found is known by a part of the network's id only."""
        self._work.applied.pop(("networks", names.bridge(key[1]).removeprefix(names.BRIDGE_PREFIX)), None)

    def _look_again_at_routers_of(self, network_id: str) -> None:
        for key, document in self._work.applied.items():
            if isinstance(document, RouterDocument) and network_id in {port.network_id for port in ports_of(document)}:
                self._work.applied[key] = None

    # -- carrying out -------------------------------------------------------------------------

    def _do(self, key: Key, apply: Callable[..., object], kind: type[DesiredDocument]) -> bool:
        """Carry out one document in this thread. True: done."""
        document = self._desired.documents[key]
        if not isinstance(document, kind) or not self._work.may_start(key, self._clock.monotonic()):
            return False
        try:
            finished = apply(document)
        except (HaqnError, OSError) as error:
            self._fail(key, error)
            return False
        if finished is False:
            self._work.wait(key, self._clock.monotonic() + _LOOK_AGAIN)
            return False
        self._work.done(key, document)
        return True

    def _undo(self, key: Key, remove: Callable[[str], None]) -> None:
        if not self._work.may_start(key, self._clock.monotonic()):
            return
        try:
            remove(key[1])
        except (HaqnError, OSError) as error:
            self._fail(key, error)
        else:
            self._work.removed(key)

    def _fail(self, key: Key, error: Exception) -> None:
        LOG.warning("%s %s: %s", *key, error)
        if key in self._work.applied:
            self._work.applied[key] = None
        self._work.failed(key, str(error), self._clock.monotonic())

    def _do_pairs(self, change: list[Key], remove: list[Key]) -> None:
        keys = change + remove
        ready = [key for key in keys if self._work.may_start(key, self._clock.monotonic())]
        if self._pairs is None or not ready:
            return
        now = self._clock.monotonic()
        try:
            errors = self._pairs.apply(self._desired.pairs(), holding=self._desired.holding)
        except MustWait as reason:
            LOG.debug("pairs wait: %s", reason)
            for key in keys:
                self._work.wait(key, now + _LOOK_AGAIN)
        else:
            for key in keys:
                document = self._desired.documents.get(key)
                if key[1] in errors:
                    self._work.failed(key, errors[key[1]], now)
                elif document is not None:
                    self._work.done(key, document)
                else:
                    self._work.removed(key)
        # a router may be older here than its pair: what the pair is to announce is known already
        self._write_rows()

    def _submit(self, key: Key, open_pairs: diff.OpenPairs) -> None:
        now = self._clock.monotonic()
        if not self._work.may_start(key, now):
            return
        document = self._desired.documents.get(key)
        present = self._work.applied.get(key)
        if isinstance(document, RouterDocument):
            if isinstance(present, RouterDocument) and diff.router_must_wait(present, document, open_pairs):
                self._work.wait(key, now + _LOOK_AGAIN)
                return
            self._build(key, document, audit=False)
        else:
            self._work.in_flight.add(key)
            removal: Future[Built | None] = self._executor.submit(self._routers.remove, key[1])
            removal.add_done_callback(lambda done: self._finish(Outcome(key, None, done, audit=False)))

    def _build(self, key: Key, document: RouterDocument, *, audit: bool) -> None:
        used = {port.network_id for port in ports_of(document)}
        networks = {network_id: found for network_id in used if (found := self._desired.network(network_id))}
        self._work.in_flight.add(key)
        future: Future[Built | None] = self._executor.submit(self._routers.apply, document, networks, self._open_pairs)
        future.add_done_callback(lambda done: self._finish(Outcome(key, document, done, audit=audit)))

    def _open_pairs(self) -> diff.OpenPairs:
        return self._pairs.open_pairs() if self._pairs is not None else diff.OpenPairs()

    def _finish(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        self._wake.set()

    def _collect(self) -> None:
        """Take in what the workers have finished; write what is to be announced; announce what is new and open."""
        new: dict[int, list[str]] = {}
        touched = False
        while not self._outcomes.empty():
            outcome = self._outcomes.get()
            self._work.in_flight.discard(outcome.key)
            try:
                built = outcome.future.result()
            except MustWait as reason:
                LOG.debug("router %s waits: %s", outcome.key[1], reason)
                self._work.wait(outcome.key, self._clock.monotonic() + _LOOK_AGAIN)
            except (HaqnError, OSError) as error:
                self._fail(outcome.key, error)
            except Exception as error:
                LOG.exception("router %s: unexpected", outcome.key[1])
                self._work.failed(outcome.key, f"unexpected: {error!r}", self._clock.monotonic())
            else:
                touched = True
                if built is None or outcome.document is None:
                    self._rows.pop(outcome.key[1], None)
                    self._work.removed(outcome.key)
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
                self._work.done(outcome.key, outcome.document)
        if touched:
            self._write_rows()
            self._newcomers.tell(new, self._open_pairs().masters, self._clock.monotonic())

    def _write_rows(self) -> None:
        if self._pairs is None:
            return
        by_group: dict[int, list[str]] = {}
        for router_id in sorted(self._rows):
            for group, rows in self._rows[router_id].items():
                by_group.setdefault(group, []).extend(rows)
        # what runs since before this agent's start and was not looked at yet must be announced, too
        adopting = any(key[0] == "routers" and document is None for key, document in self._work.applied.items())
        self._pairs.write_rows(by_group, keep_others=adopting)

    # -- reporting ------------------------------------------------------------------------------

    def _publish(self, todo: diff.Todo) -> None:
        undone = {key for key in todo.change if self._work.applied.get(key) != self._desired.documents[key]}
        left = {key for key in todo.remove if key in self._work.applied}
        unfinished = (undone | left) - set(self._work.errors)
        errors = {object_id: why for (_, object_id), why in self._work.errors.items()}
        errors |= {object_id: why for (_, object_id), why in self._desired.invalid.items()}
        status = Status(
            sync=SyncReport(
                generation=diff.applied_generation(self._desired, unfinished),
                errors=dict(sorted(errors.items())),
                routers=sum(1 for kind, _ in self._work.applied if kind == "routers"),
                holding=self._desired.holding,
                digest=diff.applied_digest(self._desired, undone | left),
            ),
            pairs=tuple(self._pairs.report()) if self._pairs is not None else (),
        )
        if status != self._status:
            self._status = status
            self._report(status)
