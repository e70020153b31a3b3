"""One cluster a test."""

import pytest

from tests.functional.monitor.cluster import Cluster


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path) as cluster:
        yield cluster
        for monitor in cluster.monitors.values():
            assert "Traceback" not in monitor.log.read_text()
