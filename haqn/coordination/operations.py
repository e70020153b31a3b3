"""What is read from etcd and what a transaction may ask of it: plain values, no I/O.

Keys are str everywhere; a key of somebody else's that is not UTF-8 survives as
surrogate escapes. Knows nothing of messages on the wire (`messages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

#: etcd's default of --max-txn-ops is 128; a few are left for the fence and for whoever lowers it a little.
MAX_OPERATIONS = 120
#: etcd's default of --max-request-bytes is 1.5 MiB.
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it was at one revision. `lease` is 0 for a key without a lease."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Put:
    """Write `key`; with a `lease` the key dies with it."""

    key: str
    value: bytes
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one key; it need not exist."""

    key: str


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    """Delete every key that starts with `prefix`."""

    prefix: str


Operation = Put | Delete | DeletePrefix


@dataclass(frozen=True, slots=True)
class CreateRevisionIs:
    """The key was created at `revision` and has existed ever since; 0: it does not exist."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class ModRevisionIs:
    """The key was last written at `revision`; 0: it does not exist."""

    key: str
    revision: int


Condition = CreateRevisionIs | ModRevisionIs


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """`found` is what `read_on_failure` named, when the conditions did not hold."""

    succeeded: bool
    revision: int
    found: KeyValue | None = None


def batches(
    puts: Mapping[str, bytes],
    deletes: Iterable[str],
    *,
    max_operations: int = MAX_OPERATIONS,
    max_bytes: int = MAX_BYTES,
) -> Iterator[tuple[Operation, ...]]:
    """The writes, cut into transactions that etcd accepts: puts in their order, then deletes.

    Raises ValueError for a key that is both put and deleted.
    """
    doomed = list(dict.fromkeys(deletes))
    if both := sorted(puts.keys() & set(doomed)):
        raise ValueError(f"cannot both put and delete {both}")
    batch: list[Operation] = []
    size = 0
    operations: list[Operation] = [Put(key, value) for key, value in puts.items()]
    operations += [Delete(key) for key in doomed]
    for operation in operations:
        weight = len(operation.value) if isinstance(operation, Put) else 0
        if batch and (len(batch) >= max_operations or size + weight > max_bytes):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(operation)
        size += weight
    if batch:
        yield tuple(batch)
