"""Neighbouring versions work together, and changing from one to the other costs no packet: each program of the version
before, in a cluster of this one.

The version before is the newest tag below this commit, else the parent commit, or what HAQN_PREVIOUS names: a revision,
or a directory with the source tree of one. A revision comes from the history: a clone of depth 1 has none, and this
fails there and says what would do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from haqn.lab import services
from haqn.lab.client import Client
from haqn.lab.host import Host
from haqn.lab.scenery import wait_for
from haqn.lab.services import Service
from tests.functional.system.stage import Stage
from tests.functional.system.test_agents import wait_until_adopted

ROOT = Path(__file__).parents[3]
_OTHER_PORT = 9695

pytestmark = pytest.mark.functional


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-c", "safe.directory=*", *arguments], cwd=ROOT, capture_output=True, check=False)


def previous_revision() -> str:
    if chosen := os.environ.get("HAQN_PREVIOUS"):
        return chosen
    tag = git("describe", "--tags", "--abbrev=0", "HEAD~1")
    return tag.stdout.decode().strip() if tag.returncode == 0 else "HEAD~1"


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the version before."""
    directory = tmp_path_factory.mktemp("previous")
    revision = previous_revision()
    if Path(revision).is_dir():
        return Path(revision)
    archive = git("archive", revision, "haqn", "templates")
    if archive.returncode != 0:
        pytest.fail(
            f"cannot find the version before ({revision}) in this clone's history: clone it with --depth 2 or more, "
            f"git fetch --unshallow, or let HAQN_PREVIOUS be a directory with its source tree. "
            f"git says: {archive.stderr.decode().strip()}"
        )
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
    return directory


def start_previous(host: Host, service: str, previous: Path, *settings: str) -> None:
    program = str(Path(sys.executable).parent / f"haqn-{service.rstrip('0123456789')}")
    configuration = ["--config-file", str(host.directory / "haqn.conf")]
    host.daemon(service, ["env", f"PYTHONPATH={previous}", *settings, program, *configuration])


def test_each_program_of_the_version_before_works_with_this_ones(stage: Stage, previous: Path) -> None:
    members = [stage.active, stage.standby]
    before = {host: stage.heartbeat_lease(host) for host in members[:1]}
    with stage.scenario.both_ways() as both_ways, ExitStack() as kept:
        kept.enter_context(stage.leases_kept(members[0]))
        # an agent of the version before, under this version's monitor
        host = stage.host(members[0])
        services.stop(stage.lab, stage.agent(members[0]))
        start_previous(host, services.AGENT, previous)
        wait_until_adopted(stage, before)
        first = stage.scenario.add_router(71)
        wait_for("its router is ACTIVE", lambda: stage.is_active(first))

        # a leader of the version before, over agents of both
        monitors = stage.services("monitor")
        for monitor in monitors:
            services.stop(stage.lab, monitor)
        start_previous(stage.host(monitors[0].host), monitors[0].name, previous)
        wait_for("it leads", stage.is_led)
        second = stage.scenario.add_router(72)
        wait_for("its router is ACTIVE", lambda: stage.is_active(second))

        # an API of the version before, next to this one's
        control = stage.host(stage.services(services.API)[0].host)
        start_previous(control, "api9", previous, f"OS_API__BIND_PORT={_OTHER_PORT}")
        url = stage.lab.spec.api_url.rpartition(":")[0] + f":{_OTHER_PORT}"
        with requests.Session() as session:
            session.trust_env = False
            wait_for("it answers", lambda: _answers(session, url))
        with Client(url) as client:
            assert client.show("router", second["id"])["status"] == "ACTIVE"
            client.update("router", second["id"], {"name": "renamed"})
            # whatever this version's migrations have added, the version before need not know
            network = client.create("network", {"name": "of the version before"})
            port = client.create("port", {"network_id": network["id"]})
            assert stage.client.show("port", port["id"])["network_id"] == network["id"]
            client.delete("port", port["id"])
            client.delete("network", network["id"])
        assert stage.client.show("router", second["id"])["name"] == "renamed"
        services.stop(stage.lab, Service(control.name, "api9"))

        # and back, over what those of the version before have written
        services.restart(stage.lab, monitors[0])
        kept.enter_context(stage.leases_kept(members[0]))
        services.restart(stage.lab, stage.agent(members[0]))
        wait_for("this version leads", stage.is_led)
        for router in (first, second):
            stage.delete_router(router["id"])
        wait_for("the new agent undoes them", lambda: not stage.devices_of(members[0], second["id"]))
        outbound, inbound = both_ways.stop()

    assert (outbound.lost, inbound.lost) == (0, 0)
    assert outbound.sent > 100


def _answers(session: requests.Session, url: str) -> bool:
    try:
        return session.get(f"{url}/healthz", timeout=5).ok
    except requests.RequestException:
        return False
