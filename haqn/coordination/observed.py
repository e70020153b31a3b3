"""What agents say in etcd: heartbeats and reports, decoded as they change.

`Observed` is the state that an informer's events build, without I/O of its own; a report that cannot be read
counts as absent. What an agent has carried out is forgotten as soon as another one of its host registers: the host may
have been rebooted, and have nothing of it. Its reports on pairs stay, because they are right when the agent alone was
restarted, and VRRP decides in any case. The leader and the API share it. Knows nothing of SQL, pairs or leadership.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from haqn.clock import Clock
from haqn.coordination import keys
from haqn.coordination.operations import KeyValue
from haqn.coordination.state import Changed, Deleted, Event, Synced
from haqn.documents import Heartbeat, PairReport, SyncReport, decode
from haqn.exceptions import InvalidDocument
from haqn.model import agent_id

LOG = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat, the etcd lease that it lives on, and etcd's revision at its last change."""

    heartbeat: Heartbeat
    lease: int
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """A pair report, and when (monotonic seconds) its state, gate, role and epoch were first seen here."""

    report: PairReport
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """One look at everything that agents say."""

    #: grows with every change
    version: int
    #: agent id -> heartbeat; an agent is alive exactly as long as it is here
    beats: Mapping[str, Beat]
    #: agent id -> when (monotonic seconds) its heartbeat was seen to end; not of agents that live
    ended: Mapping[str, float] = field(default_factory=dict)
    #: (host, pair) -> report
    pairs: Mapping[tuple[str, int], Report]
    syncs: Mapping[str, SyncReport]


class Observed:
    """Handlers for the informers of keys.AGENTS and keys.OBSERVED. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._version = 0
        self._beats: dict[str, Beat] = {}
        self._beat_ids: dict[str, str] = {}
        #: host -> the heartbeat of its agent that lives
        self._present: dict[str, Beat] = {}
        self._ended: dict[str, float] = {}
        self._pairs: dict[tuple[str, int], Report] = {}
        #: host -> its report, with the key as it was read
        self._syncs: dict[str, tuple[SyncReport, KeyValue]] = {}

    def look(self) -> Reported:
        """Everything, at this moment."""
        with self._lock:
            return Reported(
                version=self._version,
                beats=dict(self._beats),
                ended=dict(self._ended),
                pairs=dict(self._pairs),
                syncs={
                    host: sync
                    for host, (sync, item) in self._syncs.items()
                    if not _is_outlived(item, self._present.get(host))
                },
            )

    def living(self) -> frozenset[str]:
        """The ids of the agents that live."""
        with self._lock:
            return frozenset(self._beats)

    def is_alive(self, known_as: str) -> bool:
        """Whether the agent of this id lives."""
        return known_as in self._beats

    def pair(self, host: str, pair_id: int) -> PairReport | None:
        """What the agent on the host says of the pair."""
        found = self._pairs.get((host, pair_id))
        return found.report if found is not None else None

    def sync(self, host: str) -> SyncReport | None:
        """How far the agent on the host has come."""
        with self._lock:
            sync, item = self._syncs.get(host, (None, None))
            return None if item is None or _is_outlived(item, self._present.get(host)) else sync

    def on_agents(self, event: Event) -> None:
        """An event of the prefix keys.AGENTS."""
        with self._lock:
            if isinstance(event, Changed):
                heartbeat = _read(event.item, Heartbeat)
                # one that cannot be read says that the agent lives, and nothing else: the one before stays
                if heartbeat is not None:
                    self._forget_beat(event.item.key)
                    known_as = agent_id(heartbeat.agent_type, heartbeat.host)
                    self._beat_ids[event.item.key] = known_as
                    self._ended.pop(known_as, None)
                    beat = Beat(heartbeat, event.item.lease, event.item.mod_revision)
                    self._beats[known_as] = self._present[heartbeat.host] = beat
            elif isinstance(event, Deleted):
                gone = self._forget_beat(event.before.key)
                if gone is not None:
                    self._ended[gone] = self._clock.monotonic()
            self._version += not isinstance(event, Synced)

    def on_reports(self, event: Event) -> None:
        """An event of the prefix keys.OBSERVED."""
        with self._lock:
            if isinstance(event, Changed):
                self._note_report(event.item)
            elif isinstance(event, Deleted):
                host, kind, object_id = keys.split_observed(event.before.key)
                if kind == "sync":
                    self._syncs.pop(host, None)
                elif kind == "pairs" and object_id.isdecimal():
                    self._pairs.pop((host, int(object_id)), None)
            self._version += not isinstance(event, Synced)

    def _forget_beat(self, key: str) -> str | None:
        """The id of the agent whose heartbeat was there."""
        known_as = self._beat_ids.pop(key, None)
        beat = self._beats.pop(known_as, None) if known_as is not None else None
        if beat is not None and self._present.get(beat.heartbeat.host) is beat:
            del self._present[beat.heartbeat.host]
        return known_as

    def _note_report(self, item: KeyValue) -> None:
        host, kind, object_id = keys.split_observed(item.key)
        if kind == "sync":
            sync = _read(item, SyncReport)
            if sync is not None:
                self._syncs[host] = (sync, item)
            else:
                self._syncs.pop(host, None)
        elif kind == "pairs" and object_id.isdecimal():
            place = (host, int(object_id))
            report = _read(item, PairReport)
            before = self._pairs.pop(place, None)
            if report is not None:
                same = before is not None and _says(before.report) == _says(report)
                since = before.since if before is not None and same else self._clock.monotonic()
                self._pairs[place] = Report(report, since)


def _is_outlived(report: KeyValue, present: Beat | None) -> bool:
    """Another agent of the host has registered since this was reported. What comes by two watches comes in any order,
    so it is etcd's revisions that tell."""
    return present is not None and present.lease != report.lease and present.revision > report.mod_revision


def _says(report: PairReport) -> tuple[object, ...]:
    return (report.state, report.role, report.epoch, report.gate_open)


def _read(item: KeyValue, kind: type[T]) -> T | None:
    try:
        return decode(item.value, kind)
    except InvalidDocument as error:
        LOG.warning("cannot use %s: %s", item.key, error)
        return None
