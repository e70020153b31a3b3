"""Who owns the processes that must outlive the agent: keepalived, the consumer of the failover program, and the
advertiser.

Without systemd each gets a session of its own. With it they must be units of their own, for a session is no protection
there: systemd ends everything in the control group of a unit that it stops, and children stay in it.
Knows processes; knows nothing of what they do.
"""

from __future__ import annotations

import enum
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from haqn.exceptions import HostError

_START_TIMEOUT = 10.0


class Supervisor(Protocol):
    """Starts one program at a time; how it ends is not its business."""

    def start(self, name: str, command: Sequence[str], log_file: Path | None = None) -> None:
        """Start the program so that nothing that ends this process ends it. Raises HostError.

        `name`: keepalived, failover or advertiser. `log_file` takes its output where no supervisor does.
        """
        ...


class OwnSession:
    """No supervisor: a process of its own session, no child of ours."""

    def start(self, name: str, command: Sequence[str], log_file: Path | None = None) -> None:
        if log_file is None:
            _run(name, ["setsid", "--fork", *command], None)
            return
        with log_file.open("ab") as log:
            _run(name, ["setsid", "--fork", *command], log.fileno())


class Systemd:
    """The units haqn-keepalived.service, haqn-failover.service and haqn-advertiser.service, which run what is in a file
    of `run_path`."""

    def __init__(self, run_path: Path) -> None:
        self._run_path = run_path

    def start(self, name: str, command: Sequence[str], log_file: Path | None = None) -> None:  # noqa: ARG002 - the journal has it
        (self._run_path / f"{name}.command").write_text(f'COMMAND="{" ".join(command)}"\n')
        _run(name, ["systemctl", "start", f"haqn-{name}.service"], None)


class Kind(enum.StrEnum):
    """The values of [agent] supervisor."""

    NONE = "none"
    SYSTEMD = "systemd"


def make(kind: Kind, run_path: Path) -> Supervisor:
    """The supervisor of this kind."""
    return Systemd(run_path) if kind is Kind.SYSTEMD else OwnSession()


def _run(name: str, command: Sequence[str], output: int | None) -> None:
    try:
        subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=_START_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise HostError(f"cannot start {name}: {error}") from error
