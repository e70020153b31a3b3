"""`python -m bench.failsafe [--seconds 600]`: a cluster without its control plane, for so long, while traffic flows.

etcd has no quorum all the time; SQL takes no write in the second quarter; in the second half API, monitors, agents
and all of etcd are dead. The forwarding host crashes in either half, and comes back. Exit status 1 unless no packet was
lost but by the crashes, the API said what it did not know, what it accepted was carried out afterwards, and nothing
moved. What is lost while the machine itself stands still (a host that has no part in anything is silent for as long as
adverts may be) is told and not judged.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from haqn.agent import names
from haqn.coordination import keys
from haqn.documents import LeaderRecord, decode
from haqn.exceptions import HostError
from haqn.lab import etcdctl, faults, kernel, lookup, services
from haqn.lab.chaos.inflict import database_file
from haqn.lab.client import ApiError, Client
from haqn.lab.cluster import Lab
from haqn.lab.probe import Probe, ProbeResult, TargetResult, now_ms
from haqn.lab.scenario import Scenario
from haqn.lab.scenery import wait_for
from haqn.lab.scoreboard import Scoreboard
from haqn.lab.services import Service
from haqn.lab.spec import EXTERNAL_HOST, Kind, LabSpec

_SPEC = LabSpec(name="failsafe", hosts=3, computes=1, etcd=3, lease_ttl=10)
#: besides the tenant's
_ROUTERS = 20
#: milliseconds: what a crash, and the return of a host that still believes to be the active one, may cost
_CRASH_GAP, _RETURN_GAP = 1000.0, 1000.0
#: milliseconds between pings of the other routers
_SELDOM = 50.0
#: milliseconds: an advert that is so late (two intervals) gives a pair away, and what that may cost
_STOOD_STILL, _STILL_GAP = 200.0, 1000.0
#: seconds for which a crashed host is away
_AWAY = 10.0
#: seconds until the API admits that it knows nothing, and until all is as it was
_ADMITS, _CONVERGES = 30.0, 90.0
_SERVER_ERROR = 503


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="bench.failsafe", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="how long the control plane is away (at least 120)"
    )
    given = parser.parse_args()
    board = Scoreboard()
    lab = Lab(_SPEC.name)
    try:
        board.say("cluster up")
        lab.build(_SPEC)
        services.start_all(lab)
        with Client(lab.spec.api_url) as client:
            _Outage(lab, client, board).run(max(given.seconds, 120.0))
    finally:
        lab.destroy()
    print(f"\n{board.table()}")
    return 0 if board.all_held else 1


class _Outage:
    def __init__(self, lab: Lab, client: Client, board: Scoreboard) -> None:
        self._lab = lab
        self._client = client
        self._board = board
        self._hosts = [host.name for host in lab.spec.of_kind(Kind.NETWORK)]
        self._scenario = Scenario(lab, client)
        self._scenario.until_vm_reaches_out()
        self._scenario.route_to_tenant()
        self._others = [self._scenario.add_router(number) for number in range(1, _ROUTERS + 1)]
        self._addresses = [lookup.external_address(router) for router in self._others]
        self._bystander = lab.spec.of_kind(Kind.COMPUTE)[0].address
        self._scenario.scenery.until_answered_outside(self._addresses)
        ports = client.find("port", device_id=self._scenario.router["id"])
        self._taps = [names.tap(port["id"]) for port in ports]
        #: when the outage began, on the probes' clock in seconds
        self._began = 0.0
        #: moments (milliseconds of the probes) from and to which packets may be lost, because of a crash, or because
        #: the machine stood still
        self._excused: list[tuple[float, float]] = []
        self._paused: list[tuple[float, float]] = []

    def run(self, seconds: float) -> None:
        """All of it; `seconds` is how long etcd has no quorum."""
        every = [self._scenario.router["id"], *(router["id"] for router in self._others)]
        wait_for("every router is redundant", lambda: self._scenario.scenery.are_redundant(every))
        before = self._members()
        with ExitStack() as stack:
            both_ways = stack.enter_context(self._scenario.both_ways())
            outside = self._lab.host(EXTERNAL_HOST)
            seldom = stack.enter_context(Probe(outside, self._addresses, interval_ms=_SELDOM))
            aside = stack.enter_context(Probe(outside, [self._bystander], interval_ms=_SELDOM))
            time.sleep(1)
            began = self._began = time.monotonic()
            written = self._without_quorum(lambda part: _sleep_until(began + part * seconds))
            self._without_anything(lambda part: _sleep_until(began + part * seconds))
            lasted = time.monotonic() - began
            self._come_back(every, written)
            outbound, inbound = both_ways.stop()
            others = seldom.stop()
            self._note_pauses(*aside.stop().targets)
        self._board.say(f"etcd was without a quorum for {lasted:.0f} s")
        self._judge("VM -> external", outbound)
        self._judge("external -> router, VM", inbound)
        self._judge("external -> other routers", others)
        after = self._members()
        moved = sum(1 for router_id, members in before.items() if after.get(router_id) != members)
        self._board.exactly(f"of {len(before)} routers, those that have other members than before", moved, 0)

    # -- the parts ------------------------------------------------------------------------

    def _without_quorum(self, until: Callable[[float], None]) -> str:
        """The first half; the router that was made meanwhile."""
        board = self._board
        board.say("two of three members of etcd are killed")
        for service in self._services("etcd")[1:]:
            self._kill(service)
        took = wait_for("the API admits that it knows nothing", self._knows_nothing, _ADMITS)
        board.at_most("the API says that it knows nothing, after", took, _ADMITS, "s")
        router = self._scenario.scenery.router("meanwhile", self._scenario.external["id"])
        board.exactly("a write is accepted", bool(self._client.show("router", router["id"])), wanted=True)
        until(1 / 8)
        self._crash("without a quorum")
        until(1 / 4)
        board.say("SQL takes no write")
        with self._sql_is_locked():
            board.exactly("status of a write without SQL", self._refusal(), _SERVER_ERROR)
            until(1 / 2)
        wait_for("SQL takes writes again", lambda: not self._refusal())
        return str(router["id"])

    def _without_anything(self, until: Callable[[float], None]) -> None:
        """The second half."""
        self._board.say("API, monitors, agents and the last member of etcd are killed")
        for service in reversed(services.services(self._lab.spec)):
            self._kill(service)
        until(5 / 8)
        self._crash("without any control plane")
        until(1)

    def _come_back(self, every: list[str], written: str) -> None:
        self._board.say("everything is started again")
        began = time.monotonic()
        for service in services.services(self._lab.spec):
            services.start(self._lab, service)
        services.wait_for_agents(self._lab, _CONVERGES)
        wait_for("a monitor leads", self._is_led, _CONVERGES)
        wait_for(
            "every router is redundant, the one of the outage, too",
            lambda: self._scenario.scenery.are_redundant([*every, written]),
            _CONVERGES,
        )
        self._board.at_most("all is as it was, after", time.monotonic() - began, _CONVERGES, "s")
        # what deaths ask for is held for a lease's time at the beginning of a term
        time.sleep(2 * self._lab.spec.lease_ttl)

    def _crash(self, when: str) -> None:
        seen: list[str] = []

        def one_forwards() -> bool:
            seen[:] = self._forwarders()
            return len(seen) == 1

        wait_for("one host forwards", one_forwards)
        (crashed,) = seen
        self._board.say(f"{crashed} forwards and crashes, {when}")
        crashed_at = now_ms()
        faults.crash(self._lab, crashed)
        self._excused.append((crashed_at, crashed_at + _CRASH_GAP))
        wait_for("another host forwards", lambda: self._alive_forwarders(crashed), 10)
        time.sleep(_AWAY)
        returned_at = now_ms()
        faults.thaw(self._lab, crashed)
        self._excused.append((returned_at, returned_at + _RETURN_GAP))
        wait_for("one host forwards", lambda: len(self._forwarders()) == 1, 10)
        self._board.exactly(
            f"{when}, after a crash it forwards again by itself", self._forwarders() == [crashed], False
        )

    # -- looks ----------------------------------------------------------------------------

    def _note_pauses(self, bystander: TargetResult) -> None:
        pauses = bystander.gaps(_STOOD_STILL)
        self._paused = [(start, start + length + _STILL_GAP) for start, length in pauses]
        longest = max((length for _, length in pauses), default=0.0)
        self._board.say(f"the machine stood still {len(pauses)} times, for {longest:.0f} ms at the most")
        self._board.exactly("a host that has no part in this answered in the end", bystander.answered, wanted=True)

    def _judge(self, way: str, result: ProbeResult) -> None:
        lost = [
            echo
            for target in result.targets
            for echo, answer in target.echoes
            if answer is None and not _is_within(echo, self._excused)
        ]
        still = [echo for echo in lost if _is_within(echo, self._paused)]
        if still:
            self._board.say(f"    {way}: {len(still)} lost when the machine stood still, which are not counted")
            lost = [echo for echo in lost if not _is_within(echo, self._paused)]
        if lost:
            at = sorted({round(echo / 1000 - self._began) for echo in lost})
            self._board.say(f"    lost in these seconds of the outage: {', '.join(map(str, at))}")
        gaps = [gap for target in result.targets for gap in target.gaps()]
        largest = max((length for start, length in gaps if not _is_within(start + length, self._paused)), default=0.0)
        self._board.at_most(f"{way}, crashes and returns: largest gap", largest, _CRASH_GAP, "ms")
        self._board.exactly(f"{way}, of {result.sent} packets lost otherwise", len(lost), 0)
        self._board.exactly(f"{way}: answered in the end", result.all_answered, wanted=True)

    def _forwarders(self) -> list[str]:
        """Hosts that let frames of the tenant's router pass, by the kernels' word."""
        return [name for name in self._hosts if kernel.passing(self._lab.host(name), self._taps)]

    def _alive_forwarders(self, crashed: str) -> list[str]:
        return [name for name in self._forwarders() if name != crashed]

    def _overview(self) -> list[dict[str, Any]]:
        routers: list[dict[str, Any]] = self._client.request("GET", "/v2.0/haqn/routers")["routers"]
        return routers

    def _members(self) -> Mapping[str, frozenset[str]]:
        return {one["id"]: frozenset(member["host"] for member in one["members"]) for one in self._overview()}

    def _knows_nothing(self) -> bool:
        agents = self._client.find("agent")
        members = [member for router in self._overview() for member in router["members"]]
        return all(one["liveness"] == "unknown" for one in (*agents, *members)) and all(
            member["state"] is None and member["in_sync"] is None for member in members
        )

    def _refusal(self) -> int:
        """The status with which a write is refused; 0: it is not."""
        # the server has closed a connection that was idle for minutes, and a write is not sent twice
        with Client(self._lab.spec.api_url) as client:
            try:
                client.update("router", self._others[0]["id"], {"description": "meanwhile"})
            except ApiError as error:
                return error.status
        return 0

    def _is_led(self) -> bool:
        try:
            found = etcdctl.get(self._lab, keys.LEADER)
        except HostError:
            return False
        return bool(found) and decode(found[0].value, LeaderRecord).epoch > 0

    def _services(self, name: str) -> list[Service]:
        return [service for service in services.services(self._lab.spec) if service.name.startswith(name)]

    def _kill(self, service: Service) -> None:
        faults.kill(self._lab.host(service.host), service.name)

    @contextmanager
    def _sql_is_locked(self) -> Iterator[None]:
        """The lab's SQLite has no server that could be killed; that nobody can write is the same to all of haqn."""
        connection = sqlite3.connect(database_file(self._lab), timeout=30, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()


def _is_within(moment: float, times: list[tuple[float, float]]) -> bool:
    return any(start <= moment <= end for start, end in times)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
