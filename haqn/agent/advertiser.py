"""What routers of this host announce to IPv6 hosts: files for the advertiser, and the advertiser itself.

Knows files and one process; what is in a message is `ra`'s, when it is sent is the advertiser's (haqn.advertiser).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import haqn.advertiser
from haqn import onlyone
from haqn.advertiser import daemon
from haqn.keepalived.supervisor import Supervisor
from haqn.linux import netns

LOG = logging.getLogger(__name__)


class Advertiser:
    """The routers' advertisements. `write` and `remove` may be called from several threads, for a router each."""

    def __init__(self, run_path: Path, python: str, supervisor: Supervisor) -> None:
        self._directory = run_path / "advertiser"
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._supervisor = supervisor
        folder = Path(haqn.advertiser.__file__).parent
        files = [*sorted(folder.glob("*.py")), Path(onlyone.__file__)]
        sources = b"".join(path.read_bytes() for path in files)
        self._version = hashlib.blake2b(sources, digest_size=8).hexdigest()
        self._forget_lost()
        self._command = [python, "-SIE", str(folder / "run.py"), str(self._directory), self._version]

    def _forget_lost(self) -> None:
        """Files about namespaces that are gone; `write` makes those that are wanted again."""
        for file in self._directory.glob(f"*{daemon.SUFFIX}"):
            if not Path(file.read_text().partition(" ")[0]).exists():
                file.unlink()

    def write(self, router_id: str, namespace: str, messages: Mapping[int, bytes]) -> None:
        """What the router says: index of the device in its namespace -> message. Nothing changes if it says it already.

        Raises OSError.
        """
        if not messages:
            self.remove(router_id)
            return
        path = netns.DIRECTORY / namespace
        lines = [f"{path} {path.stat().st_ino}", *(f"{index} {messages[index].hex()}" for index in sorted(messages))]
        text = "".join(line + "\n" for line in lines)
        file = self._file(router_id)
        if file.exists() and file.read_text() == text:
            return
        new = file.with_suffix(".new")
        new.write_text(text)
        new.replace(file)

    def remove(self, router_id: str) -> None:
        """The router says nothing any more; what its namespace holds open is let go."""
        self._file(router_id).unlink(missing_ok=True)

    def ensure(self) -> None:
        """Start the process if there is something to say, replace one of another version, and end it when there is
        nothing. To be called now and then; raises HostError."""
        found = daemon.find(str(self._directory))
        needed = any(self._directory.glob(f"*{daemon.SUFFIX}"))
        if found is not None and (not needed or found[1] != self._version):
            LOG.info("ending advertiser %d", found[0])
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[0], signal.SIGTERM)
            found = None
        if needed and found is None:
            LOG.info("starting the advertiser")
            self._supervisor.start("advertiser", self._command)

    def _file(self, router_id: str) -> Path:
        return self._directory / f"{router_id}{daemon.SUFFIX}"
