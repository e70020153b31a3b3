"""haqn-api as it is installed: gunicorn with worker processes, on a free port."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import requests

from haqn.db import schema
from tests.etcd_cluster import free_ports
from tests.eventually import eventually

PROGRAM = "import sys; from haqn.cmd.api import main; sys.exit(main(sys.argv[1:]))"


class Server:
    """One haqn-api over a database of its own; dies with the test process."""

    def __init__(
        self,
        directory: pathlib.Path,
        endpoints: Sequence[str],
        *,
        workers: int = 3,
        url: str = "",
        api: Mapping[str, object] | None = None,
        more: str = "",
        program: str = PROGRAM,
    ) -> None:
        """`api` are more options of that section, `more` is more of the configuration file; `program` is Python."""
        self._program = program
        self.database_url = url or f"sqlite:///{directory}/haqn.sqlite"
        self.log_file = directory / "log"
        (port,) = free_ports(1)
        options: dict[str, object] = {
            **{"auth_strategy": "noauth", "bind_port": port, "workers": workers, "threads": 4, "vni_max": 400},
            **{"project_rate": 0, "address_rate": 0},
            **(api or {}),
        }
        self.url = f"{'https' if 'tls_cert' in options else 'http'}://127.0.0.1:{port}"
        #: what asks whether it answers
        self.session = requests.Session()
        self._config = directory / "haqn.conf"
        self._config.write_text(
            f"[database]\nconnection = {self.database_url}\n"
            f"[etcd]\nendpoints = {','.join(endpoints)}\n"
            "[api]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()) + more
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM"),
                    *(sys.executable, "-c", self._program, "--config-file", str(self._config)),
                ],
                stdout=log,
                stderr=log,
            )

    def workers(self) -> list[int]:
        """Their process ids."""
        assert self.process is not None
        master = self.process.pid
        return [int(pid) for pid in pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()]

    def wait(self) -> None:
        eventually(self._answers, timeout=120)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_file.read_text()
        try:
            return self.session.get(f"{self.url}/healthz", timeout=5).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def __enter__(self) -> Server:
        schema.upgrade(self.database_url)
        self.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.stop()
