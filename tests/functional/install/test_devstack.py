"""The devstack plugin's phases on three hosts, with a real Keystone, MariaDB and etcd; see devstack.sh for what is not
devstack's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from haqn.lab import services
from haqn.lab.cluster import Lab
from haqn.lab.command import environment
from haqn.lab.scenery import wait_for
from haqn.lab.services import Service
from haqn.lab.spec import API_PORT, ETCD_PORT, Kind, LabSpec
from tests.functional.install.identity import Identity
from tests.functional.system.stage import lab_name, sweep
from tests.keystone_server import REGION, Keystone
from tests.sql_servers import MariaDB

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("devstack.sh")
STACK = ("pre-install", "install", "post-config", "extra")

pytestmark = pytest.mark.functional


class Devstack:
    """A controller and two network hosts; each has a local.conf of its own."""

    def __init__(self, lab: Lab, keystone: Keystone, database: MariaDB, directory: Path) -> None:
        self.lab = lab
        self.hosts = [host.name for host in lab.spec.of_kind(Kind.CONTROL, Kind.NETWORK)]
        self.network_hosts = [host.name for host in lab.spec.of_kind(Kind.NETWORK)]
        self.environment = environment() | keystone.environment() | {"PYTHONPATH": str(ROOT)}
        self._directory = directory
        for host in self.hosts:
            self.directory(host).mkdir()
            self._write_localrc(host, keystone, database)

    def directory(self, host: str) -> Path:
        return self._directory / host

    def _write_localrc(self, host: str, keystone: Keystone, database: MariaDB) -> None:
        spec, directory = self.lab.spec, self.directory(host)
        (control,) = spec.of_kind(Kind.CONTROL)
        elsewhere = "haqn-l3" if host == control.name else "haqn-api haqn-mon"
        settings = {
            "DEST": ROOT.parent,
            "HAQN_DIR": ROOT,
            "DATA_DIR": directory / "data",
            "HAQN_CONF_DIR": directory / "etc",
            "STACK_USER": "root",
            "HOST_IP": spec.host(host).address,
            "SERVICE_HOST": control.address,
            "SERVICE_LISTEN_ADDRESS": "0.0.0.0",
            "ETCD_PORT": ETCD_PORT,
            "REGION_NAME": REGION,
            "SERVICE_PASSWORD": "another secret",
            "SERVICE_PROJECT_NAME": "service",
            "SERVICE_DOMAIN_NAME": "Default",
            "KEYSTONE_SERVICE_URI": keystone.url,
            "DATABASE_SOCKET": database.directory / database.socket_name,
            "HARNESS_DIR": directory,
            "HARNESS_PYTHON": sys.executable,
            "HAQN_AGENT_ROLES": "l3",
            "HAQN_SUPERVISOR": "none",
        }
        lines = [f"{name}='{value}'" for name, value in settings.items()]
        (directory / "localrc").write_text("\n".join([*lines, f"disable_service {elsewhere}", ""]))

    def phase(self, host: str, *words: str) -> None:
        """Run one phase on the host, as stack.sh does."""
        done = subprocess.run(
            self.lab.host(host).enter(["bash", str(SCRIPT), str(self.directory(host) / "localrc"), *words]),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{host} {words}: {done.stdout}{done.stderr}{self._logs(host)}"

    def _logs(self, host: str) -> str:
        return "".join(f"\n{log}:\n{log.read_text()[-2000:]}" for log in self.directory(host).glob("haqn-*.log"))

    def everywhere(self, *words: str) -> None:
        with ThreadPoolExecutor(len(self.hosts)) as executor:
            list(executor.map(lambda host: self.phase(host, *words), self.hosts))

    def programs(self, host: str) -> list[str]:
        """Command lines of what the plugin has started there."""
        lines = []
        for process in self.lab.host(host).processes():
            line = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if "/haqn.conf" in line or "/run/haqn" in line:
                lines.append(line)
        return lines

    def services(self, host: str) -> list[str]:
        """The same without what an agent has started, which it does in its own time."""
        return [line for line in self.programs(host) if "/haqn.conf" in line]

    def routers(self, host: str) -> list[str]:
        return [ns for ns in self.lab.host(host).run(["ip", "netns", "list"]).stdout.split() if "qrouter-" in ns]


@pytest.fixture
def devstack(tmp_path: Path) -> Iterator[Devstack]:
    sweep()
    lab = Lab(lab_name("d"))
    try:
        lab.build(LabSpec(hosts=2, computes=0, etcd=1))
        services.start(lab, Service("ctl1", "etcd1"))
        with MariaDB() as database, Keystone(tmp_path / "keystone", address=lab.spec.root_address) as keystone:
            yield Devstack(lab, keystone, database, tmp_path)
    finally:
        lab.destroy(forget=True)


def openstack(devstack: Devstack, *arguments: str) -> dict[str, object]:
    """The command line as a user has it: a token from Keystone, the API's address from its catalog."""
    command = [str(Path(sys.executable).parent / "openstack"), *arguments, "-f", "json"]
    done = subprocess.run(
        command, env=os.environ | devstack.environment | {"PYTHONWARNINGS": "ignore"}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(400)  # a stack starts many programs: where others keep the processors busy it takes its time
def test_a_stack_makes_an_ha_router_active_and_leaves_nothing_behind(devstack: Devstack) -> None:
    for phase in STACK:
        devstack.everywhere("stack", phase)
    for host, expected in (("ctl1", 4), ("net1", 1), ("net2", 1)):  # the API is three processes
        assert len(devstack.services(host)) == expected, devstack.programs(host)
    # each phase again, on what it has made
    for phase in STACK[:2]:
        devstack.phase("ctl1", "stack", phase)
    devstack.phase("net1", "stack", "post-config")
    devstack.everywhere("stack", "extra")
    for host, expected in (("ctl1", 4), ("net1", 1), ("net2", 1)):
        assert len(devstack.services(host)) == expected, devstack.programs(host)

    router = openstack(devstack, "router", "create", "--ha", "r1")
    who = ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME")
    keystone = Identity(*(devstack.environment[name] for name in who))
    (control,) = devstack.lab.spec.of_kind(Kind.CONTROL)
    url = f"http://{control.address}:{API_PORT}/v2.0/routers/{router['id']}"
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(url, timeout=10).status_code == 401
        session.headers["X-Auth-Token"] = keystone.token
        wait_for("the router is ACTIVE", lambda: session.get(url, timeout=10).json()["router"]["status"] == "ACTIVE")
    for host in devstack.network_hosts:
        wait_for(f"{host} has the router", lambda host=host: devstack.routers(host) == [f"qrouter-{router['id']}"])
        assert any("keepalived" in line for line in devstack.programs(host))

    for _ in range(2):
        devstack.everywhere("unstack")
        for host in devstack.hosts:
            wait_for(f"{host} is empty", lambda host=host: not devstack.programs(host), 10)
            assert devstack.routers(host) == []

    # a second stack.sh registers nothing twice
    devstack.phase("ctl1", "stack", "post-config")
    (service,) = keystone.find("services", type="network")
    endpoints = keystone.find("endpoints", service_id=service["id"])
    assert sorted(one["interface"] for one in endpoints) == ["admin", "internal", "public"]
    assert {one["url"] for one in endpoints} == {f"http://{control.address}:{API_PORT}/"}

    for _ in range(2):
        devstack.everywhere("clean")
        assert not (devstack.directory("net1") / "etc").exists()
        assert not (devstack.directory("net1") / "data" / "haqn").exists()
    assert "haqn" not in devstack.lab.host("net1").run(["nft", "list", "tables"]).stdout
