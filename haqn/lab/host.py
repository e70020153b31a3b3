"""A lab host: a network, mount, PID and UTS namespace, kept alive by one sleeping process, the holder.

The holder is the host's process 1: when it is killed the kernel kills the whole host, as a power
cut does. It is found by a mark in its environment, so that a lab is found again with no record of it.
Within a host, /run (hence /run/netns and /run/haqn) and /var/lib/haqn are its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from haqn.exceptions import HostError
from haqn.lab import processes
from haqn.lab.command import detach, run
from haqn.lab.processes import Process, wait_until

_MARK = "HAQN_LAB_HOLDER"
_STATE_PATH = Path("/var/lib/haqn")
#: seconds
_START_TIME = 60.0
_QUIET_BRIDGES = [
    f"net.bridge.bridge-nf-call-{family}=0" for family in ("iptables", "ip6tables", "arptables")
]  # frames on a bridge are not to be filtered by IP rules of whoever lives on this machine


class Host:
    """A handle on one host of a lab, running or not."""

    def __init__(self, lab: str, name: str, directory: Path) -> None:
        self.lab = lab
        self.name = name
        #: of this host alone: configuration, logs, and what is /var/lib/haqn within
        self.directory = directory
        self._holder: int | None = None

    @property
    def log_dir(self) -> Path:
        return self.directory / "log"

    @property
    def state_dir(self) -> Path:
        """What is /var/lib/haqn within: it outlives a reboot of the host."""
        return self.directory / "lib"

    @property
    def holder(self) -> int:
        """The holder's process number; HostError if the host does not run."""
        if self._holder is None or not _holds(self._holder, self.lab, self.name):
            self._holder = holders(self.lab).get(self.name)
        if self._holder is None:
            raise HostError(f"cannot reach host {self.name} of lab {self.lab}: it is not running")
        return self._holder

    @property
    def running(self) -> bool:
        return self.name in holders(self.lab)

    def start(self) -> None:
        """Bring the host into being, with nothing in it but its own file systems; wires come later."""
        for directory in (self.log_dir, self.state_dir, _STATE_PATH):
            directory.mkdir(parents=True, exist_ok=True)
        for left_over in self.directory.glob("*.pid"):
            left_over.unlink()
        detach(
            [
                *("env", f"{_MARK}={self.lab}/{self.name}"),
                *("unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--mount-proc"),
                # with SIGCHLD ignored the kernel itself buries the orphans that process 1 inherits
                *("env", "--ignore-signal=CHLD", "sleep", "infinity"),
            ]
        )
        # the kernel makes no network namespace while it takes hundreds of others down
        wait_until(lambda: self.running, f"start host {self.name}", _START_TIME)
        for arguments in (
            ("hostname", self.name),
            ("mount", "-t", "sysfs", "sysfs", "/sys"),
            ("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"),
            ("mkdir", "/run/netns", "/run/haqn", "/run/lock"),
            ("mount", "--bind", str(self.state_dir), str(_STATE_PATH)),
            ("sysctl", "-e", "-q", "-w", *_QUIET_BRIDGES),
        ):
            self.run(arguments)

    def kill(self) -> None:
        """End the host at once, with everything that runs in it."""
        holder = holders(self.lab).get(self.name)
        if holder is None:
            return
        doomed = {holder, *(process.pid for process in processes.of_host(holder))}
        os.kill(holder, signal.SIGKILL)
        wait_until(lambda: not any(processes.read(pid) for pid in doomed), f"end host {self.name}")
        self._holder = None

    def enter(self, arguments: Sequence[str], *, namespace: str | None = None) -> list[str]:
        """The argument list that runs `arguments` within the host (or in a network namespace of its /run/netns)."""
        inside = ["ip", "netns", "exec", namespace, *arguments] if namespace else list(arguments)
        return ["nsenter", f"--target={self.holder}", "--net", "--mount", "--pid", "--uts", "--", *inside]

    def run(
        self,
        arguments: Sequence[str],
        *,
        namespace: str | None = None,
        text: str | None = None,
        check: bool = True,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the host to its end (see `haqn.lab.command.run`)."""
        return run(self.enter(arguments, namespace=namespace), text=text, check=check, timeout=timeout)

    def ip(self, *commands: str, namespace: str | None = None) -> None:
        """Carry out several `ip` commands in one go."""
        self.run(["ip", "-batch", "-"], namespace=namespace, text="".join(f"{line}\n" for line in commands))

    def query(self, *arguments: str, namespace: str | None = None) -> list[dict[str, object]]:
        """What `ip -json` (`bridge -json` if the first word is bridge) answers."""
        program, rest = ("bridge", arguments[1:]) if arguments[0] == "bridge" else ("ip", arguments)
        answer: list[dict[str, object]] = json.loads(
            self.run([program, "-json", "-details", *rest], namespace=namespace).stdout or "[]"
        )
        return answer

    def daemon(self, name: str, arguments: Sequence[str]) -> None:
        """Start a program that stays, with a pid file (numbers of the host) and a log file named after it.

        One that runs already is left alone.
        """
        if self.daemon_processes(name):
            return
        path = shutil.which(arguments[0])
        if path is None:
            raise HostError(f"cannot start {name} on {self.name}: there is no program {arguments[0]}")
        # its number may belong to something else by now
        self._pid_file(name).unlink(missing_ok=True)
        self.run(
            [
                *("start-stop-daemon", "--start", "--background"),
                *("--make-pidfile", "--pidfile", str(self._pid_file(name))),
                *("--output", str(self.log_dir / f"{name}.log")),
                *("--startas", path, "--", *arguments[1:]),
            ]
        )

    def daemon_processes(self, name: str) -> list[Process]:
        """The processes of that daemon, itself first; empty if it does not run."""
        try:
            inner_pid = int(self._pid_file(name).read_text())
        except (FileNotFoundError, ValueError):
            return []
        everything = self.processes()
        main = [process for process in everything if process.inner_pid == inner_pid]
        return processes.with_descendants(everything, main[0].pid) if main else []

    def processes(self) -> list[Process]:
        """All processes of the host."""
        return processes.of_host(self.holder)

    def _pid_file(self, name: str) -> Path:
        return self.directory / f"{name}.pid"


def holders(lab: str) -> dict[str, int]:
    """Host name -> process number of its holder, for each host of the lab that runs."""
    found: dict[str, int] = {}
    for pid in processes.all_pids():
        mark = processes.environment(pid).get(_MARK, "")
        owner, _, name = mark.partition("/")
        if owner == lab and _holds(pid, lab, name):
            found[name] = pid
    return found


def _holds(pid: int, lab: str, name: str) -> bool:
    """Whether this process is the holder: process 1 of a namespace that is complete (sleep comes last)."""
    process = processes.read(pid)
    return (
        process is not None
        and process.is_holder
        and process.name == "sleep"
        and processes.environment(pid).get(_MARK) == f"{lab}/{name}"
    )
