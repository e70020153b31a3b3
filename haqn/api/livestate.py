"""What agents and keepalived report at this moment, as far as this process knows. Never waits for anybody."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from haqn.coordination import keys
from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.operations import KeyValue
from haqn.coordination.state import Changed, Deleted, Event, Synced
from haqn.documents import PairReport, decode
from haqn.exceptions import InvalidDocument
from haqn.model import AgentType, VrrpState, agent_id

LOG = logging.getLogger(__name__)

#: Seconds without a word from etcd after which nothing is known any more. Far above the normal staleness (1.5).
LONGEST_SILENCE = 10.0
_AGENT_TYPES = frozenset(AgentType)


class LiveState(Protocol):
    """Liveness of agents and the VRRP states of pairs; None means unknown."""

    def known(self) -> bool:
        """Whether anything is known at all."""
        ...

    def alive(self, agent_id: str) -> bool | None:
        """Whether the agent's lease exists."""
        ...

    def pair_state(self, host: str, pair_id: int) -> VrrpState | None:
        """What keepalived on `host` last said about the pair."""
        ...


class NoLiveState:
    """Knows nothing."""

    def known(self) -> bool:
        return False

    def alive(self, agent_id: str) -> bool | None:  # noqa: ARG002 the signature is LiveState's
        return None

    def pair_state(self, host: str, pair_id: int) -> VrrpState | None:  # noqa: ARG002 the signature is LiveState's
        return None


class EtcdLiveState:
    """Copies of the heartbeats and of the observed pair states, kept up to date by watches."""

    def __init__(self, etcd: Etcd, *, longest_silence: float = LONGEST_SILENCE) -> None:
        """Create it anywhere; start it in the process that uses it (after fork)."""
        self._agents: set[str] = set()
        self._states: dict[tuple[str, int], VrrpState] = {}
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

    def pair_state(self, host: str, pair_id: int) -> VrrpState | None:
        if not self._states_known.is_set() or self._reports.staleness > self._longest_silence:
            return None
        return self._states.get((host, pair_id))

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
                if (pair := _pair_of(item.key)) is not None and (state := _state_in(item)) is not None:
                    self._states[pair] = state
            case Deleted(before=item):
                if (pair := _pair_of(item.key)) is not None:
                    self._states.pop(pair, None)
            case Synced():
                self._states_known.set()


def _agent_of(key: str) -> str | None:
    """The id of the agent whose heartbeat is at `key`; None for a type that this version does not know."""
    agent_type, _, host = key.removeprefix(keys.AGENTS).partition("/")
    return agent_id(AgentType(agent_type), host) if agent_type in _AGENT_TYPES else None


def _pair_of(key: str) -> tuple[str, int] | None:
    host, kind, object_id = keys.split_observed(key)
    return (host, int(object_id)) if kind == "pairs" and object_id.isdecimal() else None


def _state_in(item: KeyValue) -> VrrpState | None:
    try:
        return decode(item.value, PairReport).state
    except InvalidDocument as error:
        LOG.warning("the report at %s is ignored: %s", item.key, error)
        return None
