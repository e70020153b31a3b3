"""A projection -> etcd: only what differs is written, under the leader's fence.

Knows what etcd has under keys.DESIRED: from one listing at the beginning of the term, then from its own writes; when
anything else seems to have touched the prefix, it lists again. Documents are written first; each deletion goes in one
transaction with a manifest that is true at that moment, so that a host never takes half a listing for a whole one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from haqn.clock import Clock, SystemClock, isoformat
from haqn.coordination import keys
from haqn.coordination.operations import (
    MAX_OPERATIONS,
    Delete,
    DeletePrefix,
    KeyValue,
    Operation,
    Put,
    TransactionResult,
    batches,
)
from haqn.coordination.state import Changed, Deleted, Event
from haqn.documents import (
    DESIRED_KINDS,
    Manifest,
    PairDocument,
    RouterDocument,
    decode,
    digest,
    encode,
    fingerprint,
)
from haqn.exceptions import CoordinationError, InvalidDocument
from haqn.monitor.projection import Projected, Projection

#: a term's first generation is its epoch times this
_GENERATIONS_PER_TERM = 1_000_000
#: deletions in one transaction: room is left for the manifest and a few documents
_DELETIONS = 100

Key = tuple[str, str]
_MANIFEST: Key = ("manifest", "")


@dataclass(frozen=True, slots=True)
class _Written:
    """A key as it is in etcd. `content` is the document without generation and time; None: cannot be read."""

    content: bytes | None
    generation: int
    revision: int
    fingerprint: int


@dataclass(frozen=True, slots=True)
class _Step:
    """One transaction: documents to put, then keys to delete, then the manifest that is true afterwards."""

    #: of the documents
    generation: int
    puts: Sequence[Put] = ()
    deletions: Sequence[Key] = ()
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class _Difference:
    """Between what a host should have and what etcd has for it."""

    changed: Mapping[Key, Projected]
    obsolete: Sequence[Key]


@dataclass(slots=True)
class _Host:
    """What etcd has for one host."""

    documents: dict[Key, _Written] = field(default_factory=dict)
    #: None: there is no manifest, or none that can be read
    manifest: Manifest | None = None
    #: revision of everything of this host that is not in `documents` any more
    revision: int = 0
    #: the largest generation that was used
    generation: int = 0

    def manifest_is_true(self) -> bool:
        """Whether it tells of the documents that there are."""
        found = [written.fingerprint for key, written in self.documents.items() if key != _MANIFEST]
        manifest = self.manifest
        return (
            manifest is not None
            and manifest.complete
            and manifest.count == len(found)
            and manifest.digest == digest(found)
        )


class Publisher:
    """Of one term. All methods but `on_event` are for the leader's one thread."""

    def __init__(
        self,
        listing: Callable[[], Mapping[str, KeyValue]],
        fence: Callable[[Sequence[Operation]], TransactionResult],
        epoch: int,
        *,
        clock: Clock | None = None,
    ) -> None:
        """`listing` reads all of keys.DESIRED; `fence` is a transaction that raises NotLeader when the term is over."""
        self._listing = listing
        self._fence = fence
        self._clock = clock or SystemClock()
        self._first_generation = epoch * _GENERATIONS_PER_TERM
        self._hosts: dict[str, _Host] = {}
        self._in_doubt = True
        #: held while we write, so that an echo is never taken for somebody else's write
        self._lock = threading.Lock()
        #: (host, pair) -> generation from which on no router of the host rides on the pair
        self.vacated: dict[tuple[str, int], int] = {}

    @property
    def in_doubt(self) -> bool:
        """It is not known for sure what etcd has: the next `publish` lists it."""
        return self._in_doubt

    def generation_of(self, host: str, kind: str, object_id: str) -> int | None:
        """The generation of a document in etcd; None if there is none."""
        known = self._hosts.get(host)
        written = known.documents.get((kind, object_id)) if known is not None else None
        return written.generation if written is not None else None

    def manifest_generation(self, host: str) -> int | None:
        """The generation of a host's manifest in etcd; None if there is none."""
        known = self._hosts.get(host)
        return known.manifest.generation if known is not None and known.manifest is not None else None

    def on_event(self, event: Event) -> None:
        """An event of the prefix keys.DESIRED: an echo of what we know, or somebody else's doing?"""
        with self._lock:
            if isinstance(event, Changed):
                foreign = event.item.mod_revision > self._revision(event.item.key)
            elif isinstance(event, Deleted):
                name, key = _split(event.before.key)
                host = self._hosts.get(name)
                written = host.documents.get(key) if host is not None else None
                foreign = written is not None and event.before.mod_revision >= written.revision
            else:
                foreign = False
            self._in_doubt = self._in_doubt or foreign

    def publish(self, projection: Projection) -> int:
        """Write what differs; returns the number of transactions. Raises NotLeader, Unavailable."""
        if self._in_doubt:
            self._list()
        differences = {name: self._compare(name, projection[name]) for name in sorted(projection)}
        # who has something to build comes first, who only has to clean up (a dead member, say) last
        order = sorted(differences, key=lambda name: (not differences[name].changed, name))
        count = 0
        try:
            for name in order:
                count += self._publish_host(name, projection[name], differences[name])
            for name in sorted(self._hosts.keys() - projection.keys()):
                count += self._remove_host(name)
        except CoordinationError:
            self._in_doubt = True
            raise
        return count

    def adopt(self, projection: Projection) -> None:
        """Learn what etcd has and write nothing: for looking on from outside of a term."""
        self._list()
        for name, wanted in projection.items():
            host = self._hosts.setdefault(name, _Host())
            if host.documents.keys() - {_MANIFEST} == wanted.keys():
                self._note_vacancies(name, host, wanted)

    # -- what etcd has -------------------------------------------------------------------

    def _list(self) -> None:
        # cleared first: what is touched while we list is looked at again
        self._in_doubt = False
        try:
            listing = self._listing()
        except CoordinationError:
            self._in_doubt = True
            raise
        hosts = {name: _Host(generation=host.generation) for name, host in self._hosts.items()}
        for item in listing.values():
            name, key = _split(item.key)
            host = hosts.setdefault(name, _Host())
            host.documents[key] = _read(key, item)
            host.generation = max(host.generation, host.documents[key].generation)
            if key == _MANIFEST and host.documents[key].content is not None:
                host.manifest = decode(item.value, Manifest)
        with self._lock:
            self._hosts = hosts
            self.vacated = {}

    def _revision(self, key: str) -> int:
        """The revision up to which we know a key of keys.DESIRED."""
        name, place = _split(key)
        host = self._hosts.get(name)
        if host is None:
            return 0
        written = host.documents.get(place)
        return written.revision if written is not None else host.revision

    # -- what changes --------------------------------------------------------------------

    def _compare(self, name: str, wanted: Mapping[Key, Projected]) -> _Difference:
        host = self._hosts.setdefault(name, _Host())
        changed = {
            key: projected
            for key, projected in wanted.items()
            if key not in host.documents or host.documents[key].content != projected.content
        }
        obsolete = sorted(host.documents.keys() - wanted.keys() - {_MANIFEST})
        return _Difference(changed, obsolete)

    def _publish_host(self, name: str, wanted: Mapping[Key, Projected], difference: _Difference) -> int:
        host = self._hosts[name]
        count = 0
        if difference.changed or difference.obsolete or not host.manifest_is_true():
            for step in self._steps(name, host, difference, len(wanted)):
                self._write(name, host, step, wanted)
                count += 1
        self._note_vacancies(name, host, wanted)
        return count

    def _steps(self, name: str, host: _Host, difference: _Difference, wanted: int) -> Iterator[_Step]:
        obsolete = difference.obsolete
        generation = first = self._next_generation(host)
        now = isoformat(self._clock.utcnow())
        documents = {
            _join(name, key): encode(replace(projected.document, generation=first, written_at=now))
            for key, projected in difference.changed.items()
        }
        put_batches = [
            [operation for operation in batch if isinstance(operation, Put)]
            for batch in batches(documents, (), max_operations=MAX_OPERATIONS - 1)
        ]
        doomed = [obsolete[start : start + _DELETIONS] for start in range(0, len(obsolete), _DELETIONS)]
        last = put_batches.pop() if put_batches and len(put_batches[-1]) + len(obsolete) < MAX_OPERATIONS else []
        for batch in put_batches:
            yield _Step(generation=first, puts=batch)
        left = wanted + len(obsolete)
        for deletions in doomed or [()]:
            if left < wanted + len(obsolete):
                # whoever has carried out the deletions before has not carried out these
                generation = self._next_generation(host)
            left -= len(deletions)
            # its digest comes with the transaction that makes it true
            manifest = Manifest(generation=generation, count=left, complete=True, written_at=now)
            yield _Step(generation=first, puts=last, deletions=deletions, manifest=manifest)
            last = []

    def _next_generation(self, host: _Host) -> int:
        host.generation = max(host.generation, self._first_generation) + 1
        return host.generation

    def _write(self, name: str, host: _Host, step: _Step, wanted: Mapping[Key, Projected]) -> None:
        places = {_split(put.key)[1]: put for put in step.puts}
        prints = {key: fingerprint(*key, put.value) for key, put in places.items()}
        operations: list[Operation] = [*step.puts, *(Delete(_join(name, key)) for key in step.deletions)]
        manifest = step.manifest
        if manifest is not None:
            gone = {_MANIFEST, *step.deletions}
            left = {key: one.fingerprint for key, one in host.documents.items() if key not in gone} | prints
            manifest = replace(manifest, digest=digest(left.values()))
            operations.append(Put(keys.manifest(name), encode(manifest)))
        with self._lock:
            revision = self._fence(operations).revision
            host.revision = revision
            for key in places:
                host.documents[key] = _Written(wanted[key].content, step.generation, revision, prints[key])
            for key in step.deletions:
                del host.documents[key]
            if manifest is not None:
                host.manifest = manifest
                host.documents[_MANIFEST] = _Written(b"", manifest.generation, revision, 0)

    def _remove_host(self, name: str) -> int:
        """Nobody is registered there. With the manifest gone, too, a host that still runs keeps what it has."""
        with self._lock:
            self._fence([DeletePrefix(keys.desired(name))])
            del self._hosts[name]
            self.vacated = {place: since for place, since in self.vacated.items() if place[0] != name}
        return 1

    def _note_vacancies(self, name: str, host: _Host, wanted: Mapping[Key, Projected]) -> None:
        """Remember since which generation the host's pairs carry no router of its."""
        generation = host.manifest.generation if host.manifest is not None else host.generation
        documents = [projected.document for projected in wanted.values()]
        ridden = {document.pair_id for document in documents if isinstance(document, RouterDocument)}
        pairs = {document.pair_id for document in documents if isinstance(document, PairDocument)}
        for pair_id in pairs - ridden:
            self.vacated.setdefault((name, pair_id), generation)
        for place in [place for place in self.vacated if place[0] == name]:
            if place[1] in ridden or place[1] not in pairs:
                del self.vacated[place]


def _split(key: str) -> tuple[str, Key]:
    """(host, (kind, id)) of a key under keys.DESIRED."""
    name, kind, object_id = keys.split_desired(key)
    return name, (kind, object_id)


def _join(name: str, key: Key) -> str:
    kind, object_id = key
    return f"{keys.desired(name)}{kind}/{object_id}"


def _read(key: Key, item: KeyValue) -> _Written:
    kind, object_id = key
    found = fingerprint(kind, object_id, item.value)
    try:
        if key == _MANIFEST:
            return _Written(item.value, decode(item.value, Manifest).generation, item.mod_revision, found)
        if kind in DESIRED_KINDS:
            document = decode(item.value, DESIRED_KINDS[kind])
            content = encode(replace(document, generation=0, written_at=""))
            return _Written(content, document.generation, item.mod_revision, found)
    except InvalidDocument:
        pass  # it differs from whatever it should be, so it is written anew or deleted
    return _Written(None, 0, item.mod_revision, found)
