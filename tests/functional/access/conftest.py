import pytest

from tests.etcd_cluster import free_ports
from tests.functional.api.server import Server
from tests.keystone_server import Keystone


def pytest_collection_modifyitems(items):
    for item in items:
        if "functional/access" in str(item.path):
            item.add_marker(pytest.mark.functional)


@pytest.fixture(scope="session")
def keystone(tmp_path_factory):
    """Keystone with two projects (alice is a member and carol a reader of `a`, bob a member of `b`) and haqn's user."""
    with Keystone(tmp_path_factory.mktemp("keystone")) as keystone:
        keystone.add_user("alice", "a", "member")
        keystone.add_user("carol", "a", "reader")
        keystone.add_user("bob", "b", "member")
        keystone.add_user("haqn", "service", "service")
        yield keystone


@pytest.fixture
def make_server(tmp_path):
    """haqn-api without etcd, with these options of [api] and more of its configuration file."""
    servers = []

    def make(more="", *, workers=1, **api):
        (nobody,) = free_ports(1)
        directory = tmp_path / f"api{len(servers)}"
        directory.mkdir()
        server = Server(directory, [f"127.0.0.1:{nobody}"], workers=workers, api=api, more=more)
        servers.append(server)
        return server

    yield make
    for server in servers:
        if server.process is not None:
            server.__exit__()
