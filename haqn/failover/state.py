"""What the failover program and the agent keep about pairs, as small files in one directory.

`<pair>.role`   role level, a keepalived track_file (levels.py)
`<pair>.yield`  whether the member yields, a keepalived track_file: FAULT unless it is 0 (levels.py)
`<pair>.uplink` how many uplinks have a carrier and lead nowhere, a keepalived track_file (written by the agent)
`<pair>.peer`   `<HA address of the peer> <virtual router id>` (written by the agent)
`<pair>.state`  `<VRRP state> <sequence> <unix time of the transition>`
`<pair>.rows`   router ports to announce (written by the agent; see announce.py)
`<pair>.epoch`  the pair epoch that the agent has carried out (the agent keeps it in a directory that outlives a reboot)
`lock`          held while a pair's gate, role and state change together
`consumer.pid`  which process is the consumer, and its program (haqn/onlyone.py)
`refreshed`     touched by each of keepalived's checks: how the agent sees that keepalived is not frozen
`checked`       touched at the end of each check: how the agent sees that a reload has cut none short

Knows files; knows neither the gate nor keepalived. Imports little (no pathlib, dataclasses, contextlib), because
keepalived starts an interpreter for the refresh each second: 20 ms less of them each time.
"""

from __future__ import annotations

import fcntl
import os
import time

from haqn.failover.levels import MASTER, NO

CONSUMER = "consumer.pid"


class Observed:
    """The last VRRP transition of a pair on this host; `since` is a wall clock (seconds), for people."""

    __slots__ = ("sequence", "since", "state")

    def __init__(self, state: str, sequence: int, since: float) -> None:
        self.state = state
        self.sequence = sequence
        self.since = since


class Lock:
    """Excludes the other programs that change pairs on this host, while it is entered."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1

    def __enter__(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


class StateDirectory:
    """The files of all pairs of this host."""

    def __init__(self, path: str) -> None:
        self.path = path

    def locked(self) -> Lock:
        """A pair's gate, role and state change together under this lock."""
        return Lock(f"{self.path}/lock")

    def role_path(self, pair: int) -> str:
        return f"{self.path}/{pair}.role"

    def epoch_path(self, pair: int) -> str:
        return f"{self.path}/{pair}.epoch"

    def rows_path(self, pair: int) -> str:
        return f"{self.path}/{pair}.rows"

    def state_path(self, pair: int) -> str:
        return f"{self.path}/{pair}.state"

    def yield_path(self, pair: int) -> str:
        return f"{self.path}/{pair}.yield"

    def uplink_path(self, pair: int) -> str:
        return f"{self.path}/{pair}.uplink"

    def peer_path(self, pair: int) -> str:
        return f"{self.path}/{pair}.peer"

    def role(self, pair: int) -> int | None:
        """The role level; None when none was written yet."""
        return _number(self.role_path(pair))

    def yielding(self, pair: int) -> int | None:
        """The way of yielding; None when it was never said."""
        return _number(self.yield_path(pair))

    def write_yield(self, pair: int, way: int) -> None:
        """keepalived reads the file as soon as it is closed."""
        _write(self.yield_path(pair), way, self.yielding(pair))

    def released_since(self, pair: int, moment: float) -> bool:
        """Whether the member has ceased to yield after that moment (unix time)."""
        return self.yielding(pair) == NO and os.stat(self.yield_path(pair)).st_mtime > moment

    def dead_uplinks(self, pair: int) -> int | None:
        """The number of uplinks with a carrier that lead nowhere; None when it was never said."""
        return _number(self.uplink_path(pair))

    def write_dead_uplinks(self, pair: int, count: int) -> None:
        """keepalived reads the file as soon as it is closed."""
        _write(self.uplink_path(pair), count, self.dead_uplinks(pair))

    def peer(self, pair: int) -> tuple[str, int] | None:
        """(HA address, virtual router id) of the peer's half; None when it was never said."""
        try:
            address, vr_id = _read(self.peer_path(pair)).split()
            return address, int(vr_id)
        except (FileNotFoundError, ValueError):
            return None

    def write_peer(self, pair: int, address: str, vr_id: int) -> None:
        if self.peer(pair) != (address, vr_id):
            _replace(self.peer_path(pair), f"{address} {vr_id}\n")

    def epoch(self, pair: int) -> int:
        """The pair epoch that the agent has carried out; 0 when there was none."""
        return _number(self.epoch_path(pair)) or 0

    def write_epoch(self, pair: int, epoch: int) -> None:
        _replace(self.epoch_path(pair), f"{epoch}\n")

    def write_role(self, pair: int, level: int) -> None:
        """keepalived reads the file as soon as it is closed."""
        _write(self.role_path(pair), level, self.role(pair))

    def observed(self, pair: int) -> Observed | None:
        """The last transition; None when keepalived has not spoken yet."""
        try:
            state, sequence, since = _read(self.state_path(pair)).split()
            return Observed(state, int(sequence), float(since))
        except (FileNotFoundError, ValueError):
            return None

    def write_observed(self, pair: int, state: str) -> None:
        old = self.observed(pair)
        if old is None or old.state != state:
            _replace(self.state_path(pair), f"{state} {old.sequence + 1 if old else 1} {time.time():.3f}\n")

    def forget_observed(self, pair: int) -> None:
        """keepalived has no such instance any more."""
        if os.path.exists(self.state_path(pair)):
            os.unlink(self.state_path(pair))

    def rows(self, pair: int) -> list[str]:
        """The lines of the file; none when it is not there."""
        try:
            return _read(self.rows_path(pair)).splitlines()
        except FileNotFoundError:
            return []

    def write_rows(self, pair: int, lines: list[str]) -> None:
        """What to announce when the pair becomes MASTER (see announce.Row)."""
        if self.rows(pair) != lines:
            _replace(self.rows_path(pair), "".join(line + "\n" for line in lines))

    def masters(self) -> list[int]:
        """The pairs that are MASTER on this host."""
        return [pair for pair in sorted(self.pairs()) if self.is_master(pair)]

    def is_master(self, pair: int) -> bool:
        observed = self.observed(pair)
        return observed is not None and observed.state == MASTER

    def pairs(self) -> set[int]:
        """Every pair that any file speaks of."""
        stems = (name.partition(".")[0] for name in os.listdir(self.path))
        return {int(stem) for stem in stems if stem.isdigit()}

    def forget(self, pair: int) -> None:
        """Remove every file of the pair."""
        for name in os.listdir(self.path):
            if name.startswith(f"{pair}."):
                os.unlink(f"{self.path}/{name}")


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _number(path: str) -> int | None:
    try:
        return int(_read(path))
    except (FileNotFoundError, ValueError):
        return None


def _write(path: str, number: int, present: int | None) -> None:
    """For a file that keepalived watches: not replaced, so that one watch sees every change."""
    if number != present:
        with open(path, "w") as file:
            file.write(f"{number}\n")


def _replace(path: str, text: str) -> None:
    directory, _, name = path.rpartition("/")
    temporary = f"{directory}/.{name}.{os.getpid()}"
    with open(temporary, "w") as file:
        file.write(text)
    os.replace(temporary, path)
