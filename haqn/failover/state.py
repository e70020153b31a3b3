"""What the failover program and the agent keep about pairs, as small files in one directory.

`<pair>.role`   role level, a keepalived track_file: 0 backup, 1 designated ACTIVE, 2 took over, 3 told to take over
`<pair>.state`  `<VRRP state> <sequence> <unix time of the transition>`
`<pair>.rows`   router ports to announce (written by the agent; see announce.py)
`<pair>.epoch`  the pair epoch that the agent has carried out (the agent keeps it in a directory that outlives a reboot)
`lock`          held while a pair's gate, role and state change together
`consumer.pid`  locked by the running consumer for as long as it lives
`refreshed`     touched by each of keepalived's checks: how the agent sees that keepalived is not frozen

Knows files; knows neither the gate nor keepalived. Imports little (no pathlib, dataclasses, contextlib), because
keepalived starts an interpreter for the refresh each second: 20 ms less of them each time.
"""

from __future__ import annotations

import fcntl
import os
import time

BACKUP_LEVEL = 0
DESIGNATED_LEVEL = 1
TOOK_OVER_LEVEL = 2
ORDERED_LEVEL = 3

MASTER = "MASTER"


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

    def role(self, pair: int) -> int | None:
        """The role level; None when none was written yet."""
        try:
            return int(_read(self.role_path(pair)))
        except (FileNotFoundError, ValueError):
            return None

    def epoch(self, pair: int) -> int:
        """The pair epoch that the agent has carried out; 0 when there was none."""
        try:
            return int(_read(self.epoch_path(pair)))
        except (FileNotFoundError, ValueError):
            return 0

    def raise_role(self, pair: int, level: int) -> None:
        """Write the role level unless it is that high already."""
        self.write_role(pair, max(level, self.role(pair) or BACKUP_LEVEL))

    def write_epoch(self, pair: int, epoch: int) -> None:
        _replace(self.epoch_path(pair), f"{epoch}\n")

    def write_role(self, pair: int, level: int) -> None:
        """keepalived reads the file as soon as it is closed."""
        if self.role(pair) != level:
            with open(self.role_path(pair), "w") as file:
                file.write(f"{level}\n")

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


def _replace(path: str, text: str) -> None:
    directory, _, name = path.rpartition("/")
    temporary = f"{directory}/.{name}.{os.getpid()}"
    with open(temporary, "w") as file:
        file.write(text)
    os.replace(temporary, path)
