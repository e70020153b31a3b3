"""keepalived as a process: write, test, start, reload, adopt, replace.

keepalived is started by a supervisor (`haqn.keepalived.supervisor`), so that it outlives the agent; a new agent adopts
it by its pid file. Knows processes and files; knows nothing of pairs' meaning.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from pathlib import Path

from haqn.exceptions import HostError
from haqn.keepalived.supervisor import OwnSession, Supervisor

LOG = logging.getLogger(__name__)

_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 5.0
#: seconds between looks whether it has started or ended
_LOOK = 0.01


class Daemon:
    """The keepalived whose files are in `directory`."""

    def __init__(
        self,
        directory: Path,
        log_file: Path,
        binary: str = "/usr/sbin/keepalived",
        supervisor: Supervisor | None = None,
    ) -> None:
        """`supervisor`: default OwnSession."""
        self._supervisor = supervisor or OwnSession()
        self._binary = binary
        self.config = directory / "keepalived.conf"
        self._pid_file = directory / "keepalived.pid"
        self._vrrp_pid_file = directory / "vrrp.pid"
        self._log_file = log_file

    def pid(self) -> int | None:
        """The running daemon's process id; None when it does not run."""
        return self._running(self._pid_file)

    def vrrp_pid(self) -> int | None:
        """The process id of its VRRP child; None when that does not run."""
        return self._running(self._vrrp_pid_file)

    def _running(self, pid_file: Path) -> int | None:
        try:
            pid = int(pid_file.read_text())
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition(" (")[2].rpartition(") ")
        except (OSError, ValueError):
            return None
        return pid if name == Path(self._binary).name and not rest.startswith("Z") else None

    def test(self, text: str) -> None:
        """Have keepalived itself read the configuration. Raises HostError with what it says."""
        candidate = self.config.with_suffix(".candidate")
        candidate.write_text(text)
        candidate.chmod(0o600)
        result = subprocess.run(
            [self._binary, "-t", "-f", str(candidate)], capture_output=True, text=True, check=False, timeout=30
        )
        if result.returncode:
            complaint = " ".join((result.stderr + result.stdout).split())
            raise HostError(f"cannot use keepalived.conf: keepalived -t says: {complaint}")

    def configuration(self) -> str | None:
        """The configuration that it runs with, or would be started with; None: there is none yet."""
        return self.config.read_text() if self.config.exists() else None

    def would_reload(self, text: str) -> bool:
        """Whether `apply` would make a running daemon read another configuration."""
        return self.pid() is not None and self.configuration() != text

    def has_settled(self, sign: Path) -> bool:
        """Whether the file `sign`, which one of the daemon's scripts touches, was touched since the configuration that
        it runs with was written."""
        try:
            return sign.stat().st_mtime_ns > self.config.stat().st_mtime_ns
        except FileNotFoundError:
            return False

    def apply(self, text: str) -> bool:
        """Make the daemon run with this configuration; an identical one is left alone. True: something was done.

        Raises HostError when keepalived refuses it (the daemon goes on with the old one) or does not start.
        """
        current, pid = self.configuration(), self.pid()
        if current == text and pid is not None:
            return False
        if current != text:
            self.test(text)
            self.config.with_suffix(".candidate").replace(self.config)
        if pid is None:
            self._start()
        else:
            LOG.info("reloading keepalived %d", pid)
            os.kill(pid, signal.SIGHUP)
        return True

    def _start(self) -> None:
        # a pid file that survived a crash may name a process that is something else now
        self._pid_file.unlink(missing_ok=True)
        self._vrrp_pid_file.unlink(missing_ok=True)
        # not as a daemon, for Debian's keepalived logs to a file in no other way; the supervisor keeps it alive
        command = [self._binary, "--vrrp", "-f", str(self.config), "-p", str(self._pid_file)]
        command += ["-r", str(self._vrrp_pid_file), "--dont-fork", "--log-console", "--log-detail", "--no-syslog"]
        self._supervisor.start("keepalived", command, self._log_file)
        deadline = time.monotonic() + _START_TIMEOUT
        while self.vrrp_pid() is None:
            if time.monotonic() > deadline:
                raise HostError(
                    f"cannot start keepalived: no process after {_START_TIMEOUT:.0f} s, see {self._log_file}"
                )
            time.sleep(_LOOK)
        LOG.info("started keepalived %d", self.pid() or 0)

    def kill(self) -> None:
        """End a keepalived that does not answer, without letting it speak (its peer has taken over)."""
        for pid in (self.pid(), self.vrrp_pid()):
            if pid is not None:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        deadline = time.monotonic() + _STOP_TIMEOUT
        while (self.pid() or self.vrrp_pid()) and time.monotonic() < deadline:
            time.sleep(_LOOK)

    def stop(self) -> None:
        """End it in good order: it gives its pairs to their peers first. Nothing happens when it does not run."""
        pid = self.pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT
        while self.pid() == pid:
            if time.monotonic() > deadline:
                self.kill()
                return
            time.sleep(_LOOK)
