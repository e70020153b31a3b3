"""L2 backends: how a host carries networks and plugs ports into them. One is chosen by `[agent] backend`.

A backend is a function that is named in the entry point group `haqn.agent.backends`, so that a package can bring its
own. Knows none of them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from haqn.documents import NetworkDocument, PortDocument
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
    #: it makes bridges in this host's kernel (`haqn.agent.diff.bridge`), which routers can be connected to
    in_kernel: bool


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
