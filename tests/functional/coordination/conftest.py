"""One etcd cluster of three members for the whole folder; each test gets it healthy and empty."""

from __future__ import annotations

import pytest

from tests.etcd_cluster import EtcdCluster


@pytest.fixture(scope="session")
def three_members(tmp_path_factory):
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture
def cluster(three_members):
    three_members.repair()
    with three_members.client() as etcd:
        etcd.delete_prefix("/")
    return three_members


@pytest.fixture
def etcd(cluster):
    with cluster.client() as etcd:
        yield etcd
