"""The agent with a backend that needs nothing of its host."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from haqn import logs
from haqn.agent import backend, noop
from haqn.cmd import agent as agent_program
from haqn.coordination import keys
from haqn.documents import Manifest, NetworkDocument, PortDocument, SyncReport, decode, encode
from haqn.exceptions import HostError
from haqn.model import AgentType, NetworkType
from tests.etcd_cluster import EtcdCluster
from tests.eventually import eventually

pytestmark = pytest.mark.functional

PROGRAM = "import sys; from haqn.cmd.agent import main; sys.exit(main(sys.argv[1:]))"
NETWORK, PORT = str(uuid.uuid4()), str(uuid.uuid4())
SETTINGS = backend.BackendSettings(tunnel_address="192.0.2.1", physical_networks={})


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """The arguments for an agent whose section says this; if it runs in the test's own process, it logs to pytest."""
    monkeypatch.setattr(logs, "setup", lambda *_: None)

    def configure(section, endpoints="127.0.0.1:1"):
        path = tmp_path / "haqn.conf"
        path.write_text(
            f"[DEFAULT]\nhost = c1\nstate_path = {tmp_path}/state\nrun_path = {tmp_path}/run\n"
            f"[etcd]\nendpoints = {endpoints}\n[agent]\nha_address = 192.0.2.1\n{section}\n"
        )
        return ["--config-file", str(path)]

    return configure


def test_without_privileges_a_noop_agent_has_done_everything_at_once(tmp_path, configure):
    with EtcdCluster(tmp_path / "etcd", size=1) as cluster, cluster.client() as client:
        network = NetworkDocument(
            network_id=NETWORK, network_type=NetworkType.VXLAN, mtu=1450, segmentation_id=7, generation=3
        )
        port = PortDocument(port_id=PORT, network_id=NETWORK, mac_address="fa:16:3e:00:00:01", generation=3)
        client.put(keys.desired_network("c1", NETWORK), encode(network))
        client.put(keys.desired_port("c1", PORT), encode(port))
        client.put(keys.manifest("c1"), encode(Manifest(generation=3, count=2, complete=True)))
        arguments = configure("roles = bridge\nbackend = noop", ",".join(cluster.endpoints))
        log = (tmp_path / "log").open("wb")
        privileges = ("--bounding-set=-all", "--inh-caps=-all", "--pdeathsig", "TERM")
        process = subprocess.Popen(["setpriv", *privileges, sys.executable, "-c", PROGRAM, *arguments], stderr=log)
        try:

            def report():
                assert process.poll() is None, (tmp_path / "log").read_text()
                item = client.get(keys.observed_sync("c1"))
                return item and decode(item.value, SyncReport)

            eventually(lambda: (found := report()) is not None and found.generation == 3, timeout=30)
            assert report().errors == {}
            assert client.get(keys.agent(AgentType.LINUX_BRIDGE, "c1")) is not None
        finally:
            process.terminate()
            process.wait(30)
            log.close()


def test_routers_need_a_kernel_or_a_backend_of_their_own(configure, caplog, monkeypatch):
    somewhere = backend.Backend(networks=noop.NoNetworks(), ports=noop.NoPorts(), in_kernel=False)
    monkeypatch.setattr(backend, "load", lambda *_: somewhere)
    assert agent_program.main(configure("roles = l3, bridge\nbackend = elsewhere")) == 1
    assert "leave l3 out of roles" in caplog.text


def test_a_backend_must_be_installed(configure, caplog):
    assert agent_program.main(configure("backend = ovs")) == 1
    assert "installed are linuxbridge, noop" in caplog.text
    with pytest.raises(HostError, match="cannot find"):
        backend.load("", SETTINGS)


def test_a_physical_network_needs_its_interface():
    settings = backend.BackendSettings(tunnel_address="192.0.2.1", physical_networks={"ext": "nothing0"})
    with pytest.raises(HostError, match="nothing0"):
        backend.load("linuxbridge", settings)
