"""etcd by a name that the host knows, while no DNS server answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.etcd_cluster import Member
from tests.isolated import isolated

pytestmark = pytest.mark.functional

#: a process of its own: grpc's threads must be in the test's namespaces
_ASK = """
import sys
from haqn.coordination.client import Etcd
etcd = Etcd(sys.argv[1:], deadline=60.0)
etcd.put("/a", b"x")
print(etcd.get("/a").value.decode())
"""


@isolated
def test_hosts_of_the_file_are_found_without_dns(tmp_path: Path) -> None:
    for name, text in (("hosts", "127.0.0.1 etcd-here\n"), ("resolv.conf", "nameserver 192.0.2.53\n")):
        (tmp_path / name).write_text(text)
        subprocess.run(["mount", "--bind", tmp_path / name, Path("/etc", name).resolve()], check=True)
    # what is sent to the DNS server goes nowhere, and nothing says so
    for command in (
        "link add nowhere type veth peer name nobody",
        "address add 192.0.2.1/24 dev nowhere",
        "link set nowhere up",
        "link set nobody up",
        "neighbour add 192.0.2.53 lladdr 02:00:00:00:00:01 dev nowhere nud permanent",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    member = Member("m1", tmp_path / "etcd", 2380, 2379, "http")
    member.start(f"m1={member.peer_url}")
    try:
        said = subprocess.run(
            [sys.executable, "-c", _ASK, "etcd-here:2379"], capture_output=True, text=True, check=False, timeout=120
        )
        assert said.stdout == "x\n", said.stderr
    finally:
        member.kill()
