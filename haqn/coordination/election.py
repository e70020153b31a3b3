"""Leader election over one key, and writes that only the leader of the present term can do.

Guarantees: G12 at most one holder of the key at any revision; the token is the key's create
revision, which grows from term to term; G13 `is_leader` implies a valid session, the very one
of the election: a lost session ends the term even if its lease comes back; G14 `write` takes
effect only if the term's key exists in that very transaction, so a paused or cut off leader
writes nothing; G15 `on_elected` and `on_demoted` strictly alternate.

Not guaranteed: that no two processes *believe* to lead while somebody deletes the key by hand
(milliseconds to 3.5 s), nor anything about effects outside of etcd that do not check the token.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from haqn.coordination.informer import Informer
from haqn.coordination.operations import (
    Condition,
    CreateRevisionIs,
    Delete,
    KeyValue,
    Operation,
    Put,
    TransactionResult,
    batches,
)
from haqn.coordination.retries import Mode
from haqn.coordination.session import Session
from haqn.coordination.worker import Worker
from haqn.exceptions import CoordinationError, NotLeader, OutcomeUnknown, Unavailable

LOG = logging.getLogger(__name__)

_CAMPAIGN_TRIES = 3
_CHECK_DEADLINE = 2.0
_LOOK_WHILE_LEADING = 0.5
_LOOK_WHILE_WAITING = 1.0
_PAUSE_AFTER_ERROR = 0.2
_WAIT_FOR_SESSION = 0.5


@dataclass(frozen=True, slots=True)
class Term:
    """A time of leadership: its token, and the session's epoch and lease that it depends on."""

    token: int
    session_epoch: int
    lease: int


