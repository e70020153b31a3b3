"""A real Keystone on loopback: SQLite, Fernet tokens, served by gunicorn. It dies with the process that started it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys

import requests

from tests.etcd_cluster import free_ports
from tests.eventually import eventually

REGION = "RegionOne"
PASSWORD = "secret"  # of the user admin, in the project admin
_PROGRAMS = pathlib.Path(sys.executable).parent


class KeystoneServer:
    """Use it as a context manager; `url` is what --os-auth-url wants."""

    def __init__(self, directory: pathlib.Path, *, address: str = "127.0.0.1") -> None:
        (port,) = free_ports(1)
        self._bind = f"{address}:{port}"
        self.url = f"http://{self._bind}/v3"
        self.directory = directory
        self._config = directory / "keystone.conf"
        self._log = directory / "keystone.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def credentials(self) -> dict[str, str]:
        """Of the admin, as openstacksdk's `auth` wants them."""
        return {
            "auth_url": self.url,
            "username": "admin",
            "password": PASSWORD,
            "project_name": "admin",
            "user_domain_id": "default",
            "project_domain_id": "default",
        }

    def __enter__(self) -> KeystoneServer:
        try:
            self._prepare()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()

    def _prepare(self) -> None:
        for name in ("fernet", "credential"):
            (self.directory / name).mkdir(mode=0o700)
        self._config.write_text(
            f"[database]\nconnection = sqlite:///{self.directory}/keystone.sqlite\n"
            f"[fernet_tokens]\nkey_repository = {self.directory}/fernet\n"
            f"[fernet_receipts]\nkey_repository = {self.directory}/fernet\n"
            f"[credential]\nkey_repository = {self.directory}/credential\n"
            "[identity]\npassword_hash_rounds = 4\n[cache]\nenabled = false\n"
        )
        self._manage("db_sync")
        self._manage("fernet_setup", "--keystone-user", "root", "--keystone-group", "root")
        urls = [part for kind in ("admin", "public", "internal") for part in (f"--bootstrap-{kind}-url", self.url)]
        self._manage("bootstrap", "--bootstrap-password", PASSWORD, *urls, "--bootstrap-region-id", REGION)

    def _manage(self, *arguments: str) -> None:
        done = subprocess.run(
            [_PROGRAMS / "keystone-manage", "--config-file", self._config, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _start(self) -> None:
        # not on the command line, for Keystone reads that, too
        (self.directory / "gunicorn.conf.py").write_text(
            f"wsgi_app = 'keystone.wsgi.api:application'\nbind = '{self._bind}'\nthreads = 4\n"
            "control_socket_disable = True\n"
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", _PROGRAMS / "gunicorn"],
                cwd=self.directory,
                env={**os.environ, "OS_KEYSTONE_CONFIG_FILES": str(self._config)},
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, timeout=60)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            return requests.get(self.url, timeout=20).ok
        except (requests.ConnectionError, requests.Timeout):  # it imports much at the first request
            return False
