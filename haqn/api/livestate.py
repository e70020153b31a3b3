"""What agents and keepalived report at this moment, as far as this process knows. Never waits for anybody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from typing import Protocol

from haqn.api.generations import DocumentPlace, Written, read_generations
from haqn.clock import SystemClock
from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.observed import Observed
from haqn.coordination.state import Event, Synced
from haqn.documents import LeaderRecord, PairReport, SyncReport, decode
from haqn.exceptions import CoordinationError, InvalidDocument
from haqn.model import VrrpState

LOG = logging.getLogger(__name__)

#: Seconds without a word from etcd after which nothing is known any more. Far above the normal staleness (1.5).
LONGEST_SILENCE = 10.0
#: Seconds that a request waits for etcd's answer.
_ASKING = 1.0


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
        self._observed = Observed(SystemClock())
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
        return self._observed.is_alive(agent_id)

    def living(self) -> frozenset[str] | None:
        return self._observed.living() if self.known() else None

    def pair_state(self, host: str, pair_id: int) -> VrrpState | None:
        report = self.pair_report(host, pair_id)
        if report is None:
            return None
        # a keepalived that is frozen has said MASTER for the last time, while its peer forwards
        forwards_not = report.state is VrrpState.MASTER and not report.gate_open
        return VrrpState.FAULT if forwards_not else report.state

    def pair_report(self, host: str, pair_id: int) -> PairReport | None:
        return self._observed.pair(host, pair_id) if self._reports_are_fresh() else None

    def sync_report(self, host: str) -> SyncReport | None:
        return self._observed.sync(host) if self._reports_are_fresh() else None

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
        self._observed.on_agents(event)
        if isinstance(event, Synced):
            self._agents_known.set()

    def _report_changed(self, event: Event) -> None:
        self._observed.on_reports(event)
        if isinstance(event, Synced):
            self._states_known.set()
