"""The backend that does nothing, for trying the control plane out without hosts: needs no root.

Everything is done at once, and what the leader designates ACTIVE is said to forward: there is no VRRP that could find
otherwise. A member that dies is replaced once the leader notices, after its lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from haqn.agent.backend import Backend, BackendSettings
from haqn.agent.diff import OpenPairs
from haqn.agent.routers import Built, OpenPairsNow
from haqn.clock import Clock, SystemClock, isoformat
from haqn.documents import NetworkDocument, PairDocument, PairReport, PortDocument, RouterDocument
from haqn.model import Role, VrrpState


class NoNetworks:
    """Networks that are nowhere."""

    def apply(self, network: NetworkDocument) -> None:
        pass

    def remove(self, network_id: str) -> None:
        pass

    def found(self) -> set[str]:
        return set()


class NoPorts:
    """Ports that are nowhere."""

    def apply(self, port: PortDocument) -> bool:  # noqa: ARG002 the signature is PortDriver's
        return True

    def remove(self, port_id: str) -> None:
        pass


class NoRouters:
    """Routers that are nowhere."""

    def apply(
        self,
        router: RouterDocument,  # noqa: ARG002 the signature is RouterDriver's
        networks: Mapping[str, NetworkDocument],  # noqa: ARG002 the same
        open_pairs: OpenPairsNow,  # noqa: ARG002 the same
    ) -> Built:
        return Built(rows={}, new_rows={}, changes=())

    def remove(self, router_id: str) -> None:
        pass

    def check_health(self) -> None:
        pass

    def found(self) -> set[str]:
        return set()


@dataclass(frozen=True, slots=True)
class _Member:
    """What this host is in a pair."""

    document: PairDocument
    #: since when it has the document's role
    since: str
    sequence: int

    @property
    def forwards(self) -> bool:
        return self.document.role is Role.ACTIVE


class NoPairs:
    """Pairs whose members are what they are designated to be."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._members: dict[int, _Member] = {}

    def make_ready(self) -> None:
        pass

    def apply(self, documents: Iterable[PairDocument], *, holding: bool) -> dict[str, str]:
        wanted = {document.pair_id: document for document in documents}
        kept = {pair: member for pair, member in self._members.items() if holding or pair in wanted}
        self._members = kept | {pair: self._member(document) for pair, document in wanted.items()}
        return {}

    def _member(self, document: PairDocument) -> _Member:
        before = self._members.get(document.pair_id)
        if before is not None and before.document.role is document.role:
            return _Member(document, before.since, before.sequence)
        return _Member(document, isoformat(self._clock.utcnow()), 1 if before is None else before.sequence + 1)

    def report(self) -> list[PairReport]:
        return [
            PairReport(
                pair_id=pair,
                state=VrrpState.MASTER if member.forwards else VrrpState.BACKUP,
                since=member.since,
                sequence=member.sequence,
                role=member.document.role,
                epoch=member.document.epoch,
                gate_open=member.forwards,
                peer_master=member.document.peer_master,
            )
            for pair, member in sorted(self._members.items())
        ]

    def open_pairs(self) -> OpenPairs:
        masters = frozenset(pair for pair, member in self._members.items() if member.forwards)
        return OpenPairs(masters=masters, yielded=frozenset(self._members) - masters)

    def write_rows(self, by_group: Mapping[int, list[str]], *, keep_others: bool) -> None:
        pass

    def remake_gate(self) -> None:
        pass

    def check_health(self) -> None:
        pass

    def tell_uplinks(self) -> None:
        pass

    def announce_again(self) -> None:
        pass

    def is_busy(self) -> bool:
        return False


def make(_settings: BackendSettings) -> Backend:
    """Nothing can go wrong."""
    return Backend(
        networks=NoNetworks(),
        ports=NoPorts(),
        in_kernel=False,
        routers=NoRouters(),
        pairs=NoPairs(SystemClock()),
    )
