"""etcd with failover: every call has a deadline, goes on to the next endpoint, and says what it knows.

Guarantees (numbers as in doc/adr/0002-etcd-client.md): G1 a call ends by its deadline, plus at
most one try; G2 `Unavailable` itself means that nothing was changed, `OutcomeUnknown` that a
write may have been applied or may be yet, any other error that the last try was refused; G3 a
write of mode ONCE is sent at most once; G4 tokens are renewed without the caller noticing; G5
nothing connects before the first call, and a forked child makes connections of its own.

Reads are linearizable. Knows nothing of sessions, watches or leadership.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from oslo_config import cfg

from haqn.clock import Clock, SystemClock
from haqn.coordination import messages
from haqn.coordination.connections import Connections
from haqn.coordination.operations import (
    Condition,
    CreateRevisionIs,
    Delete,
    DeletePrefix,
    KeyValue,
    ModRevisionIs,
    Operation,
    Put,
    TransactionResult,
)
from haqn.coordination.retries import Mode, Retries, Verdict, refusal
from haqn.coordination.stubs import Connection, Credentials, Message, RpcError, rpc, status
from haqn.coordination.worker import jittered
from haqn.exceptions import Compacted, CoordinationError, OutcomeUnknown, Unavailable

__all__ = [
    "CreateRevisionIs",
    "Delete",
    "DeletePrefix",
    "Etcd",
    "KeyValue",
    "LeaseGrant",
    "ModRevisionIs",
    "Mode",
    "Put",
    "TransactionResult",
]

LOG = logging.getLogger(__name__)
T = TypeVar("T")

_PAGE = 1000
_PAUSE_WHEN_ALL_FAILED = 0.3


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """A lease as the server confirmed it. The server counts `ttl` seconds from no earlier than `sent`."""

    lease: int
    ttl: float
    #: `Clock.monotonic()` just before the request left
    sent: float


class Etcd:
    """One etcd cluster. Thread-safe; share one object in a process."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        call_timeout: float = 1.5,
        deadline: float = 8.0,
        ca_cert: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        user: str | None = None,
        password: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`call_timeout` is for one try on one member, `deadline` for a whole call; both in seconds."""
        self.call_timeout = call_timeout
        self.deadline = deadline
        self.clock: Clock = clock or SystemClock()
        credentials = Credentials(
            ca_cert=ca_cert, client_cert=client_cert, client_key=client_key, user=user, password=password
        )
        self.connections = Connections(endpoints, credentials)

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Self:
        """As the group [etcd] of the configuration says."""
        group = conf.etcd
        return cls(
            group.endpoints,
            call_timeout=group.call_timeout,
            ca_cert=group.ca_cert,
            client_cert=group.client_cert,
            client_key=group.client_key,
            user=group.user,
            password=group.password,
        )

    def close(self) -> None:
        """Let go of all connections; later calls raise Unavailable. Stop sessions and informers before."""
        self.connections.close()

    # -- keys -------------------------------------------------------------------------------

    def get(self, key: str, *, deadline: float | None = None) -> KeyValue | None:
        """The key as it is now."""
        request = rpc.RangeRequest(key=messages.to_bytes(key))
        reply = self._unary("kv", "Range", request, Mode.READ, deadline)
        return messages.key_value(reply.kvs[0]) if reply.kvs else None

    def list(
        self, prefix: str, *, exact: bool = False, deadline: float | None = None
    ) -> tuple[dict[str, KeyValue], int]:
        """All keys under `prefix` (or the key `prefix` itself, if `exact`) as they were at one revision, and that."""
        end = self.clock.monotonic() + (deadline or self.deadline)
        while True:
            try:
                return self._list_at_one_revision(prefix, exact, deadline)
            except Compacted:
                # The history went away between two pages: begin again with a newer revision.
                if self.clock.monotonic() >= end:
                    raise

    def _list_at_one_revision(
        self, prefix: str, exact: bool, deadline: float | None
    ) -> tuple[dict[str, KeyValue], int]:
        start, end = messages.key_range(prefix, exact=exact)
        items: dict[str, KeyValue] = {}
        revision = 0
        while True:
            request = rpc.RangeRequest(key=start, range_end=end, limit=_PAGE, revision=revision)
            reply = self._unary("kv", "Range", request, Mode.READ, deadline)
            revision = revision or reply.header.revision
            for message in reply.kvs:
                item = messages.key_value(message)
                items[item.key] = item
            if not reply.more:
                return items, revision
            start = reply.kvs[-1].key + b"\0"

    def put(self, key: str, value: bytes, lease: int | None = None, *, deadline: float | None = None) -> int:
        """Write the key, repeating the write if there is no answer; returns the revision."""
        request = messages.put_request(Put(key, value, lease))
        reply = self._unary("kv", "Put", request, Mode.AGAIN, deadline)
        return int(reply.header.revision)

    def delete(self, key: str, *, deadline: float | None = None) -> int:
        """Delete the key if it exists; returns how many keys the last try deleted."""
        request = messages.delete_request(key, prefix=False)
        return int(self._unary("kv", "DeleteRange", request, Mode.AGAIN, deadline).deleted)

    def delete_prefix(self, prefix: str, *, deadline: float | None = None) -> int:
        """Delete all keys under `prefix`; returns how many the last try deleted."""
        request = messages.delete_request(prefix, prefix=True)
        return int(self._unary("kv", "DeleteRange", request, Mode.AGAIN, deadline).deleted)

    def transact(
        self,
        operations: Iterable[Operation],
        *,
        conditions: Iterable[Condition] = (),
        read_on_failure: str | None = None,
        mode: Mode = Mode.ONCE,
        deadline: float | None = None,
    ) -> TransactionResult:
        """Carry out all operations at once, or none if a condition does not hold.

        At most 128 operations, no key twice, 1.5 MiB (etcd's limits). With mode AGAIN a first try
        that was applied without an answer may let the conditions of the second one fail.
        """
        request = messages.transaction_request(conditions, operations, read_on_failure)
        reply = self._unary("kv", "Txn", request, mode, deadline)
        found = None
        if not reply.succeeded and read_on_failure is not None:
            keys = reply.responses[0].response_range.kvs
            found = messages.key_value(keys[0]) if keys else None
        return TransactionResult(reply.succeeded, reply.header.revision, found)

    # -- leases -----------------------------------------------------------------------------

    def grant(self, ttl: int, *, deadline: float | None = None, timeout: float | None = None) -> LeaseGrant:
        """A new lease of `ttl` seconds, or longer if the server says so."""

        def send(connection: Connection, time_left: float) -> LeaseGrant:
            sent = self.clock.monotonic()
            reply = connection.lease.LeaseGrant(rpc.LeaseGrantRequest(TTL=ttl), time_left, metadata=connection.metadata)
            return LeaseGrant(reply.ID, float(reply.TTL), sent)

        # A lease whose answer was lost simply expires, so it may be asked for again.
        return self.call(send, Mode.READ, deadline=deadline, timeout=timeout)

    def keepalive(self, lease: int, *, deadline: float | None = None, timeout: float | None = None) -> LeaseGrant:
        """Start the lease's TTL anew. Raises LeaseNotFound when it is gone."""

        def send(connection: Connection, time_left: float) -> LeaseGrant:
            sent = self.clock.monotonic()
            request = iter([rpc.LeaseKeepAliveRequest(ID=lease)])
            stream = connection.lease.LeaseKeepAlive(request, time_left, metadata=connection.metadata)
            try:
                reply = next(stream, None)
            finally:
                stream.cancel()
            return LeaseGrant(lease, float(reply.TTL) if reply else -1.0, sent)

        granted = self.call(send, Mode.READ, deadline=deadline, timeout=timeout)
        if granted.ttl < 0:
            raise Unavailable("cannot keep the lease alive: the stream ended without an answer")
        if granted.ttl == 0:
            # That is how etcd answers a keepalive of an expired lease: no error, TTL 0.
            raise refusal("NOT_FOUND", "requested lease not found")
        return granted

    def revoke(self, lease: int, *, deadline: float | None = None) -> None:
        """End the lease and delete its keys. Raises LeaseNotFound when it is gone already."""
        self._unary("lease", "LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease), Mode.AGAIN, deadline)

    def lease_keys(self, lease: int, *, deadline: float | None = None) -> frozenset[str]:
        """The keys that are bound to the lease now. Raises LeaseNotFound when it is gone."""
        request = rpc.LeaseTimeToLiveRequest(ID=lease, keys=True)
        reply = self._unary("lease", "LeaseTimeToLive", request, Mode.READ, deadline)
        if reply.TTL <= 0:
            raise refusal("NOT_FOUND", "requested lease not found")
        return frozenset(key.decode("utf-8", "surrogateescape") for key in reply.keys)

    # -- the loop over endpoints ------------------------------------------------------------

    def _unary(self, service: str, method: str, request: Message, mode: Mode, deadline: float | None) -> Message:
        def send(connection: Connection, time_left: float) -> Message:
            stub = getattr(connection, service)
            return getattr(stub, method)(request, time_left, metadata=connection.metadata)

        return self.call(send, mode, deadline=deadline)

    def call(
        self,
        send: Callable[[Connection, float], T],
        mode: Mode,
        *,
        deadline: float | None = None,
        timeout: float | None = None,
    ) -> T:
        """`send(connection, seconds)` on one endpoint after the other till one answers. For this package only."""
        end = self.clock.monotonic() + (deadline or self.deadline)
        retries = Retries(mode, len(self.connections))
        problem = "no time left"
        while (time_left := end - self.clock.monotonic()) > 0:
            try_time = min(timeout or self.call_timeout, time_left)
            endpoint = self.connections.current_endpoint
            sent, connection = False, None
            try:
                connection = self.connections.get(endpoint, try_time)
                sent = True
                return send(connection, try_time)
            except RpcError as error:
                code, details = status(error)
            except (OSError, ValueError) as error:
                if sent:
                    raise
                raise CoordinationError(f"cannot connect to etcd at {endpoint}: {error}") from error
            verdict = retries.failed(code, details, sent=sent)
            problem = f"{endpoint}: {code}: {details}"
            if verdict is Verdict.REFUSED:
                raise refusal(code, details)
            self.connections.drop(endpoint, connection, rotate=verdict is not Verdict.AUTHENTICATE)
            if verdict is Verdict.AUTHENTICATE:
                continue
            LOG.info("etcd does not answer: %s", problem)
            if verdict is Verdict.UNKNOWN:
                break
            if retries.all_tried:
                time.sleep(max(0.0, min(end - self.clock.monotonic(), jittered(_PAUSE_WHEN_ALL_FAILED))))
        if retries.maybe_applied:
            raise OutcomeUnknown(f"cannot tell whether etcd has carried out the write; last try: {problem}")
        raise Unavailable(f"cannot reach etcd; last try: {problem}")