class Election:
    """Campaigns for ever while the session is valid. One Election a key and session."""

    def __init__(
        self,
        session: Session,
        key: str,
        value: bytes,
        *,
        on_elected: Callable[[int], object] | None = None,
        on_demoted: Callable[[str], object] | None = None,
    ) -> None:
        """`value` is what the key says at the start of each term. Callbacks run in order in a thread of their
        own: `on_elected(token)` and `on_demoted(reason)`.
        """
        self._session = session
        self._etcd = session.etcd
        self._key = key
        self._value = value
        self._on_elected = on_elected
        self._on_demoted = on_demoted
        self._lock = threading.Lock()
        self._term: Term | None = None
        #: token of a term that has ended while its key may still be there
        self._leftover: int | None = None
        self._wake = threading.Event()
        self._informer = Informer(self._etcd, key, on_change=self._wake.set, exact=True)
        self._worker = Worker(f"election {key}", self._step)

    # -- what the application asks ----------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """This process leads now. Ask right before each act; effects in etcd go through `write`."""
        return self._holds(self._term)

    @property
    def token(self) -> int | None:
        """The fencing token of the present term; None when this process does not lead."""
        term = self._term
        return term.token if term is not None and self._holds(term) else None

    def leader(self) -> bytes | None:
        """The value of the key: who leads, as far as is known here; None when nobody does."""
        item = self._informer.get(self._key)
        return item.value if item is not None else None

    def write(
        self,
        operations: Iterable[Operation],
        *,
        conditions: Iterable[Condition] = (),
        token: int | None = None,
        mode: Mode = Mode.ONCE,
    ) -> TransactionResult:
        """One transaction (at most 120 operations) that happens only while the term lasts.

        Work that began in a term hands over the `token` that it began with. Raises NotLeader
        when this process does not lead any more, in which case this try has changed nothing;
        OutcomeUnknown and Unavailable as always. The result says whether `conditions` held.
        """
        term = self._require(token)
        return self._fenced(term, operations, conditions, mode)

    def write_all(self, puts: Mapping[str, bytes], deletes: Iterable[str] = (), *, token: int | None = None) -> None:
        """As many fenced transactions as are needed, puts in their order first; each may be repeated.

        After an error some of them may have been carried out.
        """
        term = self._require(token)
        for batch in batches(puts, deletes):
            self._require(term.token)
            self._fenced(term, batch, (), Mode.AGAIN)

    def update_value(self, value: bytes, *, token: int | None = None) -> None:
        """Change what the key says for the rest of this term."""
        term = self._require(token)
        self._fenced(term, [Put(self._key, value, term.lease)], (), Mode.AGAIN)

    def start(self) -> None:
        self._informer.start()
        self._worker.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Resign, so that another candidate is elected at once; `on_demoted` is told before this returns."""
        self._worker.stopping.set()
        self._wake.set()
        self._worker.stop_loop(timeout)
        self._end(self._term, "stopped")
        try:
            self._remove_leftover(_CHECK_DEADLINE)
        except CoordinationError as error:
            LOG.info("election: cannot resign, the key goes with the lease: %s", error)
        self._worker.stop_callbacks(timeout)
        self._informer.stop(timeout)

    # -- fencing ----------------------------------------------------------------------------

    def _holds(self, term: Term | None) -> bool:
        state = self._session.state
        return term is not None and state.epoch == term.session_epoch and self._session.is_valid(state)

    def _require(self, token: int | None) -> Term:
        term = self._term
        if term is None or not self._holds(term):
            raise NotLeader("cannot write: this process does not lead")
        if token is not None and token != term.token:
            raise NotLeader(f"cannot write: the term of token {token} is over")
        return term

    def _fenced(
        self, term: Term, operations: Iterable[Operation], conditions: Iterable[Condition], mode: Mode
    ) -> TransactionResult:
        result = self._etcd.transact(
            operations,
            conditions=[CreateRevisionIs(self._key, term.token), *conditions],
            read_on_failure=self._key,
            mode=mode,
        )
        if not result.succeeded and (result.found is None or result.found.create_revision != term.token):
            self._end(term, "the key is lost")
            raise NotLeader(f"etcd refuses the write: the term of token {term.token} is over")
        return result

    def _end(self, term: Term | None, reason: str) -> None:
        with self._lock:
            if term is None or self._term != term:
                return
            self._term = None
            self._leftover = term.token
            if self._on_demoted is not None:
                self._worker.notify(self._on_demoted, reason)
        LOG.warning("election: not leader any more: %s", reason)
        self._wake.set()

    # -- the loop ---------------------------------------------------------------------------

    def _step(self) -> None:
        self._wake.clear()
        try:
            self._check_term()
            if self._term is None and self._session.valid:
                self._remove_leftover(self._session.ttl)
                self._campaign()
        except Unavailable as error:
            LOG.info("election: %s", error)
            self._worker.stopping.wait(_PAUSE_AFTER_ERROR)
        except CoordinationError as error:
            LOG.error("election: %s", error)
            self._worker.stopping.wait(_PAUSE_AFTER_ERROR)
        if not self._session.valid:
            self._session.wait(_WAIT_FOR_SESSION)
        elif self._term is None:
            self._wake.wait(_LOOK_WHILE_WAITING)
        else:
            self._wake.wait(min(_LOOK_WHILE_LEADING, self._session.remaining()) + 0.01)

    def _check_term(self) -> None:
        term = self._term
        # The revision first: what the cache shows afterwards is at least as new.
        revision = self._informer.revision
        item = self._informer.get(self._key)
        if term is None:
            return
        if not self._holds(term):
            self._end(term, "the session is lost")
            return
        seems_lost = revision is not None and revision >= term.token and not _is_of(item, term)
        # After a restored backup the informer may be wrong for a while, so etcd itself is asked.
        if seems_lost and not _is_of(self._etcd.get(self._key, deadline=_CHECK_DEADLINE), term):
            self._end(term, "the key is lost")

    def _remove_leftover(self, deadline: float) -> None:
        """Delete the key of a term that is over, if it is still there: a new term needs a new token."""
        if self._leftover is None:
            return
        still_there = CreateRevisionIs(self._key, self._leftover)
        self._etcd.transact([Delete(self._key)], conditions=[still_there], mode=Mode.AGAIN, deadline=deadline)
        self._leftover = None

    def _campaign(self) -> None:
        state = self._session.state
        if state.lease is None or not self._session.is_valid(state):
            return  # never a key without a lease: it would stay for ever
        for _ in range(_CAMPAIGN_TRIES):
            try:
                result = self._etcd.transact(
                    [Put(self._key, self._value, state.lease)],
                    conditions=[CreateRevisionIs(self._key, 0)],
                    read_on_failure=self._key,
                    deadline=self._session.ttl / 2,
                )
            except OutcomeUnknown:
                continue  # the next try tells: a key with our lease is ours
            if result.succeeded:
                self._begin(Term(result.revision, state.epoch, state.lease))
            elif result.found is not None and result.found.lease == state.lease:
                self._begin(Term(result.found.create_revision, state.epoch, state.lease))
            return

    def _begin(self, term: Term) -> None:
        with self._lock:
            if not self._holds(term):
                self._leftover = term.token
                return
            self._term = term
            if self._on_elected is not None:
                self._worker.notify(self._on_elected, term.token)
        LOG.info("election: leads with token %d", term.token)


def _is_of(item: KeyValue | None, term: Term) -> bool:
    return item is not None and item.create_revision == term.token
