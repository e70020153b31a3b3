"""A real etcd cluster on loopback whose members can be killed, frozen and wiped one by one.

The members die with the process that started them, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from haqn.coordination.client import Etcd
from haqn.exceptions import CoordinationError
from tests.eventually import eventually

_START_DEADLINE = 30.0


class Member:
    """One etcd process."""

    def __init__(self, name: str, directory: pathlib.Path, peer_port: int, client_port: int, scheme: str) -> None:
        self.name = name
        self.directory = directory
        self.peer_url = f"http://127.0.0.1:{peer_port}"
        self.client_url = f"{scheme}://127.0.0.1:{client_port}"
        self.endpoint = f"127.0.0.1:{client_port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, initial_cluster: str, extra: Sequence[str] = ()) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "etcd"),
                    *("--name", self.name),
                    *("--data-dir", str(self.directory / "data")),
                    *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
                    *("--listen-client-urls", self.client_url, "--advertise-client-urls", self.client_url),
                    *("--initial-cluster", initial_cluster),
                    "--pre-vote",
                    *("--logger", "zap", "--log-level", "warn"),
                    *extra,
                ],
                stdout=log,
                stderr=log,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9, also when frozen or not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # a thread that is on a processor stops a moment later
        tasks = pathlib.Path(f"/proc/{self._process.pid}/task")
        eventually(lambda: all("State:\tT" in (task / "status").read_text() for task in tasks.iterdir()))

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Forget all data; the member must not be running."""
        assert not self.running
        shutil.rmtree(self.directory / "data", ignore_errors=True)


class EtcdCluster:
    """Members in the order of their names; use it as a context manager."""

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        size: int = 3,
        extra: Sequence[str] = (),
        scheme: str = "http",
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        """`extra` are more options of etcd; `credentials` are what a client of it needs, as `Etcd` names them."""
        ports = free_ports(2 * size)
        self.members = [
            Member(f"m{number}", directory / f"m{number}", ports[2 * number], ports[2 * number + 1], scheme)
            for number in range(size)
        ]
        self._extra = extra
        self.credentials = dict(credentials or {})

    @property
    def endpoints(self) -> list[str]:
        return [member.endpoint for member in self.members]

    def __enter__(self) -> EtcdCluster:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *, wait: bool = True) -> None:
        """Start those members that do not run, and wait until the cluster answers."""
        for member in self.members:
            if not member.running:
                self.start_member(member)
        if wait:
            self.wait_healthy()

    def start_member(self, member: Member) -> None:
        member.start(",".join(f"{each.name}={each.peer_url}" for each in self.members), self._extra)

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    def member_at(self, endpoint: str) -> Member:
        return next(member for member in self.members if member.endpoint == endpoint)

    def wait_healthy(self) -> None:
        """Until every member answers linearizable reads."""
        end = time.monotonic() + _START_DEADLINE
        for member in self.members:
            with contextlib.closing(
                Etcd([member.endpoint], call_timeout=1.0, deadline=1.0, **self.credentials)
            ) as etcd:
                while True:
                    try:
                        etcd.get("health")
                        break
                    except CoordinationError:
                        if time.monotonic() > end:
                            log = (member.directory / "log").read_text()[-2000:]
                            raise AssertionError(f"etcd {member.name} does not answer:\n{log}") from None

    def repair(self) -> None:
        """Thaw and restart whatever a test has left frozen or dead."""
        for member in self.members:
            if member.running:
                member.thaw()
        self.start()

    def move_leader(self, target: Member) -> None:
        """Make `target` the leader; all members must run."""
        members = [line.split(", ") for line in self.etcdctl("member", "list").splitlines()]
        target_id = next(fields[0] for fields in members if fields[2] == target.name)
        # Only the leader carries that out, and the order goes to one endpoint.
        status = json.loads(self.etcdctl("endpoint", "status", "--write-out", "json"))
        leader = next(each for each in status if each["Status"]["leader"] == each["Status"]["header"]["member_id"])
        if leader["Endpoint"] != target.endpoint:
            self.etcdctl("move-leader", target_id, endpoints=[leader["Endpoint"]])

    def etcdctl(self, *arguments: str, endpoints: Sequence[str] = ()) -> str:
        """Run etcdctl (API 3) against `endpoints`, else the members that run; returns its output."""
        chosen = endpoints or [member.endpoint for member in self.members if member.running]
        done = subprocess.run(
            ["etcdctl", "--endpoints", ",".join(chosen), *arguments],
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout

    @contextlib.contextmanager
    def client(self, first: Member | None = None, **options: Any) -> Iterator[Etcd]:
        """A client of all members that begins with `first`, or with any."""
        etcd = Etcd(self.endpoints, **self.credentials, **options)
        if first is not None:
            begin_with(etcd, first.endpoint)
        try:
            yield etcd
        finally:
            etcd.close()


def begin_with(etcd: Etcd, endpoint: str) -> None:
    """Have a client that is not connected yet use this endpoint first."""
    while etcd.connections.current_endpoint != endpoint:
        etcd.connections.drop(etcd.connections.current_endpoint, None, rotate=True)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
