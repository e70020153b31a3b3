"""Backends: how a host carries networks, plugs ports into them, and hosts routers. One is chosen by `[agent] backend`.

A backend is a function that is named in the entry point group `haqn.agent.backends`, so that a package can bring its
own. Knows none of them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from haqn.agent.diff import OpenPairs
from haqn.agent.routers import Built, OpenPairsNow
from haqn.documents import NetworkDocument, PairDocument, PairReport, PortDocument, RouterDocument
from haqn.exceptions import HostError

GROUP = "haqn.agent.backends"


class NetworkDriver(Protocol):
    """Makes this host's part of networks. Every method may be called again with what is done already."""

    def apply(self, network: NetworkDocument) -> None:
        """Make the network as the document says. Raises HostError."""
        ...

    def remove(self, network_id: str) -> None:
        """Let nothing of the network be left; one that is gone is no error. Raises HostError."""
        ...

    def found(self) -> set[str]:
        """The networks that are on this host already, each by a beginning of its id."""
        ...


class PortDriver(Protocol):
    """Connects ports of virtual machines with their networks. Every method may be called again."""

    def apply(self, port: PortDocument) -> bool:
        """Plug the port. False: its device is not there yet, ask again. Raises HostError."""
        ...

    def remove(self, port_id: str) -> None:
        """Unplug the port; one that is gone is no error. Raises HostError."""
        ...


class RouterDriver(Protocol):
    """Hosts routers; called from several threads, one router at a time each. Every method may be called again."""

    def apply(self, router: RouterDocument, networks: Mapping[str, NetworkDocument], open_pairs: OpenPairsNow) -> Built:
        """Build the router as the document says. Raises HostError, or MustWait (haqn.agent.work)."""
        ...

    def remove(self, router_id: str) -> None:
        """Let nothing of the router be left. Raises HostError."""
        ...

    def check_health(self) -> None:
        """To be called once a second."""
        ...

    def found(self) -> set[str]:
        """Ids of the routers that are on this host already."""
        ...


class PairDriver(Protocol):
    """This host's half of its pairs: finds out who forwards, and says so."""

    def make_ready(self) -> None:
        """Begin what a first pair would have to wait for. To be called once."""
        ...

    def apply(self, documents: Iterable[PairDocument], *, holding: bool) -> dict[str, str]:
        """Carry out the documents; returns pair id -> why it could not be. While holding, no pair is dropped."""
        ...

    def report(self) -> list[PairReport]:
        """What is so of each pair."""
        ...

    def open_pairs(self) -> OpenPairs:
        """Who forwards at this moment."""
        ...

    def write_rows(self, by_group: Mapping[int, list[str]], *, keep_others: bool) -> None:
        """What a takeover is to announce for each pair. `keep_others`: lines about other MACs stay."""
        ...

    def remake_gate(self) -> None:
        """Shut out what somebody may have let in; what is open stays so."""
        ...

    def check_health(self) -> None:
        """To be called once a second."""
        ...

    def tell_uplinks(self) -> None:
        """Take into account which uplinks lead nowhere. To be called once a second."""
        ...

    def announce_again(self) -> None:
        """Announce what is due. To be called again and again."""
        ...

    def is_busy(self) -> bool:
        """Whether to look again soon."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """What the options say of this host."""

    tunnel_address: str
    #: physical network -> interface
    physical_networks: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    networks: NetworkDriver
    ports: PortDriver
    #: it makes bridges in this host's kernel (`haqn.agent.names.bridge`), which haqn's own routers can be connected to
    in_kernel: bool
    #: how routers are hosted where it is not in the kernel; both, or none are
    routers: RouterDriver | None = None
    pairs: PairDriver | None = None


def load(name: str, settings: BackendSettings) -> Backend:
    """The backend called `name`. Raises HostError: there is none, or it cannot work on this host."""
    entries = {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}
    if name not in entries:
        raise HostError(f"cannot find [agent] backend {name}; installed are {', '.join(sorted(entries)) or 'none'}")
    try:
        make: Callable[[BackendSettings], Backend] = entries[name].load()
    except Exception as error:
        raise HostError(f"cannot load [agent] backend {name} ({entries[name].value}): {error!r}") from error
    return make(settings)
