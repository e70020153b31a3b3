"""The script of `haqn-manage etcd-roles`, run on a real etcd with TLS and users: what each process may do, and not."""

import os
import re
import subprocess
import sys

import pytest

from haqn.coordination import keys, roles
from haqn.coordination.client import Etcd
from haqn.coordination.election import Election
from haqn.coordination.informer import Informer
from haqn.coordination.session import Session
from haqn.exceptions import Refused
from haqn.model import AgentType
from tests.etcd_cluster import EtcdCluster
from tests.eventually import eventually
from tests.functional.coordination.test_credentials import make_certificates

pytestmark = pytest.mark.functional


@pytest.fixture(scope="module")
def connect(tmp_path_factory):
    """`connect(role)`: a client of an etcd that was set up by the script, for the hosts net1 and net2."""
    directory = tmp_path_factory.mktemp("roles")
    ca, server, _ = make_certificates(directory)
    # etcd hashes a password for each call of etcdctl: the cheapest will do
    options = ["--cert-file", server[0], "--key-file", server[1], "--bcrypt-cost", "4"]
    with EtcdCluster(directory, size=1, scheme="https", extra=options, credentials={"ca_cert": ca}) as cluster:
        environment = {
            **{"PATH": os.environ["PATH"], "ETCDCTL_API": "3", "ETCDCTL_CACERT": ca},
            **{"ETCDCTL_ENDPOINTS": cluster.members[0].client_url},
        }

        def run(script, **more):
            done = subprocess.run(
                ["sh", "-eu"], input=script, env={**environment, **more}, text=True, capture_output=True, check=False
            )
            assert done.returncode == 0, done.stderr

        run("etcdctl user add root:secret; etcdctl user grant-role root root; etcdctl auth enable")
        # the second host comes later
        passwords = {}
        for hosts in (["net1"], ["net1", "net2"]):
            script = _printed(hosts)
            run(script, ETCDCTL_USER="root:secret")
            found = re.findall(r"printf '%s\\n' (\S+) \| etcdctl user add --interactive=false (\S+)", script)
            passwords = {**{name: password for password, name in found}, **passwords}
        clients = []

        def connect(role):
            clients.append(Etcd(cluster.endpoints, ca_cert=ca, user=role, password=passwords[role]))
            return clients[-1]

        yield connect
        for each in clients:
            each.close()


def _printed(hosts):
    program = [os.path.join(os.path.dirname(sys.executable), "haqn-manage"), "etcd-roles", *hosts]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout


def test_an_agent_speaks_for_its_own_host_only(connect):
    etcd, monitor = connect(roles.agent_role("net1")), connect(roles.MONITOR)
    monitor.put(keys.manifest("net1"), b"{}")
    monitor.put(keys.manifest("net2"), b"{}")
    session = Session(etcd, 3)
    informer = Informer(etcd, keys.desired("net1"))
    own = [
        *(keys.agent(agent_type, "net1") for agent_type in AgentType),
        *(keys.observed_sync("net1"), keys.observed_pair("net1", 65536)),
    ]
    for key in own:
        session.register(key, b"x")
    session.start()
    informer.start()
    assert session.wait(10)
    eventually(lambda: all(monitor.get(key) is not None for key in own))
    eventually(lambda: set(informer.cache()) == {keys.manifest("net1")})
    # what it reports changes, and goes again
    session.register(own[-1], b"y")
    eventually(lambda: monitor.get(own[-1]).value == b"y")
    session.unregister(own[-1])
    eventually(lambda: monitor.get(own[-1]) is None)
    for forbidden in (
        keys.agent(AgentType.L3, "net2"),
        keys.agent(AgentType.L3, "net11"),
        keys.observed_sync("net2"),
        keys.manifest("net1"),
        keys.LEADER,
        keys.NUDGE,
        "/elsewhere",
    ):
        with pytest.raises(Refused, match="permission denied"):
            etcd.put(forbidden, b"x")
    for forbidden in (keys.desired("net2"), keys.AGENTS, keys.ROOT, keys.DESIRED):
        with pytest.raises(Refused, match="permission denied"):
            etcd.list(forbidden)
    informer.stop()
    session.stop()
    eventually(lambda: monitor.get(own[0]) is None)


def test_the_api_sees_everything_and_wakes_the_leader(connect):
    etcd = connect(roles.API)
    etcd.put(keys.NUDGE, b"1")
    for prefix in (keys.AGENTS, keys.OBSERVED, keys.DESIRED):
        etcd.list(prefix)
    assert etcd.get(keys.LEADER) is None
    for forbidden in (keys.LEADER, keys.manifest("net1"), keys.agent(AgentType.L3, "net1")):
        with pytest.raises(Refused, match="permission denied"):
            etcd.put(forbidden, b"x")
    with pytest.raises(Refused, match="permission denied"):
        etcd.get("/elsewhere")


def test_a_monitor_leads(connect):
    etcd = connect(roles.MONITOR)
    session = Session(etcd, 3)
    started = []
    election = Election(session, keys.LEADER, b"me", on_elected=started.append)
    session.start()
    election.start()
    eventually(lambda: started)
    with pytest.raises(Refused, match="permission denied"):
        etcd.put("/elsewhere", b"x")
    election.stop()
    session.stop()
