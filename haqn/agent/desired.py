"""Documents under the agent's prefix -> what this host should be. PURE: no I/O, no clock.

Holds the rule that absence deletes nothing: a document that is missing is undone only when the manifest says that the
listing is complete, and the listing has exactly as many documents as the manifest says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from haqn.coordination import keys
from haqn.documents import DESIRED_KINDS, DesiredDocument, Manifest, NetworkDocument, PairDocument, decode, fingerprint
from haqn.exceptions import InvalidDocument


@dataclass(frozen=True, slots=True)
class Desired:
    """What this host should be: documents by (kind, id)."""

    documents: Mapping[tuple[str, str], DesiredDocument] = field(default_factory=dict)
    #: (kind, id) -> why the document cannot be read; its last readable version, if any, stays in `documents`
    invalid: Mapping[tuple[str, str], str] = field(default_factory=dict)
    #: (kind, id) -> what a digest of the documents is made of; of those that can be read
    fingerprints: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: of the last complete listing
    generation: int = 0
    #: missing documents are kept, because the listing is not complete
    holding: bool = True

    def of(self, kind: str) -> dict[str, DesiredDocument]:
        """The documents of one kind by id."""
        return {object_id: document for (k, object_id), document in self.documents.items() if k == kind}

    def network(self, network_id: str) -> NetworkDocument | None:
        document = self.documents.get(("networks", network_id))
        return document if isinstance(document, NetworkDocument) else None

    def pairs(self) -> list[PairDocument]:
        return [document for document in self.documents.values() if isinstance(document, PairDocument)]


def interpret(listing: Mapping[str, bytes], before: Desired) -> Desired:
    """The desired state after a listing of the agent's prefix (key -> value), given the one before."""
    manifest: Manifest | None = None
    documents: dict[tuple[str, str], DesiredDocument] = {}
    invalid: dict[tuple[str, str], str] = {}
    fingerprints: dict[tuple[str, str], int] = {}
    count = 0
    for key, value in listing.items():
        _, kind, object_id = keys.split_desired(key)
        try:
            if kind == "manifest":
                manifest = decode(value, Manifest)
                continue
            if kind not in DESIRED_KINDS:
                continue  # of a newer version
            count += 1
            documents[kind, object_id] = decode(value, DESIRED_KINDS[kind])
            fingerprints[kind, object_id] = fingerprint(kind, object_id, value)
        except InvalidDocument as error:
            invalid[kind, object_id] = str(error)
            if (kind, object_id) in before.documents:
                documents[kind, object_id] = before.documents[kind, object_id]
    complete = manifest is not None and manifest.complete and manifest.count == count
    if not complete or manifest is None:
        return replace(
            before, documents={**before.documents, **documents}, invalid={**before.invalid, **invalid}, holding=True
        )
    return Desired(
        documents=documents,
        invalid=invalid,
        fingerprints=fingerprints,
        generation=manifest.generation,
        holding=False,
    )
