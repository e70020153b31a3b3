"""A served API without etcd, and one with it."""

from __future__ import annotations

import contextlib
import functools

import openstack.connection
import pytest

from tests.etcd_cluster import EtcdCluster, free_ports
from tests.functional.api.server import Server


def pytest_collection_modifyitems(items):
    for item in items:
        if "functional/api" in str(item.path):
            item.add_marker(pytest.mark.functional)


@pytest.fixture(scope="session")
def servers(databases, tmp_path_factory):
    """`servers(kind)`: haqn-api with three workers over such a database, and no etcd at all; each starts once."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def start(kind):
            (nobody,) = free_ports(1)
            url = databases(kind)()
            return running.enter_context(Server(tmp_path_factory.mktemp("api"), [f"127.0.0.1:{nobody}"], url=url))

        yield start


@pytest.fixture(scope="session")
def server(servers):
    return servers("postgresql")


@pytest.fixture(scope="session", params=[("sqlite", ""), ("postgresql", "/v2.0"), ("mariadb", "")], ids="-".join)
def network_client(servers, request):
    """openstacksdk's own network proxy, without Keystone, on each database, and with either form of the endpoint."""
    kind, path = request.param
    url = servers(kind).url
    connection = openstack.connection.Connection(
        auth_type="none", auth={"endpoint": url}, network_endpoint_override=f"{url}{path}"
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
