"""A real Keystone over SQLite on a free port: projects, users with roles, a catalog. Dies with the test process.

As a program (`python -m tests.keystone_server DIRECTORY ADDRESS PORT`) it makes its database, if there is none yet,
and serves.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator

import requests

from tests.etcd_cluster import free_ports
from tests.eventually import eventually

PASSWORD = "secret"
REGION = "RegionOne"


class Keystone:
    """Use it as a context manager. There is the user `admin` in the project `admin`; every password is PASSWORD."""

    def __init__(self, directory: pathlib.Path, *, address: str = "127.0.0.1") -> None:
        self._directory = directory
        self._address = address
        (self.port,) = free_ports(1)
        self.url = f"http://{address}:{self.port}/v3"

    def __enter__(self) -> Keystone:
        self._directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-W", "ignore", "-m", "tests.keystone_server"]
        command += [str(self._directory), self._address, str(self.port)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdout=log, stderr=log)
        try:
            eventually(self._answers, timeout=120)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def log_file(self) -> pathlib.Path:
        return self._directory / "log"

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log_file.read_text()[-3000:]
        try:
            return requests.get(self.url, timeout=5).ok
        except requests.ConnectionError:
            return False

    def environment(self, user: str = "admin", project: str = "admin") -> dict[str, str]:
        """What the `openstack` command needs to be this user in this project."""
        return {
            "OS_AUTH_URL": self.url,
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_REGION_NAME": REGION,
        }

    def middleware_options(self, user: str) -> str:
        """[keystone_authtoken] of a service that checks tokens as this user of the project `service`."""
        return (
            f"[keystone_authtoken]\nwww_authenticate_uri = {self.url}\nauth_url = {self.url}\nauth_type = password\n"
            f"username = {user}\npassword = {PASSWORD}\nproject_name = service\n"
            "user_domain_name = Default\nproject_domain_name = Default\nservice_type = network\n"
        )

    @contextlib.contextmanager
    def admin(self) -> Iterator[requests.Session]:
        """A session whose requests carry an admin's token."""
        with requests.Session() as session:
            session.headers["X-Auth-Token"] = self.token()
            yield session

    def token(self, user: str = "admin", project: str | None = "admin") -> str:
        """A token of the user; of no project if that is None."""
        domain = {"id": "default"}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": PASSWORD}},
        }
        scope = {} if project is None else {"scope": {"project": {"name": project, "domain": domain}}}
        answer = requests.post(f"{self.url}/auth/tokens", json={"auth": {"identity": identity, **scope}}, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def add_user(self, name: str, project: str, *roles: str) -> str:
        """The user, and the project if need be, with these roles in it; returns the project's id."""
        with self.admin() as session:
            found = session.get(f"{self.url}/projects", params={"name": project}, timeout=30).json()["projects"]
            wanted = {"name": project, "domain_id": "default"}
            project_id = found[0]["id"] if found else self._create(session, "project", wanted)
            user_id = self._create(session, "user", {"name": name, "password": PASSWORD, "domain_id": "default"})
            ids = {role["name"]: role["id"] for role in session.get(f"{self.url}/roles", timeout=30).json()["roles"]}
            for role in roles:
                path = f"{self.url}/projects/{project_id}/users/{user_id}/roles/{ids[role]}"
                session.put(path, timeout=30).raise_for_status()
        return project_id

    def add_service(self, kind: str, name: str, url: str) -> None:
        """A service in the catalog, with its public endpoint."""
        with self.admin() as session:
            service_id = self._create(session, "service", {"type": kind, "name": name})
            endpoint = {"service_id": service_id, "interface": "public", "url": url, "region_id": REGION}
            self._create(session, "endpoint", endpoint)

    def _create(self, session: requests.Session, kind: str, values: dict[str, str]) -> str:
        answer = session.post(f"{self.url}/{kind}s", json={kind: values}, timeout=30)
        assert answer.status_code == 201, answer.text
        created: str = answer.json()[kind]["id"]
        return created


_CONFIGURATION = """
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{directory}/keystone.sqlite
[fernet_tokens]
key_repository = {directory}/tokens
[fernet_receipts]
key_repository = {directory}/receipts
[credential]
key_repository = {directory}/credentials
[identity]
password_hash_rounds = 4
"""


def _manage(main: Callable[[list[str]], None], arguments: list[str]) -> None:
    """Run one command in a child: it changes global state, and importing it takes longer than it runs."""
    child = os.fork()
    if child == 0:
        try:
            main(arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        sys.exit(f"cannot set Keystone up: {' '.join(arguments)} failed")


def _serve(directory: pathlib.Path, address: str, port: int) -> None:
    # slow to import, and the tests' own process has no use for them
    from keystone.cmd import cli  # noqa: PLC0415
    from keystone.server import wsgi  # noqa: PLC0415
    from werkzeug.serving import run_simple  # noqa: PLC0415

    file = directory / "keystone.conf"
    if not file.exists():
        file.write_text(_CONFIGURATION.format(directory=directory))
        owner = ["--keystone-user", "root", "--keystone-group", "root"]
        bootstrap = ["--bootstrap-password", PASSWORD, "--bootstrap-region-id", REGION]
        # keystonemiddleware asks for the internal one
        for interface in ("public", "internal"):
            bootstrap += [f"--bootstrap-{interface}-url", f"http://{address}:{port}/v3"]
        for command in (
            ["db_sync"],
            ["fernet_setup", *owner],
            ["credential_setup", *owner],
            ["bootstrap", *bootstrap],
        ):
            _manage(cli.main, ["keystone-manage", "--config-file", str(file), *command])
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(file)
    del sys.argv[1:]  # Keystone would read them
    application = wsgi.initialize_public_application()
    run_simple(address, port, application, threaded=True)


if __name__ == "__main__":
    _serve(pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
