"""The backend that does nothing, for a control plane without hosts: needs no root. Everything is done at once."""

from __future__ import annotations

from haqn.agent.backend import Backend, BackendSettings
from haqn.documents import NetworkDocument, PortDocument


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


def make(_settings: BackendSettings) -> Backend:
    """Nothing can go wrong."""
    return Backend(networks=NoNetworks(), ports=NoPorts(), in_kernel=False)
