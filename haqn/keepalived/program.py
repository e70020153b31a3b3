"""The failover program on this host: a copy out of the way of upgrades of the package, and its consumer.

The copy lies in a directory named by its digest; the link `failover` is switched to it atomically. The version before
stays until the agent starts again: a check that keepalived has just started may still have modules to load from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import signal
import time
from pathlib import Path

import haqn.failover
from haqn import onlyone
from haqn.exceptions import HostError
from haqn.failover import refresh
from haqn.keepalived.supervisor import OwnSession, Supervisor

LOG = logging.getLogger(__name__)

#: seconds that a consumer has to end in good order
_END_TIMEOUT = 1.0
#: seconds that a consumer has to start; the host may be busy
_START_TIMEOUT = 5.0
ENTRY = "failover/haqn/failover/run.py"


class Program:
    """The installed failover program of this host."""

    def __init__(
        self,
        run_path: Path,
        pairs_directory: str,
        fifo: str,
        python: str,
        gate_lease_ms: int,
        *,
        supervisor: Supervisor | None = None,
    ) -> None:
        """`supervisor`: default OwnSession."""
        self._supervisor = supervisor or OwnSession()
        entry = install(run_path)
        self._command = [python, "-SIE", str(entry)]
        self._version = str(entry.resolve())
        self._directory = pairs_directory
        self._fifo = fifo
        self._lease_ms = gate_lease_ms

    @property
    def command(self) -> str:
        """The command line, to which keepalived.conf adds a verb and arguments."""
        return " ".join(self._command)

    def ensure_consumer(self) -> None:
        """Start the consumer, or replace one of another version. What waits in the FIFO is read by the next one."""
        found = refresh.find_consumer(self._directory)
        if found is not None and found[1] == self._version:
            return
        if found is not None:
            LOG.info("replacing failover consumer %d by this version's", found[0])
            self._end(found[0])
        command = [*self._command, "consume", self._directory, str(self._lease_ms), self._fifo]
        self._supervisor.start("failover", command)
        if refresh.wait_for_consumer(self._directory, _START_TIMEOUT) is None:
            raise HostError(f"cannot start the failover consumer: it is not there after {_START_TIMEOUT:g} s")

    def stop_consumer(self) -> None:
        """End it; nothing happens when it does not run."""
        found = refresh.find_consumer(self._directory)
        if found is not None:
            self._end(found[0])

    def _end(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _END_TIMEOUT
            while refresh.find_consumer(self._directory) is not None:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                    return
                time.sleep(0.02)


def _sources() -> dict[str, bytes]:
    """Path below the package `haqn` -> content: the program, and the one module that it shares with others."""
    package = Path(haqn.failover.__file__).parent
    files = [*sorted(package.glob("*.py")), Path(onlyone.__file__)]
    return {str(path.relative_to(package.parent)): path.read_bytes() for path in files}


def install(run_path: Path) -> Path:
    """Install this version below `run_path`; returns the path of its entry point, the same for all versions."""
    sources = _sources()
    digest = hashlib.blake2b(repr(sorted(sources.items())).encode(), digest_size=8).hexdigest()
    target = run_path / f"failover-{digest}"
    if not target.exists():
        unfinished = run_path / f".failover-{digest}"
        shutil.rmtree(unfinished, ignore_errors=True)
        package = unfinished / "haqn"
        (package / "failover").mkdir(parents=True)
        (package / "__init__.py").touch()
        for path, content in sources.items():
            (package / path).write_bytes(content)
        unfinished.replace(target)
    link, new_link = run_path / "failover", run_path / ".failover"
    in_use = {target.name, link.readlink().name if link.is_symlink() else ""}
    new_link.unlink(missing_ok=True)
    new_link.symlink_to(target.name)
    new_link.replace(link)
    for other in run_path.glob("failover-*"):
        if other.name not in in_use:
            shutil.rmtree(other, ignore_errors=True)
    return run_path / ENTRY
