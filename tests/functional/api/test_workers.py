"""Several gunicorn workers at once: nothing is given twice, nothing is lost, and stopping is orderly."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import signal
import threading
import time
import uuid

import pytest
import requests
import sqlalchemy as sa

from haqn.db import tables
from haqn.db.session import Database
from tests.emptied import empty
from tests.etcd_cluster import free_ports
from tests.eventually import eventually
from tests.functional.api.server import Server
from tests.functional.sql import DATABASES

#: clients at the same time
PARALLEL = 50


@pytest.fixture(scope="module", params=DATABASES)
def server(servers, request):
    """haqn-api with three workers on each kind of database, and no etcd at all; others find it empty afterwards."""
    server = servers(request.param)
    yield server
    database = Database(server.database_url)
    empty(database)
    database.close()


def post(url, collection, headers=None, /, **attributes):
    """A request on a connection of its own, so that the kernel spreads requests over the workers.

    503 means that nothing was written as others were in the way for too long, and that one may try again: on a machine
    that is busy it comes to that.
    """
    body, last = {collection[:-1]: attributes}, time.monotonic() + 120
    while True:
        answer = requests.post(f"{url}/v2.0/{collection}", json=body, headers=headers, timeout=120)
        if answer.status_code != 503 or time.monotonic() > last:
            return answer


def at_once(works):
    """The answers; PARALLEL requests are under way at the same time, or all of them if there are fewer."""
    parallel = min(PARALLEL, len(works))
    together = threading.Barrier(parallel)

    def first(work):
        together.wait(60)
        return work()

    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(first, work) for work in works[:parallel]]
        futures += [pool.submit(work) for work in works[parallel:]]
        return [future.result() for future in futures]


def network_with(url, cidr, **attributes):
    network = post(url, "networks", **attributes).json()["network"]
    answer = post(url, "subnets", network_id=network["id"], cidr=cidr, ip_version=4)
    assert answer.status_code == 201, answer.text
    return network["id"], answer.json()["subnet"]["id"]


def statuses(answers):
    return collections.Counter(answer.status_code for answer in answers)


def test_no_address_and_no_mac_is_given_twice(server):
    network_id, _ = network_with(server.url, "10.0.0.0/26")
    answers = at_once([lambda: post(server.url, "ports", network_id=network_id)] * 80)
    assert statuses(answers) == {201: 61, 409: 19}
    assert {a.json()["NeutronError"]["type"] for a in answers if a.status_code == 409} == {"IpAddressGenerationFailure"}
    ports = [answer.json()["port"] for answer in answers if answer.status_code == 201]
    assert len({port["fixed_ips"][0]["ip_address"] for port in ports}) == 61
    assert len({port["mac_address"] for port in ports}) == 61


def test_one_of_many_gets_the_address_that_all_want(server):
    network_id, _ = network_with(server.url, "10.0.0.0/24")
    wanted = {"network_id": network_id, "fixed_ips": [{"ip_address": "10.0.0.7"}]}
    assert statuses(at_once([lambda: post(server.url, "ports", **wanted)] * 50)) == {201: 1, 409: 49}
    wanted = {"network_id": network_id, "mac_address": "fa:16:3e:01:02:03"}
    answers = at_once([lambda: post(server.url, "ports", **wanted)] * 50)
    assert statuses(answers) == {201: 1, 409: 49}
    assert {a.json()["NeutronError"]["type"] for a in answers if a.status_code == 409} == {"MacAddressInUse"}


def test_no_vxlan_id_is_given_twice(server):
    answers = at_once([lambda: post(server.url, "networks")] * 50)
    assert statuses(answers) == {201: 50}
    assert len({answer.json()["network"]["provider:segmentation_id"] for answer in answers}) == 50
    chosen = {"provider:segmentation_id": 5000}
    assert statuses(at_once([lambda: post(server.url, "networks", **chosen)] * 8)) == {201: 1, 409: 7}


def test_no_prefix_of_a_pool_is_given_twice(server):
    pool = post(server.url, "subnetpools", prefixes=["10.0.0.0/22"], default_prefixlen=26).json()["subnetpool"]["id"]
    networks = [post(server.url, "networks").json()["network"]["id"] for _ in range(24)]
    bodies = [{"network_id": network, "subnetpool_id": pool, "ip_version": 4} for network in networks]
    answers = at_once([lambda body=body: post(server.url, "subnets", **body) for body in bodies])
    assert statuses(answers) == {201: 16, 409: 8}
    assert len({a.json()["subnet"]["cidr"] for a in answers if a.status_code == 201}) == 16


def test_ports_at_once_make_one_default_security_group(server):
    headers = {"X-Project-Id": uuid.uuid4().hex, "X-Roles": "member"}
    network = post(server.url, "networks", headers).json()["network"]["id"]
    answers = at_once([lambda: post(server.url, "ports", headers, network_id=network)] * 16)
    assert statuses(answers) == {201: 16}
    assert len({tuple(answer.json()["port"]["security_groups"]) for answer in answers}) == 1


def test_no_project_gets_more_than_its_quota(server):
    headers = {"X-Project-Id": uuid.uuid4().hex, "X-Roles": "member"}
    answers = at_once([lambda: post(server.url, "routers", headers)] * 30)
    assert statuses(answers) == {201: 10, 409: 20}
    assert {a.json()["NeutronError"]["type"] for a in answers if a.status_code == 409} == {"OverQuota"}


def test_a_router_takes_one_of_two_overlapping_subnets(server):
    subnets = [network_with(server.url, "10.0.0.0/24")[1] for _ in range(4)]
    router = post(server.url, "routers").json()["router"]["id"]

    def add(subnet_id):
        url = f"{server.url}/v2.0/routers/{router}/add_router_interface"
        return requests.put(url, json={"subnet_id": subnet_id}, timeout=60)

    answers = at_once([lambda subnet_id=subnet_id: add(subnet_id) for subnet_id in subnets])
    assert statuses(answers) == {200: 1, 400: 3}


def test_a_network_is_deleted_or_gets_a_port_but_not_both(server):
    for _ in range(6):
        network_id, _ = network_with(server.url, "10.0.0.0/24")
        url = f"{server.url}/v2.0/networks/{network_id}"
        created, deleted = at_once(
            [
                lambda: post(server.url, "ports", network_id=network_id),  # noqa: B023 run within the turn
                lambda: requests.delete(url, timeout=60),  # noqa: B023 run within the turn
            ]
        )
        assert (created.status_code, deleted.status_code) in {(201, 409), (404, 204)}


def test_a_killed_worker_loses_nothing_that_was_answered(server):
    """kill -9 of the worker processes while writes are under way."""
    answered, stop = [], threading.Event()

    def write():
        while not stop.is_set():
            try:
                answer = post(server.url, "routers", name=uuid.uuid4().hex, ha=False)
            except requests.RequestException:
                continue
            if answer.status_code == 201:
                answered.append(answer.json()["router"]["id"])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(answered)
        eventually(lambda before=before: len(answered) > before + 5)
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(answered) > 30)
    stop.set()
    for thread in threads:
        thread.join()
    database = Database(server.database_url)
    with database.read() as connection:
        stored = set(connection.scalars(sa.select(tables.routers.c.id)))
        recorded = set(connection.scalars(sa.select(tables.outbox.c.object_id).where(tables.outbox.c.kind == "router")))
        if database.engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    database.close()
    assert set(answered) <= stored <= recorded


def test_requests_in_flight_are_finished_at_a_stop(tmp_path):
    (nobody,) = free_ports(1)
    with Server(tmp_path, [f"127.0.0.1:{nobody}"], workers=1) as server:
        blocker = Database(server.database_url)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with blocker.transaction():  # the request must wait for this writer
                answer = pool.submit(post, server.url, "networks", name="late")
                eventually(answer.running)
                wait_until_connected(server)
                server.process.send_signal(signal.SIGTERM)
            assert answer.result(60).status_code == 201
        blocker.close()
        assert server.process.wait(60) == 0


def wait_until_connected(server):
    """Until the worker has accepted the request's connection: it then has one more open file."""
    (worker,) = server.workers()
    port = int(server.url.rpartition(":")[2])

    def accepted():
        with open(f"/proc/{worker}/net/tcp") as table:
            return any(
                line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01" for line in table.readlines()[1:]
            )

    eventually(accepted)
