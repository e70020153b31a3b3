"""Ports of virtual machines: puts the tap device that the hypervisor made into the network's bridge.

Knows taps; never makes or deletes one. A tap that is not there yet is waited for.
"""

from __future__ import annotations

from haqn.agent import names
from haqn.documents import PortDocument
from haqn.linux.netlink import Netlink
from haqn.model import CLOSED_GROUP


class Ports:
    """The taps of this host."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    def apply(self, port: PortDocument) -> bool:
        """Plug the port's tap. False: there is no tap yet. Raises HostError."""
        tap = self._netlink.link(names.tap(port.port_id))
        if tap is None:
            return False
        bridge = self._netlink.need(names.bridge(port.network_id))
        group = 0 if port.admin_state_up else CLOSED_GROUP
        if tap.group != group:
            self._netlink.set_link(tap, group=group)
        if tap.master != bridge.index:
            self._netlink.set_link(tap, master=bridge.index)
        if not tap.up:
            self._netlink.set_link(tap, state="up")
        return True

    def remove(self, port_id: str) -> None:
        """Take the tap out of its bridge; one that is gone is no error."""
        tap = self._netlink.link(names.tap(port_id))
        if tap is not None and tap.master:
            self._netlink.set_link(tap, master=0)
