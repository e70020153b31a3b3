"""What the leader has noted on desired documents, read from etcd when asked: agents watch them, the API does not."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Mapping

import msgspec

from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.operations import KeyValue
from haqn.exceptions import CoordinationError

LOG = logging.getLogger(__name__)

#: (host, kind, id), as `haqn.coordination.keys.split_desired` has it
DocumentPlace = tuple[str, str, str]
#: documents of one host from which on all of its are read at once
_READ_ALL = 16
#: seconds for all of it
_PATIENCE = 3.0
_CALL = 1.0


class Written(msgspec.Struct, frozen=True):
    """What the leader has noted on a document: what manifests and documents have in common, and a manifest's digest."""

    generation: int = 0
    written_at: str = ""
    digest: str = ""


def manifest(host: str) -> DocumentPlace:
    """The place of a host's manifest."""
    return (host, "manifest", "")


def read_generations(etcd: Etcd, wanted: Collection[DocumentPlace]) -> Mapping[DocumentPlace, Written]:
    """What is noted on those documents that there are and that etcd tells of in time."""
    by_host: dict[str, list[DocumentPlace]] = defaultdict(list)
    for place in set(wanted):
        by_host[place[0]].append(place)
    found: dict[DocumentPlace, Written] = {}
    end = time.monotonic() + _PATIENCE
    try:
        for host, places in by_host.items():
            if time.monotonic() > end:
                break
            if len(places) >= _READ_ALL:
                items = list(etcd.list(keys.desired(host), deadline=_CALL)[0].values())
            else:
                items = [item for place in places if (item := etcd.get(_key(place), deadline=_CALL)) is not None]
            asked = set(places)
            found |= {place: written for place, written in map(_place_of, items) if place in asked}
    except CoordinationError as error:
        LOG.info("desired generations are not known: %s", error)
    return found


def _place_of(item: KeyValue) -> tuple[DocumentPlace, Written]:
    try:
        written = msgspec.json.decode(item.value, type=Written)
    except msgspec.DecodeError:
        written = Written()
    return keys.split_desired(item.key), written


def _key(place: DocumentPlace) -> str:
    host, kind, object_id = place
    return f"{keys.desired(host)}{kind}/{object_id}" if object_id else f"{keys.desired(host)}{kind}"
