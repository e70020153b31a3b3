"""What a project notices of another one's flood: its own p99 while the other sends ten times what it may.

Everything runs on this machine: haqn-api with two workers and its default limit of a project, both clients, and no
limit of addresses, so that the project's alone must do.
"""

from __future__ import annotations

import http.client
import multiprocessing
import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event

from bench.measure import Measured
from haqn import conf as haqn_conf
from tests.etcd_cluster import free_ports
from tests.functional.api.server import Server

_SECONDS = 15.0
#: of the project that behaves; below its limit
_RATE = 40.0
_CONNECTIONS = 10
_PATH = "/v2.0/networks"


def measure(say: Callable[[str], None]) -> list[Measured]:
    """Run it; takes about half a minute."""
    limit = float(haqn_conf.load([]).api.project_rate)
    (nobody,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="haqn-bench-") as name:
        api = {"project_rate": limit}
        with Server(pathlib.Path(name), [f"127.0.0.1:{nobody}"], workers=2, api=api) as server:
            address = server.url.removeprefix("http://")
            _statuses_of(address, "b", 50)
            say("limits: a project alone")
            idle = _latencies(address)
            say(f"limits: another one floods at {10 * limit:g}/s")
            flooded, sent = _flooded(address, 10 * limit)
    before, after = (statistics.quantiles(each, n=100)[-1] for each in (idle, flooded))
    detail = f"{before:.1f} ms idle, {after:.1f} ms while another one sends {sent / _SECONDS:.0f}/s of {limit:g}/s"
    return [Measured("p99 of a project in another one's flood, against idle", after / before, "x", 2, detail)]


def _headers(project: str) -> dict[str, str]:
    return {"X-Project-Id": project, "X-Roles": "member"}


def _call(connection: http.client.HTTPConnection, project: str) -> int:
    connection.request("GET", _PATH, headers=_headers(project))
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _statuses_of(address: str, project: str, count: int) -> None:
    connection = http.client.HTTPConnection(address, timeout=60)
    for _ in range(count):
        _call(connection, project)
    connection.close()


def _paced(rate: float, seconds: float, work: Callable[[], object]) -> int:
    """Call `work` so many times a second; what comes too late is not made up for in one go. How often it was."""
    began = due = time.monotonic()
    count = 0
    while due < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        work()
        count += 1
        due = max(due + 1 / rate, time.monotonic() - 0.1)
    return count


def _latencies(address: str) -> list[float]:
    """Milliseconds of each request of the project that behaves."""
    connection, found = http.client.HTTPConnection(address, timeout=60), []

    def once() -> None:
        began = time.perf_counter()
        status = _call(connection, "a")
        found.append((time.perf_counter() - began) * 1000)
        assert status == 200

    _paced(_RATE, _SECONDS, once)
    connection.close()
    return found


def _flood(address: str, rate: float, started: Event, sent: multiprocessing.Queue[int]) -> None:
    counts: list[int] = []
    refused: list[int] = []

    def one_connection() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        statuses: list[int] = []
        work = _paced(rate / _CONNECTIONS, _SECONDS + 1, lambda: statuses.append(_call(connection, "b")))
        counts.append(work)
        refused.append(statuses.count(429))

    threads = [threading.Thread(target=one_connection) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    started.set()
    for thread in threads:
        thread.join()
    assert sum(refused) > sum(counts) / 2, "the flood was not refused"
    sent.put(sum(counts))


def _flooded(address: str, rate: float) -> tuple[list[float], int]:
    context = multiprocessing.get_context("spawn")
    started, sent = context.Event(), context.Queue()
    flooder = context.Process(target=_flood, args=(address, rate, started, sent))
    flooder.start()
    started.wait(60)
    time.sleep(0.5)
    found = _latencies(address)
    count: int = sent.get(timeout=60)
    flooder.join()
    return found, count
