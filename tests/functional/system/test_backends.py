"""What the API promises of routers holds with every backend: one story, told by the API alone, with each of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from haqn.lab.client import ApiError, Client, Resource
from haqn.lab.scenery import wait_for
from haqn.lab.spec import PHYSICAL_NETWORK
from tests.etcd_cluster import EtcdCluster
from tests.functional.api.server import Server

pytestmark = pytest.mark.functional

_PROGRAM = "import sys; from haqn.cmd.{0} import main; sys.exit(main(sys.argv[1:]))"
#: an agent that may do nothing that only root may
_UNPRIVILEGED = ("--bounding-set=-all", "--inh-caps=-all")


@dataclass(frozen=True)
class Cloud:
    """haqn with three L3 agents."""

    client: Client
    external: Resource


@contextmanager
def noop_cloud(directory: Path) -> Iterator[Cloud]:
    """API, monitor and agents as processes of this machine; there are no hosts."""
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
        yield Cloud(client, external)


@pytest.fixture(params=["noop", "linuxbridge"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    if request.param == "noop":
        with noop_cloud(tmp_path) as made:
            yield made
    else:
        stage = request.getfixturevalue("stage")
        yield Cloud(stage.client, stage.scenario.external)


def of_haqn(client: Client, kind: str, object_id: str) -> Resource:
    found: Resource = client.request("GET", f"/v2.0/haqn/{kind}s/{object_id}")[kind]
    return found


def test_the_story_of_a_router(cloud: Cloud) -> None:
    client = cloud.client
    network = client.create("network", {"name": "story"})
    subnet = client.create("subnet", {"network_id": network["id"], "ip_version": 4, "cidr": "10.99.0.0/24"})
    vm = client.create("port", {"network_id": network["id"]})
    gateway = {"network_id": cloud.external["id"]}
    router = client.create("router", {"name": "story", "external_gateway_info": gateway})
    router_id = router["id"]
    client.add_interface(router_id, subnet["id"])

    def states() -> dict[str, str]:
        return {agent["host"]: agent["ha_state"] for agent in client.hosting_agents(router_id)}

    def is_well() -> bool:
        overview = of_haqn(client, "router", router_id)
        return (
            sorted(states().values()) == ["active", "standby"]
            and (overview["status"], overview["redundancy"], overview["in_sync"]) == ("ACTIVE", "full", True)
            # who forwards is who is to
            and states()[overview["active_host"]] == "active"
        )

    wait_for("the router is well", is_well)
    floating = client.create("floatingip", {"floating_network_id": cloud.external["id"], "port_id": vm["id"]})
    wait_for("the floating IP is ACTIVE", lambda: client.show("floatingip", floating["id"])["status"] == "ACTIVE")
    client.update("router", router_id, {"routes": [{"destination": "192.0.2.0/24", "nexthop": "10.99.0.9"}]})
    wait_for("routes are carried out", is_well)

    before = states()
    active = next(host for host, state in before.items() if state == "active")
    wish = {"kind": "switchover", "pair_id": of_haqn(client, "router", router_id)["pair_id"]}
    asked = client.request("POST", "/v2.0/haqn/operations", {"operation": wish})["operation"]["id"]
    wait_for("the other one forwards", lambda: is_well() and states()[active] == "standby")
    wait_for("the operation is done", lambda: of_haqn(client, "operation", asked)["state"] == "done")

    (drained,) = (one for one in client.hosting_agents(router_id) if one["ha_state"] == "active")
    client.update("agent", drained["id"], {"admin_state_up": False})
    wait_for("others carry it", lambda: is_well() and drained["host"] not in states())
    wait_for("it may be stopped", lambda: of_haqn(client, "agent", drained["id"])["safe_to_stop"])
    client.update("agent", drained["id"], {"admin_state_up": True})

    client.delete("floatingip", floating["id"])
    client.update("router", router_id, {"routes": []})
    client.request("PUT", f"/v2.0/routers/{router_id}/remove_router_interface", {"subnet_id": subnet["id"]})
    client.delete("router", router_id)
    client.delete("port", vm["id"])
    client.delete("network", network["id"])
    with pytest.raises(ApiError, match="404"):
        client.show("router", router_id)
    wait_for("all agents have done everything", lambda: all(one["in_sync"] for one in client.find("haqn/agent")))
