"""What a project notices of another one's flood: its own p99 while the other sends ten times what it may.

haqn-api with two workers and its default limit of a project; no limit of addresses, so that the project's must do.
Servers and clients have cores of their own, or the flooding client would slow down the one that is measured; when idle,
too. The same is done with a server in which three lines refuse the flood at once: what is left then is the web
server's part, and no limit can do better.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from bench.measure import Measured
from haqn import conf as haqn_conf
from tests.etcd_cluster import free_ports
from tests.functional.api.server import PROGRAM, Server

_SECONDS = 20.0
#: of the project that behaves; below its limit
_RATE = 40.0
_CONNECTIONS = 10
_PATH = "/v2.0/networks"
#: the flooding client yields to the one that is measured
_NICE = 10
#: the API, in front of which project b is refused by the least that can be done
_BARE = (
    """
from haqn.cmd import api
build = api.build
def bare(conf, buckets):
    app = build(conf, buckets)
    headers = [("Content-Type", "application/json"), ("Content-Length", "2"), ("Retry-After", "1")]
    def refuse(environ, start_response):
        if environ.get("HTTP_X_PROJECT_ID") != "b":
            return app(environ, start_response)
        start_response("429 Too Many Requests", headers)
        return [b"{}"]
    return refuse
api.build = bare
"""
    + PROGRAM
)


@dataclass(frozen=True, slots=True)
class _Found:
    #: p99 of the project that behaves, milliseconds
    idle: float
    flooded: float
    #: of the other one, a second
    sent: float
    #: CPU of the servers for each request of the flood, microseconds
    cost: float


def measure(say: Callable[[str], None]) -> list[Measured]:
    """Run it; takes about a minute and a half."""
    limit = float(haqn_conf.load([]).api.project_rate)
    say("limits: a project alone, and while another one floods")
    found = _measured(limit, PROGRAM)
    say("limits: the same with a server that refuses at once")
    bare = _measured(limit, _BARE)
    detail = (
        f"{found.idle:.1f} ms idle, {found.flooded:.1f} ms while another one sends {found.sent:.0f}/s of {limit:g}/s"
    )
    what = "p99 of a project in another one's flood, against idle"
    return [
        Measured(what, found.flooded / found.idle, "x", 2, detail),
        Measured(
            f"{what}, refused by three lines",
            bare.flooded / bare.idle,
            "x",
            detail=f"{bare.idle:.1f} ms idle, {bare.flooded:.1f} ms flooded: the web server's part",
        ),
        Measured("CPU of a refusal", found.cost, "us", detail=f"{bare.cost:.0f} us when three lines refuse"),
    ]


def _measured(limit: float, program: str) -> _Found:
    (nobody,) = free_ports(1)
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    with tempfile.TemporaryDirectory(prefix="haqn-bench-") as name:
        api = {"project_rate": limit}
        server = Server(pathlib.Path(name), [f"127.0.0.1:{nobody}"], workers=2, api=api, program=program)
        with _on(cores[:half]), server, _on(cores[half:]):
            address = server.url.removeprefix("http://")
            _statuses_of(address, "a", 50)
            before = _cpu(server)
            idle = _latencies(address)
            between = _cpu(server)
            flooded, sent = _flooded(address, 10 * limit)
            after = _cpu(server)
    first, second = (statistics.quantiles(each, n=100)[-1] for each in (idle, flooded))
    cost = ((after - between) - (between - before)) / sent
    return _Found(idle=first, flooded=second, sent=sent / _SECONDS, cost=cost * 1e6)


@contextmanager
def _on(cores: list[int]) -> Iterator[None]:
    """This process and those that it starts run on these cores alone; on one core everything shares it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _cpu(server: Server) -> float:
    """Seconds that the workers have computed."""
    fields = [pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in server.workers()]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


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
    os.nice(_NICE)
    counts: list[int] = []
    refused: list[int] = []

    def one_connection() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        statuses: list[int] = []
        work = _paced(rate / _CONNECTIONS, _SECONDS + 1.0, lambda: statuses.append(_call(connection, "b")))
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
