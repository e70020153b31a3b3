"""Frames that network hosts send, seen at their ports of the switch: who used a router's MAC, and when."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Collection

from haqn.lab import capture
from haqn.lab.chaos.timeline import Sighting
from haqn.lab.cluster import Lab
from haqn.lab.spec import UNDER, UPLINK, Kind, switch_port
from haqn.linux import netns

_ALL = 0x0003
_SOL_PACKET, _IGNORE_OUTGOING = 263, 23
_SO_TIMESTAMPNS = 35
_TIME = struct.Struct("=qq")
_BUFFER = 8 << 20
#: enough for a VXLAN frame's inner addresses
_LENGTH = 96
_BURST = 256
_PAUSE = 0.2
#: seconds; of the frames of one MAC from one host one in so long is kept
_EACH = 0.02
_KEPT = 120.0


class FrameWatch:
    """Watches until `close`. Frames count whose source, or whose source within VXLAN, is one of the MACs."""

    def __init__(self, lab: Lab, macs: Collection[str]) -> None:
        self._macs = frozenset(macs)
        self._sightings: deque[Sighting] = deque()
        self._last: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._selector = selectors.DefaultSelector()
        #: port -> its socket; those of ports that went away or down are bound again
        self._sockets: dict[str, socket.socket] = {}
        self._lost: set[str] = set()
        with netns.entered(f"/proc/{lab.switch.holder}/ns/net"):
            for host in lab.spec.of_kind(Kind.NETWORK):
                for link in (UNDER, UPLINK):
                    self._watch(host.name, switch_port(host.name, link))
        self._thread = threading.Thread(target=self._run, name="frames", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for watched in self._sockets.values():
            watched.close()
        self._selector.close()

    def since(self, start: float) -> list[Sighting]:
        """Those from that moment on."""
        with self._lock:
            return [one for one in self._sightings if one.time >= start]

    def _watch(self, host: str, port: str) -> None:
        watched = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        watched.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        watched.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        watched.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        watched.setblocking(False)
        watched.bind((port, _ALL))
        self._sockets[port] = watched
        self._selector.register(watched, selectors.EVENT_READ, (host, port))

    def _run(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(_PAUSE):
                self._receive(*key.data)
            for port in tuple(self._lost):
                # not there yet: once more after the next pause
                with contextlib.suppress(OSError):
                    self._sockets[port].bind((port, _ALL))
                    self._lost.discard(port)
            with self._lock:
                while self._sightings and self._sightings[0].time < time.time() - _KEPT:
                    self._sightings.popleft()

    def _receive(self, host: str, port: str) -> None:
        for _ in range(_BURST):
            try:
                data, ancillary, _, _ = self._sockets[port].recvmsg(_LENGTH, 64)
            except BlockingIOError:
                return
            except OSError:
                self._lost.add(port)
                return
            sources = self._macs & capture.parse(data).sources
            if sources and ancillary:
                seconds, nanoseconds = _TIME.unpack_from(ancillary[0][2])
                for mac in sources:
                    self._note(Sighting(seconds + nanoseconds / 1e9, host, mac))

    def _note(self, sighting: Sighting) -> None:
        key = (sighting.host, sighting.mac)
        if sighting.time - self._last.get(key, 0.0) >= _EACH:
            self._last[key] = sighting.time
            with self._lock:
                self._sightings.append(sighting)
