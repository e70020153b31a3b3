"""Looks at the gates of all network hosts many times a second, by the kernels' own word.

A host's kernel is asked over sockets that were opened in its network namespace, so nothing that freezes or dies in the
host stops the look. Times are seconds of the wall clock, as those of frames are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

from haqn.exceptions import HostError
from haqn.failover.gate import Gate
from haqn.lab.chaos.timeline import Look
from haqn.lab.cluster import Lab
from haqn.lab.spec import Kind
from haqn.linux import netns
from haqn.linux.rtnetlink import Rtnetlink
from haqn.model import FIRST_PAIR_ID

#: seconds
_INTERVAL = 0.1
_KEPT = 120.0
#: until a host that was off is looked for again
_OFF = 0.5
_TAP = "tap"


class _Eye:
    """What looks at one host, as long as the host runs."""

    def __init__(self, lab: Lab, host: str) -> None:
        self._host = host
        self._namespace = Path(f"/proc/{lab.host(host).holder}/ns/net")
        # a namespace that has no name is entered by its path
        with netns.entered(str(self._namespace)):
            self._links = Rtnetlink()
            self._gate = Gate()

    def close(self) -> None:
        self._links.__exit__()
        self._gate.__exit__()

    def look(self) -> Look:
        """OSError once the host has ended, although its namespace is kept alive by the sockets in it."""
        self._namespace.stat()
        began = time.time()
        taps = {name: link.group for name, link in self._links.links().items() if name.startswith(_TAP)}
        groups = {group for group in taps.values() if group >= FIRST_PAIR_ID}
        # without its table every port is open
        shut = {group for group in groups if not self._gate.is_open(group)} if self._gate.exists() else set()
        return Look(began, self._host, taps, frozenset(groups - shut), until=time.time())


class GateWatch:
    """Looks until `close`; keeps the looks of the last two minutes, of all hosts, in order."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._hosts = [host.name for host in lab.spec.of_kind(Kind.NETWORK)]
        self._eyes: dict[str, _Eye] = {}
        #: hosts that are off -> when to try again
        self._off: dict[str, float] = {}
        self._looks: deque[Look] = deque()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gates", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def since(self, start: float) -> list[Look]:
        """Looks from that moment on."""
        with self._lock:
            return [look for look in self._looks if look.time >= start]

    def latest(self) -> dict[str, Look]:
        """Host -> the last look at it."""
        with self._lock:
            return {look.host: look for look in self._looks}

    def _run(self) -> None:
        while not self._ended.wait(_INTERVAL):
            looks = [self._look(host) for host in self._hosts]
            with self._lock:
                self._looks.extend(looks)
                while self._looks[0].time < time.time() - _KEPT:
                    self._looks.popleft()
        for eye in self._eyes.values():
            eye.close()

    def _look(self, host: str) -> Look:
        now = time.time()
        nothing = Look(now, host, {}, frozenset())
        if self._off.get(host, 0.0) > now:
            return nothing
        try:
            if host not in self._eyes:
                self._eyes[host] = _Eye(self._lab, host)
            return self._eyes[host].look()
        except (HostError, OSError):
            if host in self._eyes:
                self._eyes.pop(host).close()
            self._off[host] = now + _OFF
            return nothing
