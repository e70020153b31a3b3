"""MAC addresses that this host's bridges and VXLAN devices have just learnt, by rtnetlink's notifications.

A router's MAC that was learnt at another port than the router's own says that somebody else has spoken for the router:
another member of the pair, or a host that does not know yet that the router has left it. Knows forwarding entries;
knows nothing of routers or pairs. Messages: rtnetlink(7), RTM_NEWNEIGH of the family AF_BRIDGE.
"""

from __future__ import annotations

import socket
import struct

from haqn.failover import netlink

_RTM_NEWNEIGH = 28
_NDA_LLADDR = 2
_AF_BRIDGE = 7
_GROUP_NEIGHBOURS = 0x4
_ENTRY = struct.Struct("=BxxxiHBB")
_MAC_LENGTH = 6
_BUFFER = 65536
#: seconds between looks, and reads of one look: a MAC that jumps to and fro with each frame costs no more than that
_PAUSE = 0.5
_READS = 4


class Moves:
    """To be asked again and again; nothing happens in between."""

    def __init__(self) -> None:
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._netlink = socket.socket(socket.AF_NETLINK, flags, socket.NETLINK_ROUTE)
        self._netlink.bind((0, _GROUP_NEIGHBOURS))
        self._next_look = 0.0

    def close(self) -> None:
        self._netlink.close()

    def take(self, now: float) -> set[tuple[int, bytes]]:
        """(ifindex of the port, MAC) of what was learnt since the last look; nothing when it comes too soon. `now`:
        monotonic seconds. What did not fit into the kernel's buffer is lost."""
        found: set[tuple[int, bytes]] = set()
        if now < self._next_look:
            return found
        self._next_look = now + _PAUSE
        for _ in range(_READS):
            try:
                found |= parse(self._netlink.recv(_BUFFER))
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: there were more than the kernel has kept
                continue
        return found


def parse(data: bytes) -> set[tuple[int, bytes]]:
    """The entries in some messages of rtnetlink."""
    found = set()
    for kind, _, body in netlink.messages(data):
        if kind != _RTM_NEWNEIGH or len(body) < _ENTRY.size:
            continue
        family, index, *_ = _ENTRY.unpack_from(body)
        mac = netlink.attributes(body, _ENTRY.size).get(_NDA_LLADDR, b"")
        if family == _AF_BRIDGE and len(mac) == _MAC_LENGTH:
            found.add((index, mac))
    return found
