"""Whether the peer's adverts come through: heard beside keepalived, which ignores them while it is in FAULT.

VRRPv3 (RFC 5798 section 5): protocol 112; version and type, virtual router id, priority, count, advert interval.
Knows addresses and virtual router ids; knows nothing of pairs.
"""

from __future__ import annotations

import socket
import struct

_PROTOCOL = 112
_VERSION_AND_TYPE = 0x31
#: a MASTER that is leaving says so with this priority
_LEAVING = 0
_HEADER = struct.Struct("!BBBBHH")
#: seconds; adverts of a slower MASTER are counted for three of its intervals
_WINDOW = 1.0
#: part of the adverts of a window that must have come: a link that loses more would be lost again at once
_ENOUGH = 0.7


def parse(packet: bytes) -> tuple[int, float] | None:
    """(virtual router id, advert interval in seconds) of an IPv4 packet with an advert of a MASTER that stays one."""
    start = (packet[0] & 0x0F) * 4 if packet else 0
    if len(packet) < start + _HEADER.size:
        return None
    kind, vr_id, priority, _, interval, _ = _HEADER.unpack_from(packet, start)
    if kind != _VERSION_AND_TYPE or priority == _LEAVING:
        return None
    return vr_id, (interval & 0x0FFF) / 100


class Window:
    """Counts adverts; says once a window from whom enough have come. Pure."""

    def __init__(self, now: float) -> None:
        self._began = now
        #: (sender, virtual router id) -> number, advert interval
        self._heard: dict[tuple[str, int], tuple[int, float]] = {}

    def note(self, sender: str, vr_id: int, interval: float) -> None:
        count, _ = self._heard.get((sender, vr_id), (0, 0.0))
        self._heard[sender, vr_id] = (count + 1, interval)

    def close(self, now: float) -> set[tuple[str, int]]:
        """Who has been heard well; a new window begins. Nobody, as long as the window is not over."""
        length = now - self._began
        if length < max([_WINDOW, *(3 * interval for _, interval in self._heard.values())]):
            return set()
        heard = {who for who, (count, interval) in self._heard.items() if count >= _ENOUGH * length / (interval or 1)}
        self._began = now
        self._heard.clear()
        return heard


class Listener:
    """All adverts that come to this host, from its opening on."""

    def __init__(self, now: float) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _PROTOCOL)
        self._socket.setblocking(False)
        self._window = Window(now)

    def close(self) -> None:
        self._socket.close()

    def heard(self, now: float) -> set[tuple[str, int]]:
        """(sender, virtual router id) of those heard well in the window that is over, if one is."""
        while True:
            try:
                packet, (sender, _) = self._socket.recvfrom(2048)
            except BlockingIOError:
                return self._window.close(now)
            found = parse(packet)
            if found is not None:
                self._window.note(sender, *found)
