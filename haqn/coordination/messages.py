"""Translation between haqn's values and etcd's messages. Pure; no calls are made here."""

from __future__ import annotations

from collections.abc import Iterable

from haqn.coordination.operations import Condition, CreateRevisionIs, KeyValue, Operation, Put
from haqn.coordination.operations import Delete as DeleteOperation
from haqn.coordination.stubs import Message, rpc


def to_bytes(key: str) -> bytes:
    """The key as etcd stores it."""
    return key.encode("utf-8", "surrogateescape")


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that start with `prefix`; etcd takes b"\\0" for "no end"."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\0"


def key_range(prefix: str, *, exact: bool) -> tuple[bytes, bytes]:
    """(key, range_end) of one key, or of all keys that start with it."""
    start = to_bytes(prefix)
    return start, b"" if exact else prefix_end(start)


def key_value(message: Message) -> KeyValue:
    """From an mvccpb.KeyValue."""
    return KeyValue(
        key=message.key.decode("utf-8", "surrogateescape"),
        value=message.value,
        create_revision=message.create_revision,
        mod_revision=message.mod_revision,
        lease=message.lease,
    )


def put_request(operation: Put) -> Message:
    """A PutRequest."""
    # Lease 0 is etcd's "no lease"; None must not become anything else.
    return rpc.PutRequest(key=to_bytes(operation.key), value=operation.value, lease=operation.lease or 0)


def delete_request(key: str, *, prefix: bool) -> Message:
    """A DeleteRangeRequest for one key, or for all that start with it."""
    start, end = key_range(key, exact=not prefix)
    return rpc.DeleteRangeRequest(key=start, range_end=end)


def transaction_request(
    conditions: Iterable[Condition], operations: Iterable[Operation], read_on_failure: str | None
) -> Message:
    """A TxnRequest; `read_on_failure` is read when a condition does not hold."""
    failure = []
    if read_on_failure is not None:
        failure = [rpc.RequestOp(request_range=rpc.RangeRequest(key=to_bytes(read_on_failure)))]
    return rpc.TxnRequest(
        compare=[_compare(condition) for condition in conditions],
        success=[_request_op(operation) for operation in operations],
        failure=failure,
    )


def _compare(condition: Condition) -> Message:
    if isinstance(condition, CreateRevisionIs):
        return rpc.Compare(
            key=to_bytes(condition.key),
            target=rpc.Compare.CREATE,
            result=rpc.Compare.EQUAL,
            create_revision=condition.revision,
        )
    return rpc.Compare(
        key=to_bytes(condition.key),
        target=rpc.Compare.MOD,
        result=rpc.Compare.EQUAL,
        mod_revision=condition.revision,
    )


def _request_op(operation: Operation) -> Message:
    if isinstance(operation, Put):
        return rpc.RequestOp(request_put=put_request(operation))
    if isinstance(operation, DeleteOperation):
        return rpc.RequestOp(request_delete_range=delete_request(operation.key, prefix=False))
    return rpc.RequestOp(request_delete_range=delete_request(operation.prefix, prefix=True))
