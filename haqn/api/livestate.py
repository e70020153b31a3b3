"""What agents and keepalived report at this moment, as far as this process knows. Never waits for anybody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from typing import Protocol, TypeVar

from haqn.api.generations import DocumentPlace, Written, read_generations
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.operations import KeyValue
from haqn.coordination.state import Changed, Deleted, Event, Synced
from haqn.documents import LeaderRecord, PairReport, SyncReport, decode
from haqn.exceptions import CoordinationError, InvalidDocument
from haqn.model import AgentType, VrrpState, agent_id

LOG = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds without a word from etcd after which nothing is known any more. Far above the normal staleness (1.5).
LONGEST_SILENCE = 10.0
#: Seconds that a request waits for etcd's answer.
_ASKING = 1.0
_AGENT_TYPES = frozenset(AgentType)


class LiveState(Protocol):
    """Liveness of agents and the VRRP states of pairs; None means unknown."""

    def known(self) -> bool:
        """Whether anything is known at all."""
        ...

    def alive(self, agent_id: str) -> bool | None:
        """Whether the agent's lease exists."""
        ...

    def living(self) -> frozenset[str] | None:
        """The ids of the agents whose leases exist; None: not known."""
        ...

    def pair_state(self, host: str, pair_id: int) -> VrrpState | None:
        """What keepalived on `host` last said about the pair; a MASTER whose gate the kernel has shut is in FAULT."""
        ...

    def pair_report(self, host: str, pair_id: int) -> PairReport | None:
        """All that the agent on `host` last said about the pair."""
        ...

    def sync_report(self, host: str) -> SyncReport | None:
        """How far the agents on `host` have come with what they should do."""
        ...

    def generations(self, wanted: Collection[DocumentPlace]) -> Mapping[DocumentPlace, Written]:
        """What is noted on these documents in etcd, asked for now; of those that there are, and can be read soon."""
        ...

    def leader(self) -> LeaderRecord | None:
        """Which monitor leads, asked for now; `holder` is empty when none does."""
        ...


class NoLiveState:
    """Knows nothing."""

    def known(self) -> bool:
        return False

    def alive(self, agent_id: str) -> bool | None:  # noqa: ARG002 the signature is LiveState's
        return None

    def living(self) -> frozenset[str] | None:
        return None

    def pair_state(self, host: str, pair_id: int) -> VrrpState | None:  # noqa: ARG002 the signature is LiveState's
        return None

    def pair_report(self, host: str, pair_id: int) -> PairReport | None:  # noqa: ARG002 the signature is LiveState's
        return None

    def sync_report(self, host: str) -> SyncReport | None:  # noqa: ARG002 the signature is LiveState's
        return None

    def generations(self, wanted: Collection[DocumentPlace]) -> Mapping[DocumentPlace, Written]:  # noqa: ARG002 LiveState's
        return {}

    def leader(self) -> LeaderRecord | None:
        return None


class EtcdLiveState:
    """Copies of the heartbeats and of the observed pair states, kept up to date by watches."""

    def __init__(self, etcd: Etcd, *, longest_silence: float = LONGEST_SILENCE) -> None:
        """Create it anywhere; start it in the process that uses it (after fork)."""
        self._etcd = etcd
        self._agents: set[str] = set()
        self._pairs: dict[tuple[str, int], PairReport] = {}
        self._syncs: dict[str, SyncReport] = {}
        self._longest_silence = longest_silence
        self._heartbeats = Informer(etcd, keys.AGENTS, self._heartbeat_changed)
        self._reports = Informer(etcd, keys.OBSERVED, self._report_changed)
        # set when the first whole list has been worked in; `Informer.synced` is set a little before
        self._agents_known = threading.Event()
        self._states_known = threading.Event()

    def start(self) -> None:
        self._heartbeats.start()
        self._reports.start()

    def stop(self) -> None:
        self._heartbeats.stop()
        self._reports.stop()

    def known(self) -> bool:
        return self._agents_known.is_set() and self._heartbeats.staleness <= self._longest_silence

    def alive(self, agent_id: str) -> bool | None:
        if not self.known():
            return None
        return agent_id in self._agents

    def living(self) -> frozenset[str] | None:
        # a copy, made in one step: another thread changes the set
        return frozenset(self._agents) if self.known() else None

    def pair_state(self, host: str, pair_id: int) -> VrrpState | None:
        report = self.pair_report(host, pair_id)
        if report is None:
            return None
        # a keepalived that is frozen has said MASTER for the last time, while its peer forwards
        forwards_not = report.state is VrrpState.MASTER and not report.gate_open
        return VrrpState.FAULT if forwards_not else report.state

    def pair_report(self, host: str, pair_id: int) -> PairReport | None:
        return self._pairs.get((host, pair_id)) if self._reports_are_fresh() else None

    def sync_report(self, host: str) -> SyncReport | None:
        return self._syncs.get(host) if self._reports_are_fresh() else None

    def generations(self, wanted: Collection[DocumentPlace]) -> Mapping[DocumentPlace, Written]:
        return read_generations(self._etcd, wanted) if self.known() else {}

    def leader(self) -> LeaderRecord | None:
        try:
            item = self._etcd.get(keys.LEADER, deadline=_ASKING)
            return LeaderRecord(holder="") if item is None else decode(item.value, LeaderRecord)
        except (CoordinationError, InvalidDocument) as error:
            LOG.info("who leads is not known: %s", error)
            return None

    def _reports_are_fresh(self) -> bool:
        return self._states_known.is_set() and self._reports.staleness <= self._longest_silence

    def _heartbeat_changed(self, event: Event) -> None:
        match event:
            case Changed(item=item):
                if (agent := _agent_of(item.key)) is not None:
                    self._agents.add(agent)
            case Deleted(before=item):
                if (agent := _agent_of(item.key)) is not None:
                    self._agents.discard(agent)
            case Synced():
                self._agents_known.set()

    def _report_changed(self, event: Event) -> None:
        match event:
            case Changed(item=item):
                self._forget_report(item.key)
                host, kind, object_id = keys.split_observed(item.key)
                if kind == "sync" and (sync := _read(item, SyncReport)) is not None:
                    self._syncs[host] = sync
                elif kind == "pairs" and object_id.isdecimal() and (report := _read(item, PairReport)) is not None:
                    self._pairs[host, int(object_id)] = report
            case Deleted(before=item):
                self._forget_report(item.key)
            case Synced():
                self._states_known.set()

    def _forget_report(self, key: str) -> None:
        host, kind, object_id = keys.split_observed(key)
        if kind == "sync":
            self._syncs.pop(host, None)
        elif kind == "pairs" and object_id.isdecimal():
            self._pairs.pop((host, int(object_id)), None)


def _agent_of(key: str) -> str | None:
    """The id of the agent whose heartbeat is at `key`; None for a type that this version does not know."""
    agent_type, _, host = key.removeprefix(keys.AGENTS).partition("/")
    return agent_id(AgentType(agent_type), host) if agent_type in _AGENT_TYPES else None


def _read(item: KeyValue, kind: type[T]) -> T | None:
    try:
        return decode(item.value, kind)
    except InvalidDocument as error:
        LOG.warning("what %s says is not known: %s", item.key, error)
        return None
