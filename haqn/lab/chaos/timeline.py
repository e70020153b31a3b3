"""What the looks at the gates and the frames on the wires say together. Pure.

Times are seconds of the wall clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from haqn.model import FIRST_PAIR_ID

#: seconds around a frame for which its gate must have been seen shut before the frame counts as stray: the looks are
#: not exactly when the frames are
_MARGIN = 0.35


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one host at one moment: device groups of the ports' devices, and the groups that are open.

    `time`: before it was seen, `until`: after that; on a busy machine a good while may be between them.
    """

    time: float
    host: str
    #: device -> its group
    taps: Mapping[str, int]
    open: frozenset[int]
    until: float = 0.0

    def passes(self, tap: str) -> bool:
        """Frames of that device get in and out of the host."""
        group = self.taps.get(tap)
        return group is not None and (group in self.open or group < FIRST_PAIR_ID)

    def forwards(self, taps: Iterable[str]) -> bool:
        """Frames of one of the devices do."""
        return any(self.passes(tap) for tap in taps)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A frame with a router's MAC that came from a host."""

    time: float
    host: str
    mac: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """A time for which two hosts or more let frames of a router pass."""

    seconds: float = 0.0
    began: float = 0.0
    #: each with the device groups that were open for the router then, at its end
    hosts: tuple[str, ...] = ()


def longest_overlap(looks: Iterable[Look], taps: Collection[str], start: float) -> Overlap:
    """The longest one of those devices, from `start` on."""
    forwards: dict[str, Look] = {}
    began: float | None = None
    longest = Overlap()
    for look in looks:
        forwards.pop(look.host, None)
        if look.forwards(taps):
            forwards[look.host] = look
        if len(forwards) > 1:
            began = max(look.time, start) if began is None else began
            if look.time - began > longest.seconds:
                hosts = tuple(f"{one.host} {_groups(one, taps)}" for one in forwards.values())
                longest = Overlap(look.time - began, began, hosts)
        else:
            began = None
    return longest


def _groups(look: Look, taps: Collection[str]) -> str:
    """The groups of the devices that pass, as people read them."""
    return ",".join(str(group) for group in sorted({look.taps[tap] for tap in taps if look.passes(tap)}))


def stray(looks: Sequence[Look], sightings: Iterable[Sighting], taps: Mapping[str, str]) -> list[Sighting]:
    """Frames that came from a host although their device's gate was shut there, before and after as well.

    `taps`: MAC -> device.
    """
    by_host: dict[str, list[Look]] = {}
    for look in looks:
        by_host.setdefault(look.host, []).append(look)
    return [one for one in sightings if _is_stray(by_host.get(one.host, []), one, taps[one.mac])]


def _is_stray(looks: Sequence[Look], sighting: Sighting, tap: str) -> bool:
    around = [look for look in looks if abs(look.time - sighting.time) <= _MARGIN]
    seen = any(max(look.time, look.until) < sighting.time for look in around) and any(
        look.time > sighting.time for look in around
    )
    # looks that are too far apart tell nothing of what was between them
    close = all(after.time - before.time < _MARGIN for before, after in itertools.pairwise(around))
    return seen and close and not any(look.passes(tap) for look in around)
