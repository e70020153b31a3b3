"""A lease that is kept alive for ever, the keys on it, and the truth about its validity.

Guarantees: G6 `valid` is true only while the server cannot have expired the lease: it turns
false by itself, by the local clock, 0.9 TTL after the last answered keepalive was sent; G7
`on_restored` and `on_lost` strictly alternate, restored first; G8 it never gives up, and the
registered keys are on the lease before `on_restored` is told.

Not guaranteed: that others see the keys all the time (a new lease: they see a delete, then a
put), or that they see a loss at once (a TTL, or two after a change of etcd's leader).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from haqn.coordination.client import Etcd
from haqn.coordination.operations import Delete, ModRevisionIs, Put, batches
from haqn.coordination.registrations import Registrations
from haqn.coordination.retries import Mode
from haqn.coordination.timing import LeaseTiming
from haqn.coordination.worker import Worker
from haqn.exceptions import CoordinationError, LeaseNotFound, Unavailable

LOG = logging.getLogger(__name__)

_PAUSE_WHILE_DOWN = 0.2
_SHORTEST_PAUSE = 0.05
_SHORTEST_DEADLINE = 0.2
_REVOKE_DEADLINE = 2.0
_BIND_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a session knows at one moment; replaced as a whole."""

    lease: int | None = None
    valid_until: float = 0.0
    #: the application was told "restored", and not yet "lost"
    up: bool = False
    #: grows with every restoration
    epoch: int = 0


