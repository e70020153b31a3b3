"""What of this host's uplinks works: carrier, and whether a target beyond it answers; and when that counts.

A host cannot tell a dead uplink from a dead target, and two hosts notice the death of a target up to a few seconds
apart. So everything that would move traffic counts late, and everything that keeps it where it is at once: the member
that stands by says sooner than the MASTER that its uplink is dead, and later that it works again. When all probes fail
nothing moves. The carrier is the host's own business, and keepalived's (track_interface); it is only reported here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from haqn.clock import Clock

LOG = logging.getLogger(__name__)

#: probes in a row that change a verdict
_IN_A_ROW = 3
#: intervals for which a verdict stands before it may move traffic: more than two hosts' verdicts differ by
_PATIENCE = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the target of an uplink answers, by the last probes. Pure."""

    answers: bool = True
    #: monotonic seconds; None: since the beginning
    since: float | None = None
    #: probes in a row that say otherwise
    contrary: int = 0

    def after(self, answered: bool, now: float) -> Verdict:
        """The verdict after one more probe."""
        if answered == self.answers:
            return Verdict(self.answers, self.since)
        if self.contrary + 1 < _IN_A_ROW:
            return Verdict(self.answers, self.since, self.contrary + 1)
        return Verdict(answered, now)

    def counts_as_dead(self, *, is_master: bool, now: float, interval: float) -> bool:
        """Whether a member, MASTER or standing by, is to say now that the uplink leads nowhere."""
        if self.since is None:
            return False
        stands = now - self.since >= _PATIENCE * interval
        return stands if not self.answers and is_master else not self.answers or not (is_master or stands)


def has_carrier(interface: str) -> bool:
    """Whether the device is up and has a carrier."""
    try:
        return Path(f"/sys/class/net/{interface}/carrier").read_text().strip() == "1"
    except OSError:  # it is down, or gone
        return False


class Uplinks:
    """Probes all targets of this host, one thread for all of them."""

    def __init__(
        self,
        interfaces: Iterable[str],
        targets: Mapping[str, tuple[str, ...]],
        probe: Callable[[str, Iterable[str]], bool],
        clock: Clock,
        interval: float,
    ) -> None:
        """`targets`: interface -> addresses, of which one must answer; `probe(interface, addresses)` waits for that;
        `interval`: seconds from one to the next.
        """
        self._interfaces = sorted(set(interfaces))
        self._targets = {interface: found for interface, found in targets.items() if found}
        self._probe = probe
        self._clock = clock
        self._interval = interval
        self._verdicts = {interface: Verdict() for interface in self._targets}

    def start(self) -> None:
        """Probe for as long as the process lives."""
        if self._targets:
            threading.Thread(target=self._run, name="uplinks", daemon=True).start()

    def without_carrier(self) -> tuple[str, ...]:
        return tuple(interface for interface in self._interfaces if not has_carrier(interface))

    def leading_nowhere(self, *, is_master: bool) -> tuple[str, ...]:
        """Uplinks with a carrier that a member, MASTER or standing by, is to call dead now."""
        now = self._clock.monotonic()
        return tuple(
            interface
            for interface, verdict in sorted(self._verdicts.items())
            if verdict.counts_as_dead(is_master=is_master, now=now, interval=self._interval) and has_carrier(interface)
        )

    def _run(self) -> None:
        while True:
            time.sleep(self._interval)
            for interface, targets in self._targets.items():
                # without a carrier nothing is learned of the target
                if has_carrier(interface):
                    self._look(interface, targets)

    def _look(self, interface: str, targets: tuple[str, ...]) -> None:
        before = self._verdicts[interface]
        try:
            answered = self._probe(interface, targets)
        except OSError as error:
            LOG.warning("cannot probe %s: %s", interface, error)
            return
        verdict = before.after(answered, self._clock.monotonic())
        if verdict.answers != before.answers:
            said = "answers again" if verdict.answers else "does not answer"
            LOG.warning("uplink %s: %s %s", interface, " or ".join(targets), said)
        self._verdicts[interface] = verdict
