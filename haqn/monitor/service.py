"""haqn-monitor: stands for election, and while it is elected runs a term's cycles.

Several run at once; one leads. Losing etcd or SQL harms nothing: it says so and keeps trying. A write that is refused
because another one leads ends the term. Knows threads and time; what is done in a term is in `haqn.monitor.term`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from haqn.clock import Clock, SystemClock, isoformat
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.election import Election
from haqn.coordination.informer import Informer
from haqn.coordination.observed import Observed
from haqn.coordination.operations import KeyValue, Operation, TransactionResult
from haqn.coordination.session import Session
from haqn.coordination.timing import LeaseTiming
from haqn.db.bindings import LeaderWriter, begin_term
from haqn.db.session import Database
from haqn.documents import LeaderRecord, encode
from haqn.exceptions import CoordinationError, DatabaseUnavailable, NotLeader, StaleLeader, WriteConflict
from haqn.monitor.health import Health, Source
from haqn.monitor.metrics import MonitorMetrics
from haqn.monitor.publisher import Publisher
from haqn.monitor.term import Settings, Term

LOG = logging.getLogger(__name__)

#: seconds between tries while a source does not answer
_PAUSE_AFTER_ERROR = 0.5
#: a busy leader rests as long as it worked, up to this many seconds, so that bursts are taken together; a death that
#: has waited long enough waits for no rest
_LONGEST_REST = 0.5
#: seconds between looks at whether we lead, when nobody tells
_LOOK = 1.0
#: the desired documents are listed this often (seconds) to find what a watch may have missed
_RESYNC_DESIRED = 600.0
#: seconds of silence after which etcd is asked whether it is there, about what nobody waits for
_PING_AFTER = 5.0


class MonitorService:
    """One instance. `run` it in the main thread; `stop` from anywhere, a signal handler included."""

    def __init__(
        self,
        etcd: Etcd,
        database: Database,
        *,
        holder: str,
        lease_ttl: int,
        settings: Settings,
        clock: Clock | None = None,
        on_step: Callable[[], object] = lambda: None,
    ) -> None:
        """`holder` names this instance for people; `lease_ttl` in seconds. `on_step` is told of each look, at least
        once a second while nothing is done.
        """
        self._on_step = on_step
        self._etcd = etcd
        self._database = database
        self._holder = holder
        self._lease_ttl = lease_ttl
        self._settings = settings
        self._clock: Clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._demoted = threading.Event()
        self._health = Health(self._clock)
        self._observed = Observed(self._clock)
        wake = self._wake.set
        self._session = Session(etcd, lease_ttl)
        self._election = Election(
            self._session,
            keys.LEADER,
            encode(LeaderRecord(holder=holder)),
            on_elected=lambda _token: wake(),
            on_demoted=lambda _reason: self._demote(),
        )
        ping_after = LeaseTiming(lease_ttl).ping_after
        self._reports = (
            Informer(etcd, keys.AGENTS, self._observed.on_agents, on_change=wake, ping_after=ping_after),
            Informer(etcd, keys.OBSERVED, self._observed.on_reports, on_change=wake, ping_after=ping_after),
        )
        self._nudges = Informer(etcd, keys.NUDGE, on_change=wake, exact=True, ping_after=_PING_AFTER)
        self.metrics = MonitorMetrics(
            database, self._session.remaining, lambda: max(informer.staleness for informer in self._reports)
        )
        self._desired: Informer | None = None
        self._term: Term | None = None
        #: of the term that we are in, or were in last
        self._token: int | None = None

    @property
    def leads(self) -> bool:
        """This instance leads, and has begun its term in SQL."""
        return self._term is not None and self._election.is_leader

    def stop(self) -> None:
        """Make `run` resign and return."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Stand for election and lead until `stop`."""
        for worker in (*self._reports, self._nudges, self._session, self._election):
            worker.start()
        try:
            while not self._stopping.is_set():
                self._on_step()
                self._step()
        finally:
            self._election.stop()
            self._end_term()
            self._session.stop()
            for informer in (*self._reports, self._nudges):
                informer.stop()

    # -- one step of the loop ------------------------------------------------------------

    def _step(self) -> None:
        self._wake.wait(self._term.wait_for() if self._term is not None else _LOOK)
        self._wake.clear()
        if self._stopping.is_set():
            return
        began = self._clock.monotonic()
        try:
            self._lead()
        except (StaleLeader, NotLeader) as error:
            LOG.warning("the term is over: %s", error)
            self._give_up()
        except (DatabaseUnavailable, WriteConflict) as error:
            self._health.lost(Source.SQL, error)
            self._rest(_PAUSE_AFTER_ERROR)
        except CoordinationError as error:
            self._health.lost(Source.ETCD, error)
            self._rest(_PAUSE_AFTER_ERROR)
        except Exception:
            LOG.exception("unexpected error; the cycle is repeated")
            self._rest(_LOOK)
        else:
            plans_in = self._term.plans_in if self._term is not None else _LONGEST_REST
            self._rest(min(self._clock.monotonic() - began, _LONGEST_REST, plans_in))

    def _rest(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _demote(self) -> None:
        self._demoted.set()
        self._wake.set()

    def _lead(self) -> None:
        token = self._election.token
        if token is None or self._demoted.is_set():
            # tokens are no names of terms: after etcd was wiped the next one may be the same
            self._demoted.clear()
            self._end_term()
            self._token = None
        if token is None:
            return
        if token == self._token and self._term is None:
            return  # given up; the election will tell
        if token != self._token:
            self._end_term()
            self._begin_term(token)
        if self._term is None:
            return
        stale_for = max(informer.staleness for informer in self._reports)
        stale = stale_for > self._lease_ttl / 2
        if stale:  # deaths would be seen late, and births too: as if etcd were away
            self._health.lost(Source.ETCD, f"no answer for {stale_for:.1f} s")
        self._term.cycle()
        if not stale:
            self._health.works(Source.ETCD)

    def _begin_term(self, token: int) -> None:
        if not all(informer.synced.is_set() for informer in self._reports):
            return
        epoch = begin_term(self._database, self._holder)
        self._health.works(Source.SQL)
        record = LeaderRecord(holder=self._holder, epoch=epoch, since=isoformat(self._clock.utcnow()))
        self._election.update_value(encode(record), token=token)
        publisher = Publisher(self._list_desired, partial(self._fence, token), epoch, clock=self._clock)
        self._desired = Informer(
            self._etcd,
            keys.DESIRED,
            publisher.on_event,
            on_change=self._wake.set,
            ping_after=_PING_AFTER,
            resync=_RESYNC_DESIRED,
        )
        self._desired.start()
        self._token = token
        self._term = Term(
            database=self._database,
            writer=LeaderWriter(self._database, epoch),
            publisher=publisher,
            observed=self._observed,
            health=self._health,
            settings=self._settings,
            clock=self._clock,
            metrics=self.metrics,
        )
        LOG.info("%s leads with epoch %d", self._holder, epoch)

    def _end_term(self) -> None:
        if self._desired is not None:
            self._desired.stop()
            self._desired = None
        self._term = None
        self.metrics.not_leading()

    def _give_up(self) -> None:
        """Let go of the election key, if it is still ours, and stand for election again."""
        self._end_term()
        if self._token is None:
            return
        try:
            self._election.resign(token=self._token)
        except CoordinationError as error:
            LOG.info("the election key is not given up, because %s", error)

    def _fence(self, token: int, operations: Sequence[Operation]) -> TransactionResult:
        return self._election.write(operations, token=token)

    def _list_desired(self) -> dict[str, KeyValue]:
        items, _ = self._etcd.list(keys.DESIRED)
        return items
