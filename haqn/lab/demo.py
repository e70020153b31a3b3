"""The story of haqn in two minutes, on real parts: a cluster, a router, a crash, a new standby, a
host that comes back, a switchover, and one more crash with fifty routers. Every step is measured.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from types import FrameType

from haqn.exceptions import HaqnError
from haqn.lab import etcdctl, faults, kernel, lookup, services
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.probe import Probe, ProbeResult, now_ms
from haqn.lab.scenario import Scenario
from haqn.lab.scenery import wait_for
from haqn.lab.scoreboard import Scoreboard
from haqn.lab.spec import EXTERNAL_HOST, LabSpec

_SPEC = LabSpec(hosts=3, computes=1, lease_ttl=5, advert_ms=100)
_MANY = 50
_SAMPLE = 20
#: limits: those of the project's first issue
_CRASH_GAP_MS = 500.0
_SWITCHOVER_GAP_MS = 150.0
#: a lease lives at most about twice its TTL, then there is planning, building and the first adverts
_REDUNDANT_S = 25.0
_FORWARDING_S = 10.0
_MANY_READY_S = 30.0
#: a probe goes on for so long before and after what it watches, in seconds
_CALM = 1.0


def run(name: str) -> int:
    """Tell the story; 0 only if every step held. The lab is gone afterwards, whatever happened."""
    board = Scoreboard()
    lab = Lab(name)
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    told = False
    try:
        _Story(lab, board).tell()
        told = True
    except (HaqnError, OSError) as error:
        board.say(f"    {error}")
    except KeyboardInterrupt:
        board.say("    interrupted")
    finally:
        for number in previous:
            # impatience must not leave half a lab behind
            signal.signal(number, signal.SIG_IGN)
        board.say("cluster down")
        lab.destroy()
        for number, handler in previous.items():
            signal.signal(number, handler)
    board.exactly("the story was told to its end", told, wanted=True)
    board.exactly("hosts and links left of the lab", len(lab.remains()), 0)
    print(f"\n{board.table()}\n\n{time.monotonic() - board.began:.0f} s; logs are in {lab.work_dir}")
    print("every step held" if board.all_held else "NOT every step held")
    return 0 if board.all_held else 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Story:
    """The steps, in their order; each leaves the cluster working for the next one."""

    scenario: Scenario

    def __init__(self, lab: Lab, board: Scoreboard) -> None:
        self.lab = lab
        self.board = board

    def tell(self) -> None:
        self._bring_up()
        with Client(self.lab.spec.api_url) as client:
            self._make_router(client)
            self._show_leases()
            crashed = self._crash_the_active()
            self._heal(crashed)
            self._switch_over()
            self._crash_with_many(crashed)

    def _bring_up(self) -> None:
        size = f"{_SPEC.hosts} network hosts, {_SPEC.computes} compute host"
        self.board.say(f"cluster up: {size}, leases of {_SPEC.lease_ttl} s, adverts every {_SPEC.advert_ms} ms")
        began = time.monotonic()
        self.lab.build(_SPEC)
        services.start_all(self.lab, lambda what: self.board.say(f"  {what}"))
        self.board.at_most("cluster up, all agents alive", time.monotonic() - began, 60, "s")

    def _make_router(self, client: Client) -> None:
        self.board.say("through the REST API: external and tenant network, router with a gateway, VM")
        began = time.monotonic()
        self.scenario = scenario = Scenario(self.lab, client)
        outbound = scenario.until_vm_reaches_out()
        self.board.at_most("first network, VM and router: packets flow", time.monotonic() - began, _FORWARDING_S, "s")
        # the external host has no route to the tenant network yet: that answers arrive is SNAT at work
        self.board.exactly("VM -> external host, with SNAT: answered", outbound.all_answered, wanted=True)
        scenario.route_to_tenant()
        inbound = scenario.scenery.until_answered_outside(scenario.inbound)
        self.board.exactly("external host -> router and VM: answered", inbound.all_answered, wanted=True)
        wait_for("the router has a standby", scenario.is_redundant)

    def _show_leases(self) -> None:
        self.board.say("etcdctl get --prefix /haqn/v1/agents; etcdctl lease timetolive")
        entries = etcdctl.get(self.lab, etcdctl.AGENTS)
        for entry in entries:
            left = etcdctl.time_to_live(self.lab, entry.lease)
            self.board.say(f"    {entry.key}  lease {entry.lease:x}, {left} s left")
        leases = sum(entry.lease != 0 for entry in entries)
        self.board.exactly("agents with a lease", leases, _SPEC.hosts + _SPEC.computes)

    def _crash_the_active(self) -> str:
        scenario, active = self.scenario, self.scenario.active
        self.board.say(f"{active} crashes: it carries the router, its links go down and its processes freeze")
        with scenario.both_ways() as both_ways:
            time.sleep(_CALM)
            crashed_at = now_ms()
            faults.crash(self.lab, active)
            wait_for("there is a new standby", lambda: scenario.is_redundant(without=active))
            redundant_at = now_ms()
            time.sleep(_CALM)
            outbound, inbound = both_ways.stop()
        for way, result in (("VM -> external", outbound), ("external -> router, VM", inbound)):
            self.board.at_most(f"host crash, {way}: largest gap", result.largest_gap_ms, _CRASH_GAP_MS, "ms")
        after = (redundant_at - crashed_at) / 1000
        self.board.at_most("new standby bound and ready after the crash", after, _REDUNDANT_S, "s")
        lost = sum(_lost_afterwards(result, crashed_at) for result in (outbound, inbound))
        self.board.exactly("packets that the new standby cost", lost, 0)
        return active

    def _heal(self, host: str) -> None:
        scenario = self.scenario
        self.board.say(f"{host} comes back, and still believes that it is the active one")
        with scenario.both_ways() as both_ways:
            time.sleep(_CALM)
            faults.thaw(self.lab, host)
            services.wait_for_agents(self.lab)
            # by the lease that it has now: before that it has said nothing, or what was so before the crash
            wait_for(f"{host} has caught up", lambda: not etcdctl.unsettled(self.lab, [host]))
            wait_for(f"{host} claims nothing", lambda: not scenario.scenery.masters_on(host))
            time.sleep(2 * _CALM)
            outbound, inbound = both_ways.stop()
        gap = max(outbound.largest_gap_ms, inbound.largest_gap_ms)
        self.board.at_most("host back: largest gap", gap, _SWITCHOVER_GAP_MS, "ms")
        self.board.exactly("host back: pairs that it claims", len(scenario.scenery.masters_on(host)), 0)
        self.board.exactly("host back: gates open on it", len(kernel.open_gates(self.lab.host(host).run)), 0)

    def _switch_over(self) -> None:
        scenario, old, new = self.scenario, self.scenario.active, self.scenario.standby
        pair = etcdctl.pair_of(self.lab, scenario.router["id"])
        self.board.say(f"planned switchover of pair {pair}, from {old} to {new}")
        swapped = {new: "active", old: "standby"}
        with scenario.both_ways() as both_ways:
            time.sleep(_CALM)
            services.manage(self.lab, "switchover", str(pair))
            wait_for(f"{new} is active", lambda: scenario.states == swapped)
            time.sleep(_CALM)
            outbound, inbound = both_ways.stop()
        gap = max(outbound.largest_gap_ms, inbound.largest_gap_ms)
        self.board.at_most("planned switchover: largest gap", gap, _SWITCHOVER_GAP_MS, "ms")

    def _crash_with_many(self, back: str) -> None:
        """`back`: the host that had crashed and come back."""
        scenario = self.scenario
        self.board.say(f"{_MANY} routers, each with a gateway and a network")
        began = time.monotonic()
        routers = [scenario.router, *(scenario.add_router(number) for number in range(1, _MANY))]
        addresses = {router["id"]: lookup.external_address(router) for router in routers}
        scenario.scenery.until_answered_outside(list(addresses.values()))
        self.board.at_most(f"{_MANY} routers created and forwarding", time.monotonic() - began, _MANY_READY_S, "s")
        wait_for("every router has a standby", lambda: scenario.scenery.are_redundant(addresses))
        stands_by = any(scenario.scenery.host_in_state(router, "standby") == back for router in addresses)
        self.board.exactly(f"{back}, which came back, stands by for new routers", stands_by, wanted=True)
        active = {router: scenario.scenery.host_in_state(router, "active") for router in addresses}
        host, count = Counter(active.values()).most_common(1)[0]
        sample = [addresses[router] for router in addresses if active[router] == host][:_SAMPLE]
        self.board.say(f"{host} crashes: it carries {count} of them, {len(sample)} are pinged")
        with Probe(self.lab.host(EXTERNAL_HOST), sample) as probe:
            time.sleep(_CALM)
            crashed_at = now_ms()
            faults.crash(self.lab, host)
            wait_for(
                "every router has a standby again",
                lambda: scenario.scenery.are_redundant(addresses, without=host),
            )
            redundant_at = now_ms()
            time.sleep(_CALM)
            result = probe.stop()
        self.board.at_most(f"crash with {count} routers: largest gap", result.largest_gap_ms, _CRASH_GAP_MS, "ms")
        answering = sum(target.answered for target in result.targets)
        self.board.exactly("routers of the sample that answer", answering, len(sample))
        after = (redundant_at - crashed_at) / 1000
        self.board.at_most(f"new standbys for all {_MANY} ready", after, _REDUNDANT_S, "s")
        self.board.exactly("packets that the new standbys cost", _lost_afterwards(result, crashed_at), 0)


def _lost_afterwards(result: ProbeResult, crashed_at: float) -> int:
    """Echoes lost after the survivor forwards: the replacement begins later, with the end of the lease."""
    return result.between(crashed_at + 2 * _CRASH_GAP_MS, now_ms()).lost
