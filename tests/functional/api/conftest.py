"""A served API without etcd, and one with it."""

from __future__ import annotations

import openstack.connection
import pytest

from tests.etcd_cluster import EtcdCluster, free_ports
from tests.functional.api.server import Server


def pytest_collection_modifyitems(items):
    for item in items:
        if "functional/api" in str(item.path):
            item.add_marker(pytest.mark.functional)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """haqn-api with three workers and no etcd at all."""
    (nobody,) = free_ports(1)
    with Server(tmp_path_factory.mktemp("api"), [f"127.0.0.1:{nobody}"]) as server:
        yield server


@pytest.fixture(scope="session", params=["", "/v2.0"], ids=["root", "versioned"])
def network_client(server, request):
    """openstacksdk's own network proxy, without Keystone, with either form of the endpoint."""
    connection = openstack.connection.Connection(
        auth_type="none", auth={"endpoint": server.url}, network_endpoint_override=f"{server.url}{request.param}"
    )
    yield connection.network
    connection.close()


@pytest.fixture(scope="session")
def etcd_cluster(tmp_path_factory):
    with EtcdCluster(tmp_path_factory.mktemp("etcd"), size=1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def server_with_etcd(tmp_path_factory, etcd_cluster):
    with Server(tmp_path_factory.mktemp("api"), etcd_cluster.endpoints, workers=1) as server:
        yield server
