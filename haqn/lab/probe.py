"""Probes: pings that run in a host or a VM while something happens, and what they saw."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haqn.exceptions import HostError
from haqn.lab import prober
from haqn.lab.cluster import Lab
from haqn.lab.host import Host
from haqn.lab.spec import EXTERNAL_HOST
from haqn.lab.vms import Vm

#: milliseconds
INTERVAL = 5.0
#: seconds that a prober has to end, and more for each second that it ran: what it saw grows
_STOP_TIMEOUT, _STOP_TIMEOUT_PER_SECOND = 30.0, 0.2


def now_ms() -> float:
    """The present moment on the clock of the results."""
    return time.monotonic() * 1000


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What became of the echoes to one address. Times are milliseconds of CLOCK_MONOTONIC."""

    target: str
    #: (sent, received or None) of each echo, in the order of sending
    echoes: tuple[tuple[float, float | None], ...]

    @property
    def sent(self) -> int:
        return len(self.echoes)

    @property
    def received(self) -> int:
        return sum(received is not None for _, received in self.echoes)

    @property
    def lost(self) -> int:
        return self.sent - self.received

    @property
    def answered(self) -> bool:
        """Whether the very last echoes were answered: the target was reachable in the end."""
        return any(received is not None for _, received in self.echoes[-20:])

    @property
    def largest_gap(self) -> tuple[float, float]:
        """(when it began, how long it was) of the longest time without an answer, both in milliseconds."""
        return max(self.gaps(), key=lambda gap: gap[1], default=(self.echoes[0][0] if self.echoes else 0.0, 0.0))

    def gaps(self, longer_than_ms: float = 0.0) -> list[tuple[float, float]]:
        """(when it began, how long it was) of each time without an answer, both in milliseconds.

        The first sending and the end count as answers, so that silence at either end is seen.
        """
        if not self.echoes:
            return []
        answers = {moment for _, moment in self.echoes if moment is not None}
        end = max(self.echoes[-1][0], *answers, self.echoes[0][0])
        moments = sorted({self.echoes[0][0], *answers, end})
        return [(start, end - start) for start, end in itertools.pairwise(moments) if end - start > longer_than_ms]

    @property
    def largest_gap_ms(self) -> float:
        return self.largest_gap[1]

    def between(self, start_ms: float, end_ms: float) -> TargetResult:
        """Only the echoes that were sent in this time."""
        return TargetResult(self.target, tuple(echo for echo in self.echoes if start_ms <= echo[0] <= end_ms))


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe saw of each of its targets."""

    targets: tuple[TargetResult, ...]

    @property
    def largest_gap_ms(self) -> float:
        """Of all targets."""
        return max((target.largest_gap_ms for target in self.targets), default=0.0)

    @property
    def lost(self) -> int:
        return sum(target.lost for target in self.targets)

    @property
    def sent(self) -> int:
        return sum(target.sent for target in self.targets)

    @property
    def all_answered(self) -> bool:
        """Every target was reachable in the end."""
        return all(target.answered for target in self.targets)

    def between(self, start_ms: float, end_ms: float) -> ProbeResult:
        """Only the echoes that were sent in this time."""
        return ProbeResult(tuple(target.between(start_ms, end_ms) for target in self.targets))


class Probe:
    """A running prober. It freezes and dies with its host; `stop` answers with what it saw."""

    def __init__(
        self, host: Host, targets: Sequence[str], *, namespace: str | None = None, interval_ms: float = INTERVAL
    ) -> None:
        self._began = time.monotonic()
        command = [sys.executable, str(Path(prober.__file__)), "--interval-ms", str(interval_ms), *targets]
        self._process = subprocess.Popen(
            host.enter(command, namespace=namespace),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C must not end it before it is asked for its result
            start_new_session=True,
        )
        if self._process.stdout is None or self._process.stdout.readline().strip() != "ready":
            _, said = self._process.communicate(timeout=_STOP_TIMEOUT)
            raise HostError(f"cannot probe from {host.name}: {said.strip()}")

    def stop(self) -> ProbeResult:
        """End it and read its result; HostError if it died before (its host was rebooted)."""
        ran = time.monotonic() - self._began
        try:
            output, said = self._process.communicate(timeout=_STOP_TIMEOUT + _STOP_TIMEOUT_PER_SECOND * ran)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.communicate()
            raise HostError("cannot stop the prober: it is frozen with its host") from error
        try:
            targets = json.loads(output)["targets"]
        except ValueError as error:
            raise HostError(f"cannot read what the prober saw: it ended early: {said.strip()}") from error
        return ProbeResult(
            tuple(
                TargetResult(target, tuple((sent, received) for sent, received in echoes))
                for target, echoes in targets.items()
            )
        )

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self.stop()


class BothWays:
    """A VM pings the external host, and the external host pings addresses (of routers, of the VM)."""

    def __init__(self, lab: Lab, vm: Vm, inbound: Sequence[str]) -> None:
        self._outbound = Probe(lab.host(vm.host), [lab.spec.external_gateway], namespace=vm.namespace)
        try:
            self._inbound = Probe(lab.host(EXTERNAL_HOST), inbound)
        except HostError:
            self._outbound.stop()
            raise

    def stop(self) -> tuple[ProbeResult, ProbeResult]:
        """(outbound, inbound)"""
        return self._outbound.stop(), self._inbound.stop()

    def __enter__(self) -> BothWays:
        return self

    def __exit__(self, *details: object) -> None:
        self._outbound.__exit__(*details)
        self._inbound.__exit__(*details)
