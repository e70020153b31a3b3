"""The loop of haqn-agent: level-based, so that a lost event heals with the next look.

Desired documents -> what is left to do -> pairs, bridges, routers, taps (`carrier`) -> reports. Never in the failover
path: it may be stopped, killed or replaced at any moment.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from haqn.agent import desired as desired_module
from haqn.agent import diff, names
from haqn.agent.audit import Audit
from haqn.agent.backend import NetworkDriver, PairDriver, PortDriver, RouterDriver
from haqn.agent.carrier import LOOK_AGAIN, Carrier
from haqn.agent.desired import Desired
from haqn.agent.diff import Key
from haqn.agent.extensions import Extensions
from haqn.clock import Clock
from haqn.documents import (
    DESIRED_KINDS,
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


@dataclass(frozen=True, slots=True)
class Status:
    """What the agent has to say after a step."""

    sync: SyncReport
    pairs: tuple[PairReport, ...]


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
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._desired = Desired()
        self._carrier = Carrier(routers=routers, pairs=pairs, workers=workers, clock=clock, wake=self._wake.set)
        self._work = self._carrier.work
        self._status: Status | None = None
        self._next_tick = 0.0
        self._audit = Audit(audit_interval / _TICK)

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
        self._carrier.close()

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
        self._carrier.collect()
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
        self._carrier.do_pairs(change["pairs"] + remove["pairs"], self._desired)
        for key in change["networks"]:
            self._carrier.do(key, self._desired.documents[key], self._networks.apply)
        open_pairs = self._carrier.open_pairs()
        for key in change["routers"] + remove["routers"]:
            self._carrier.submit(key, self._desired, open_pairs)
        for key in change["ports"]:
            self._carrier.do(key, self._desired.documents[key], self._ports.apply)
        if ticks:
            self._look_again()
        self._carrier.tell_newcomers(open_pairs)
        for key in remove["ports"]:
            self._carrier.undo(key, self._ports.remove)
        # a bridge goes after the ports of the routers that are going
        if not self._work.in_flight:
            for key in remove["networks"]:
                self._carrier.undo(key, self._networks.remove)
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
                self._carrier.do(key, document, self._networks.apply)
            elif isinstance(document, PortDocument):
                self._carrier.do(key, document, self._ports.apply)
            elif isinstance(document, RouterDocument) and self._work.may_start(key, self._clock.monotonic()):
                self._carrier.build(key, document, self._desired, audit=True)

    def _pause(self) -> float:
        now = self._clock.monotonic()
        pauses = [max(0.0, self._next_tick - now)]
        if (due := self._carrier.next_due(now)) is not None:
            pauses.append(due)
        if self._pairs is not None and self._pairs.is_busy():
            pauses.append(LOOK_AGAIN)
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
