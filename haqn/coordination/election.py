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
from dataclasses import dataclass, replace

from haqn.coordination.informer import Informer
from haqn.coordination.operations import (
    Condition,
    CreateRevisionIs,
    Delete,
    KeyValue,
    ModRevisionIs,
    Operation,
    Put,
    TransactionResult,
    batches,
)
from haqn.coordination.retries import Mode
from haqn.coordination.session import Session
from haqn.coordination.timing import LeaseTiming
from haqn.coordination.worker import Worker
from haqn.exceptions import CoordinationError, NotLeader, OutcomeUnknown, Unavailable

LOG = logging.getLogger(__name__)

_CAMPAIGN_TRIES = 3
_CHECK_DEADLINE = 2.0
_LOOK_WHILE_LEADING = 0.5
_LOOK_WHILE_WAITING = 1.0
_PAUSE_AFTER_ERROR = 0.2
_WAIT_FOR_SESSION = 0.5
_PAUSE_AFTER_RESIGNING = 1.0


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
        #: held over a write: each depends on the one before
        self._writing = threading.Lock()
        #: the key after the last write of the term; None: not known
        self._last_write: KeyValue | None = None
        self._term: Term | None = None
        #: token of a term that has ended while its key may still be there
        self._leftover: int | None = None
        self._stand_again_at = 0.0
        self._wake = threading.Event()
        self._informer = Informer(
            self._etcd, key, on_change=self._wake.set, exact=True, ping_after=LeaseTiming(session.ttl).ping_after
        )
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
        self, operations: Iterable[Operation], *, conditions: Iterable[Condition] = (), token: int | None = None
    ) -> TransactionResult:
        """One transaction (at most 120 operations) that happens only while the term lasts.

        Writes of a term happen at most once each, in the order of the calls: one that had no answer
        (OutcomeUnknown) cannot happen any more once a later one has. Work that began in a term hands
        over the `token` that it began with. Raises NotLeader when this process does not lead any
        more; Unavailable as always. The result says whether `conditions` held.
        """
        with self._writing:
            return self._fenced(self._require(token), list(operations), list(conditions))

    def write_all(self, puts: Mapping[str, bytes], deletes: Iterable[str] = (), *, token: int | None = None) -> None:
        """As many writes as are needed, puts in their order first. After an error some may have been carried out."""
        started_with = self._require(token).token
        for batch in batches(puts, deletes):
            self.write(batch, token=started_with)

    def update_value(self, value: bytes, *, token: int | None = None) -> None:
        """Change what the key says for the rest of this term."""
        with self._writing:
            self._fenced(self._require(token), [], [], value=value)

    def resign(self, *, token: int | None = None) -> None:
        """Give the term up: its key is deleted, and this process stands again after the others had their chance.

        Raises NotLeader when the term is over anyway.
        """
        term = self._require(token)
        self._stand_again_at = self._etcd.clock.monotonic() + _PAUSE_AFTER_RESIGNING
        self._end(term, "resigned")

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
        self, term: Term, operations: list[Operation], conditions: list[Condition], value: bytes | None = None
    ) -> TransactionResult:
        """Carry out `operations` and write the key itself, whose mod revision counts the writes of the term."""
        last = self._last_write
        # a token alone names no term: after etcd was wiped the next one may have the same
        if last is None or (last.create_revision, last.lease) != (term.token, term.lease):
            last = self._settle(term)
        new_value = last.value if value is None else value
        self._last_write = None  # until the answer is here, nobody knows
        result = self._etcd.transact(
            [*operations, Put(self._key, new_value, term.lease)],
            conditions=[
                CreateRevisionIs(self._key, term.token),
                ModRevisionIs(self._key, last.mod_revision),
                *conditions,
            ],
            read_on_failure=self._key,
            mode=Mode.AGAIN,
        )
        if result.succeeded:
            self._last_write = replace(last, value=new_value, mod_revision=result.revision)
            return result
        self._last_write = found = self._own(result.found, term)
        if found.mod_revision != last.mod_revision:
            # An earlier try of this very write was carried out, and only its answer was lost.
            return TransactionResult(succeeded=True, revision=found.mod_revision)
        return result

    def _settle(self, term: Term) -> KeyValue:
        """The key after the term's writes so far; those without an answer cannot happen any more."""
        while True:
            seen = self._own(self._etcd.get(self._key), term)
            result = self._etcd.transact(
                [Put(self._key, seen.value, term.lease)],
                conditions=[ModRevisionIs(self._key, seen.mod_revision)],
                mode=Mode.AGAIN,
            )
            if result.succeeded:
                return replace(seen, mod_revision=result.revision)

    def _own(self, found: KeyValue | None, term: Term) -> KeyValue:
        """The key, if it is still of this term; else the term is over."""
        if found is None or found.create_revision != term.token or found.lease != term.lease:
            self._end(term, "the key is lost")
            raise NotLeader(f"etcd refuses the write: the term of token {term.token} is over")
        return found

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
                if self._etcd.clock.monotonic() >= self._stand_again_at:
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
