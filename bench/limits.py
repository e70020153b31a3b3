"""What a project notices of another one's flood: its own p99 while the other sends ten times what it may.

haqn-api with two workers and a limit of projects that leaves room for others on the one core that it has; no limit of
addresses, so that the project's must do.
Servers and clients have cores of their own, or the flooding client would slow down the one that is measured; when idle,
too. Compared are three states, one after the other and several times: the project alone; beside one that sends what it
may; beside one that sends ten times that. Each number is the median of the repetitions. The burst that a project may
send at once is used up before, and has a number of its own, because it is allowed and all of it is answered.
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
from multiprocessing.synchronize import Barrier

from bench.measure import Measured
from tests.etcd_cluster import free_ports
from tests.functional.api.server import Server

#: of a project, requests a second: the default is for hosts of the API with several cores, and fills much of one
_LIMIT, _BURST = 20.0, 80
_SECONDS = 10.0
_REPETITIONS = 5
#: of the project that behaves; below its limit
_RATE = 15.0
_CONNECTIONS = 20
_PATH = "/v2.0/networks"
#: the flooding client yields to the one that is measured
_NICE = 10


@dataclass(frozen=True, slots=True)
class _State:
    """What the project that behaves, and the servers, saw for a while."""

    #: milliseconds
    p99: float
    #: requests of the other project, a second
    sent: float
    #: part of them
    refused: float
    #: that the servers computed, seconds of each second
    cpu: float


def measure(say: Callable[[str], None]) -> list[Measured]:
    """Run it; takes two or three minutes."""
    rates = {"alone": 0.0, "beside": _LIMIT, "flooded": 10 * _LIMIT}
    seen: dict[str, list[_State]] = {name: [] for name in rates}
    (nobody,) = free_ports(1)
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    limits = {"project_rate": _LIMIT, "project_burst": _BURST}
    with tempfile.TemporaryDirectory(prefix="haqn-bench-") as name:
        server = Server(pathlib.Path(name), [f"127.0.0.1:{nobody}"], workers=2, api=limits)
        with _on(cores[:half]), server, _on(cores[half:]):
            address = server.url.removeprefix("http://")
            _latencies(address, 2.0)
            say("limits: a project while another one sends its burst")
            at_burst = _observed(server, address, 10 * _LIMIT, 2 * _BURST / _LIMIT)
            for number in range(_REPETITIONS):
                say(f"limits: a project alone, beside another one, and in its flood ({number + 1} of {_REPETITIONS})")
                for state, rate in rates.items():
                    seen[state].append(_observed(server, address, rate, _SECONDS))
                    if state == "alone":
                        _use_up_burst(address)
    assert all(state.refused > 0.5 for state in seen["flooded"]), seen
    return _judged(seen, at_burst)


def _judged(seen: dict[str, list[_State]], at_burst: _State) -> list[Measured]:
    p99 = {name: statistics.median(state.p99 for state in states) for name, states in seen.items()}
    cpu = {name: statistics.median(state.cpu for state in states) for name, states in seen.items()}
    sent = {name: statistics.median(state.sent for state in states) for name, states in seen.items()}
    refusal = (cpu["flooded"] - cpu["beside"]) / (sent["flooded"] - sent["beside"])
    milliseconds = ", ".join(f"{name} {value:.1f}" for name, value in p99.items())
    each = "; ".join(f"{name} {' '.join(f'{state.p99:.1f}' for state in states)}" for name, states in seen.items())
    what = "p99 of a project in another one's flood, against"
    return [
        Measured(
            f"{what} being alone",
            p99["flooded"] / p99["alone"],
            "x",
            2,
            f"ms: {milliseconds}; the flood: {sent['flooded']:.0f}/s of {_LIMIT:g}/s; medians of: {each}",
        ),
        Measured(f"{what} the other one's sending what it may", p99["flooded"] / p99["beside"], "x"),
        Measured(
            "p99 of a project in another one's first burst, against being alone",
            at_burst.p99 / p99["alone"],
            "x",
            detail=f"{at_burst.p99:.1f} ms",
        ),
        Measured("CPU of a refusal", refusal * 1e6, "us", detail="what the servers compute more in the flood"),
    ]


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


def _paced(rate: float, seconds: float, work: Callable[[], object]) -> None:
    """Call `work` so many times a second; what comes too late is not made up for in one go."""
    began = due = time.monotonic()
    while due < began + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        work()
        due = max(due + 1 / rate, time.monotonic() - 0.1)


def _latencies(address: str, seconds: float) -> list[float]:
    """Milliseconds of each request of the project that behaves."""
    connection, found = http.client.HTTPConnection(address, timeout=60), []

    def once() -> None:
        began = time.perf_counter()
        status = _call(connection, "a")
        found.append((time.perf_counter() - began) * 1000)
        assert status == 200

    _paced(_RATE, seconds, once)
    connection.close()
    return found


def _observed(server: Server, address: str, rate: float, seconds: float) -> _State:
    """The project that behaves, while another one sends `rate` requests a second; 0: none."""
    context = multiprocessing.get_context("spawn")
    ready, sent = context.Barrier(2), context.Queue()
    other = context.Process(target=_send, args=(address, rate, seconds, ready, sent), daemon=True)
    other.start()
    ready.wait(60)
    began, before = time.monotonic(), _cpu(server)
    found = _latencies(address, seconds)
    cpu = (_cpu(server) - before) / (time.monotonic() - began)
    statuses: list[int] = sent.get(timeout=60)
    other.join()
    return _State(
        p99=statistics.quantiles(found, n=100)[-1],
        sent=len(statuses) / seconds,
        refused=statuses.count(429) / max(1, len(statuses)),
        cpu=cpu,
    )


def _send(address: str, rate: float, seconds: float, ready: Barrier, sent: multiprocessing.Queue[list[int]]) -> None:
    os.nice(_NICE)
    statuses: list[int] = []

    def one_connection() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        _paced(rate / _CONNECTIONS, seconds, lambda: statuses.append(_call(connection, "b")))

    threads = [threading.Thread(target=one_connection) for _ in range(_CONNECTIONS if rate else 0)]
    ready.wait(60)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent.put(statuses)


def _use_up_burst(address: str) -> None:
    """A project that sends all the time has no burst left; a short pause gives little of it back."""

    def until_refused() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        while _call(connection, "b") != 429:
            pass
        connection.close()

    threads = [threading.Thread(target=until_refused) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
