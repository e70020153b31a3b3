"""A server whose database goes away, and comes back: it lives, says what it lacks, and goes on by itself."""

from __future__ import annotations

import requests

from tests.etcd_cluster import free_ports
from tests.eventually import eventually
from tests.functional.api.server import Server
from tests.sql_servers import PostgreSQL


def test_what_is_missing_is_named_and_all_else_is_answered(tmp_path):
    (nobody,) = free_ports(1)
    with (
        PostgreSQL() as sql,
        Server(tmp_path, [f"127.0.0.1:{nobody}"], workers=1, url=sql.create_database()) as server,
    ):

        def ask(path):
            return requests.get(f"{server.url}{path}", timeout=60)

        def readiness():
            answer = ask("/readyz")
            return answer.status_code, answer.json()["status"], set(answer.json()["missing"])

        assert readiness() == (200, "degraded", {"etcd"})
        assert ask("/v2.0/networks").json() == {"networks": []}
        sql.kill()
        eventually(lambda: readiness() == (503, "not ready", {"database", "etcd"}))
        assert [ask(path).status_code for path in ("/", "/healthz", "/v2.0", "/v2.0/extensions")] == [200] * 4
        refused = ask("/v2.0/networks")
        assert (refused.status_code, refused.json()["NeutronError"]["type"]) == (503, "ServiceUnavailable")
        # whoever is told that gives the operator the id, who finds the reason
        lines = server.log_file.read_text().splitlines()
        named = [line for line in lines if refused.headers["X-Openstack-Request-Id"] in line]
        assert any("cannot use the database" in line for line in named)
        sql.start()
        eventually(lambda: readiness() == (200, "degraded", {"etcd"}))
        assert ask("/v2.0/networks").status_code == 200