class Session:
    """Create it anywhere; start it once, in the process that is to own the lease (after fork)."""

    def __init__(
        self,
        etcd: Etcd,
        ttl: int,
        *,
        on_lost: Callable[[str], object] | None = None,
        on_restored: Callable[[int, bool], object] | None = None,
    ) -> None:
        """`ttl` in seconds. Callbacks run in order in a thread of their own: `on_restored(lease, resumed)`,
        where `resumed` says that it is the same lease as before, and `on_lost(reason)`.
        """
        self.etcd = etcd
        self.ttl = ttl
        self._timing = LeaseTiming(ttl)
        self._on_lost = on_lost
        self._on_restored = on_restored
        self._registrations = Registrations()
        self._state = SessionState()
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._next_keepalive = 0.0
        self._next_audit = 0.0
        #: the lease that the application was told of last
        self._told_lease: int | None = None
        self._worker = Worker("session", self._step)

    # -- what the application asks ----------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """All at once; for those who must compare two of its fields."""
        return self._state

    def is_valid(self, state: SessionState) -> bool:
        """Whether `state`, taken from here before, is valid now."""
        return state.up and self._worker.runs_here and self.etcd.clock.monotonic() < state.valid_until

    @property
    def valid(self) -> bool:
        """The lease certainly exists now. Ask right before each act that depends on it."""
        return self.is_valid(self._state)

    @property
    def lease(self) -> int | None:
        """The lease's id while the session is valid."""
        state = self._state
        return state.lease if self.is_valid(state) else None

    def remaining(self) -> float:
        """Seconds for which the session stays valid even if etcd never answers again; 0 if it is not."""
        state = self._state
        return max(0.0, state.valid_until - self.etcd.clock.monotonic()) if self.is_valid(state) else 0.0

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the session to be valid; says whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.valid, timeout)

    def register(self, key: str, value: bytes) -> None:
        """Keep `key` on the lease: soon now, and again after each loss. Does not wait for etcd."""
        with self._changed:
            self._registrations.want(key, value)
        self._wake.set()

    def unregister(self, key: str) -> None:
        """Have `key` deleted soon, unless it is another session's by then. Does not wait for etcd."""
        with self._changed:
            self._registrations.unwant(key)
        self._wake.set()

    def start(self) -> None:
        self._worker.start()

    def stop(self, *, revoke: bool = True, timeout: float = 5.0) -> None:
        """End the session; no callback tells of it. With `revoke` its keys disappear now, else with the lease."""
        self._worker.stopping.set()
        self._wake.set()
        self._worker.stop_loop(timeout)
        self._worker.stop_callbacks(timeout)
        lease = self._state.lease
        self._become(replace(self._state, lease=None, up=False, valid_until=0.0))
        if revoke and lease is not None:
            try:
                self.etcd.revoke(lease, deadline=_REVOKE_DEADLINE)
            except CoordinationError as error:
                LOG.info("session: cannot revoke the lease, it will expire: %s", error)

    # -- the loop ---------------------------------------------------------------------------

    def _step(self) -> None:
        self._wake.clear()
        try:
            lease = self._keep_lease()
            self._bind_keys(lease)
            self._tell_restored(lease)
        except LeaseNotFound:
            self._lose("the lease has expired or was revoked")
            self._become(replace(self._state, lease=None))
            with self._changed:
                self._registrations.lease_gone()
            return  # ask for a new lease at once
        except Unavailable as error:
            LOG.info("session: %s", error)
        except CoordinationError as error:
            LOG.error("session: %s", error)
            self._worker.stopping.wait(_PAUSE_WHILE_DOWN)
        if self._now() >= self._state.valid_until:
            self._lose("etcd cannot be reached")
        self._wake.wait(self._pause())

    def _keep_lease(self) -> int:
        """Start the TTL anew if that is due, with a new lease if there is none; returns the lease."""
        before = self._state
        try_time = self._timing.try_time(self.etcd.call_timeout)
        if before.lease is None:
            granted = self.etcd.grant(self.ttl, deadline=self.ttl, timeout=try_time)
        elif before.up and self._now() < self._next_keepalive:
            return before.lease
        else:
            left = before.valid_until - self._now()
            deadline = max(_SHORTEST_DEADLINE, left) if before.up else self.ttl
            granted = self.etcd.keepalive(before.lease, deadline=deadline, timeout=try_time)
            if self._now() >= before.valid_until:
                # It was invalid for a while: we were paused, or etcd answers again only now.
                self._lose("the lease was not kept alive in time")
        self._next_keepalive = granted.sent + self._timing.keepalive_interval
        self._become(
            replace(self._state, lease=granted.lease, valid_until=self._timing.valid_until(granted.sent, granted.ttl))
        )
        return granted.lease

    def _bind_keys(self, lease: int) -> None:
        """Put and delete in etcd what differs from what is registered."""
        deadline = self._timing.keepalive_interval
        self._audit(lease, deadline)
        for _ in range(_BIND_ROUNDS):
            with self._changed:
                puts = self._registrations.pending_puts()
            if not puts:
                break
            for batch in batches(puts, ()):
                self._put(lease, {put.key: put.value for put in batch if isinstance(put, Put)}, deadline)
        else:
            raise Unavailable(f"cannot put {sorted(puts)}: somebody else writes them")
        with self._changed:
            deletes = self._registrations.pending_deletes()
        for key in deletes:
            self._delete(lease, key, deadline)

    def _put(self, lease: int, puts: dict[str, bytes], deadline: float) -> None:
        with self._changed:
            revisions = self._registrations.sending(puts)
        result = self.etcd.transact(
            [Put(key, value, lease) for key, value in puts.items()],
            conditions=[ModRevisionIs(key, revision) for key, revision in revisions.items()],
            mode=Mode.AGAIN,
            deadline=deadline,
        )
        if result.succeeded:
            with self._changed:
                for key, value in puts.items():
                    self._registrations.found(key, value, result.revision)
            return
        # Some key is not what we knew: a try of ours was carried out late, or somebody else wrote it.
        for key in puts:
            current = self.etcd.get(key, deadline=deadline)
            bound = current.value if current is not None and current.lease == lease else None
            with self._changed:
                self._registrations.found(key, bound, current.mod_revision if current is not None else 0)

    def _delete(self, lease: int, key: str, deadline: float) -> None:
        current = self.etcd.get(key, deadline=deadline)
        if current is not None and current.lease == lease:
            still_ours = ModRevisionIs(key, current.mod_revision)
            self.etcd.transact([Delete(key)], conditions=[still_ours], mode=Mode.AGAIN, deadline=deadline)
        with self._changed:
            self._registrations.deleted(key)

    def _audit(self, lease: int, deadline: float) -> None:
        """Once a TTL: which keys are on the lease? Somebody may have deleted one, or a late write made one."""
        if self._now() < self._next_audit:
            return
        keys = self.etcd.lease_keys(lease, deadline=deadline)
        self._next_audit = self._now() + self.ttl
        with self._changed:
            self._registrations.on_lease(keys)

    def _tell_restored(self, lease: int) -> None:
        state = self._state
        if state.up or self._now() >= state.valid_until:
            return
        resumed = lease == self._told_lease
        self._told_lease = lease
        self._become(replace(self._state, up=True, epoch=state.epoch + 1))
        LOG.info("session: valid, lease %x%s", lease, " (the same)" if resumed else "")
        if self._on_restored is not None:
            self._worker.notify(self._on_restored, lease, resumed)

    def _lose(self, reason: str) -> None:
        if not self._state.up:
            return
        self._become(replace(self._state, up=False))
        LOG.warning("session lost: %s", reason)
        if self._on_lost is not None:
            self._worker.notify(self._on_lost, reason)

    def _pause(self) -> float:
        state = self._state
        if not state.up:
            return _PAUSE_WHILE_DOWN
        return max(_SHORTEST_PAUSE, min(self._next_keepalive, state.valid_until) - self._now())

    def _become(self, state: SessionState) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def _now(self) -> float:
        return self.etcd.clock.monotonic()
