"""haqn without hosts: API, monitor and agents of the noop backend as processes of this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from haqn.coordination.client import Etcd
from haqn.lab.client import Client, Resource
from haqn.lab.scenery import wait_for
from haqn.lab.spec import PHYSICAL_NETWORK
from tests.etcd_cluster import EtcdCluster
from tests.functional.api.server import Server

_PROGRAM = "import sys; from haqn.cmd.{0} import main; sys.exit(main(sys.argv[1:]))"
#: an agent that may do nothing that only root may
_UNPRIVILEGED = ("--bounding-set=-all", "--inh-caps=-all")


@dataclass(frozen=True)
class NoopCloud:
    """Three L3 agents that are bridge agents, too, and an external network."""

    client: Client
    etcd: Etcd
    external: Resource


@contextmanager
def noop_cloud(directory: Path) -> Iterator[NoopCloud]:
    """It ends with the context."""
    with ExitStack() as stack:
        etcd = stack.enter_context(EtcdCluster(directory / "etcd", size=1))
        server = stack.enter_context(Server(directory, etcd.endpoints, workers=1))

        def start(program: str, name: str, section: str, *privileges: str) -> None:
            config, log = directory / f"{name}.conf", (directory / f"{name}.log").open("wb")
            config.write_text(
                f"[DEFAULT]\nhost = {name}\nstate_path = {directory}/{name}\nrun_path = {directory}/{name}\n"
                f"[etcd]\nendpoints = {','.join(etcd.endpoints)}\nlease_ttl = 5\n"
                f"[database]\nconnection = {server.database_url}\n[{program}]\nmetrics_port = 0\n{section}"
            )
            command = [sys.executable, "-c", _PROGRAM.format(program), "--config-file", str(config)]
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *privileges, *command], stdout=log, stderr=log
            )
            stack.callback(log.close)
            stack.callback(process.wait, 30)
            stack.callback(process.kill)

        start("monitor", "mon1", "")
        for number in (1, 2, 3):
            options = f"backend = noop\nha_address = 192.0.2.{number}\nphysical_networks = {PHYSICAL_NETWORK}:none\n"
            start("agent", f"net{number}", options, *_UNPRIVILEGED)
        client = stack.enter_context(Client(server.url))
        wait_for("all agents are alive", lambda: sum(agent["alive"] for agent in client.find("agent")) == 6)
        provider = {"provider:network_type": "flat", "provider:physical_network": PHYSICAL_NETWORK}
        external = client.create("network", {"router:external": True, **provider})
        client.create("subnet", {"network_id": external["id"], "ip_version": 4, "cidr": "203.0.113.0/24"})
        yield NoopCloud(client, stack.enter_context(etcd.client()), external)
