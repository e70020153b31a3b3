"""Plays a script in a world: inflicts, heals, waits, and holds what is seen against what was promised."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from haqn.exceptions import HaqnError
from haqn.lab.chaos import fault, timeline
from haqn.lab.chaos.fault import Control, Fault
from haqn.lab.chaos.frames import FrameWatch
from haqn.lab.chaos.gates import GateWatch
from haqn.lab.chaos.inflict import Inflictor
from haqn.lab.chaos.log import Log
from haqn.lab.chaos.promise import Place, Promise, Situation, promise
from haqn.lab.chaos.script import Calm, Heal, Inflict, Step
from haqn.lab.chaos.traffic import Flow, FlowState, Pings, flows
from haqn.lab.chaos.witness import Witness
from haqn.lab.chaos.world import World
from haqn.lab.chaos.writes import Writer
from haqn.lab.probe import TargetResult, now_ms

_POLL = 0.2
#: seconds; how long packets are watched after everything seems to be well
_CALM = 0.6
#: from the end of a fault until its host is whole
_RECOVERED = 60.0
_WHOLE = 90.0
#: a TCP connection that was given up is made again, with pauses
_FLOWS_GO_ON = 25.0
#: longest silence that a connection certainly outlasts
_TCP_OUTLASTS = 4.0
_WRITTEN = 45.0
#: milliseconds until an answer is late
_RECENT = 2000.0
#: seconds for which two hosts let a router's frames pass
_WORTH_TELLING = 0.5
#: milliseconds for which a host that has no part in anything may be silent. An advert that is two intervals (of 100 ms)
#: late gives a pair away, so that nothing is promised any more about what is quick
_STOOD_STILL = 200.0


class Engine:
    """One run in one world. `slack` stretches all bounds, for machines that are busy."""

    def __init__(self, world: World, log: Log, seed: int, slack: float) -> None:
        self._world = world
        self._log = log
        self._slack = slack
        self._names = {one.router_id: one.name for one in world.routed}
        self._inflictor = Inflictor(world.lab)
        self._witness = Witness(world)
        self._in_force: set[Fault] = set()
        self._recovering: set[str] = set()
        self._bugs_said = 0
        self.survived = 0
        self._gates = GateWatch(world.lab)
        self._frames = FrameWatch(world.lab, [mac for taps in world.taps.values() for mac in taps])
        self._flows = flows(world.lab, world.routed)
        self._writer = Writer(world.lab.spec.api_url, world.external_id, seed)

    def close(self) -> None:
        self._writer.close()
        for flow in self._flows:
            flow.close()
        self._frames.close()
        self._gates.close()

    def play(self, steps: list[Step], until: float) -> None:
        """All steps; from the moment `until` (monotonic) on nothing is inflicted any more."""
        changed = True
        for number, step in enumerate(steps, 1):
            if isinstance(step, Calm) and not changed:
                continue
            if isinstance(step, Inflict) and time.monotonic() > until:
                continue
            if isinstance(step, Heal) and step.fault not in self._in_force:
                continue
            text = f"step {number}/{len(steps)}: {step}"
            others = self._in_force - ({step.fault} if isinstance(step, Heal) else set())
            self._log.say(f"{text}{'; in force: ' + ', '.join(sorted(map(str, others))) if others else ''}")
            before = len(self._log.violations), len(self._log.doubts)
            changed = not isinstance(step, Calm)
            if isinstance(step, Calm):
                self._be_calm()
            else:
                self._change(step)
            if isinstance(step, Inflict) and (len(self._log.violations), len(self._log.doubts)) == before:
                self.survived += 1
        if self._in_force:
            raise HaqnError(f"cannot end with faults in force: {self._in_force}")

    # -- a step that changes something --------------------------------------------------------

    def _change(self, step: Inflict | Heal) -> None:
        places = self._places()
        asked, flows_before = now_ms(), {flow.name: flow.state() for flow in self._flows}
        pings = Pings(self._world.lab, self._world.routed)
        began = time.time()
        began_monotonic = time.monotonic()
        try:
            self._apply(step, places)
            now = Situation(frozenset(self._in_force | {step.fault}), frozenset(self._recovering), self._ttl)
            promises = {router: promise(place, now) for router, place in places.items()}
            self._wait_for_forwarders(promises, began_monotonic)
            time.sleep(step.dwell)
            self._wait_for_recovery(began_monotonic)
            time.sleep(_CALM)
        finally:
            results = pings.stop()
        still = pings.stood_still
        if still > _STOOD_STILL:
            self._log.say(f"  the machine stood still for {still:.0f} ms")
        too_slow = self._log.violation if still <= _STOOD_STILL else self._log.doubt
        self._check_pings(promises, results, began_monotonic, too_slow)
        self._check_gates(promises, began, too_slow)
        self._check_flows(promises, flows_before, asked)
        self._check_writes(began)

    def _apply(self, step: Inflict | Heal, places: Mapping[str, Place]) -> None:
        one = step.fault
        try:
            if isinstance(step, Inflict):
                self._in_force.add(one)
                self._inflictor.inflict(one)
            else:
                self._in_force.discard(one)
                if one.of_host:
                    self._recovering |= self._shaken(one, places)
                self._inflictor.heal(one)
        except HaqnError as error:
            self._log.say(f"  {step} did not work: {error}")

    @staticmethod
    def _shaken(one: Fault, places: Mapping[str, Place]) -> set[str]:
        """Hosts that have something to undo when the fault ends: members that did not hear each other may yield."""
        if one.kind not in fault.DEAF | fault.MUTE:
            return {one.target}
        peers = (place.bound | place.holders for place in places.values())
        return {one.target}.union(*(hosts for hosts in peers if one.target in hosts))

    def _places(self) -> dict[str, Place]:
        bound = self._witness.bound()
        latest = self._gates.latest()
        found = {}
        for router, taps in self._world.taps.items():
            devices = set(taps.values())
            present = {host: devices & look.taps.keys() for host, look in latest.items()}
            found[router] = Place(
                bound=frozenset(bound.get(router, ())),
                ready=frozenset(host for host, some in present.items() if some == devices),
                holders=frozenset(host for host, some in present.items() if some),
            )
        return found

    def _forwarders(self) -> dict[str, set[str]]:
        latest = self._gates.latest()
        return {
            router: {host for host, look in latest.items() if look.forwards(taps.values())}
            for router, taps in self._world.taps.items()
        }

    # -- waiting ------------------------------------------------------------------------------

    def _wait_for_forwarders(self, promises: Mapping[str, Promise], began: float) -> None:
        """Until one host forwards for each router, as far as that is promised."""
        bounds = {router: one.forwards_within for router, one in promises.items() if one.forwards_within is not None}
        able = set(self._world.hosts) - {one.target for one in self._in_force if one.kind in fault.DEAD}

        def missing() -> set[str]:
            found = self._forwarders()
            return {router for router in bounds if len(found[router] & able) != 1}

        waited = self._until(lambda: not missing(), began, max(bounds.values(), default=0.0))
        if not waited:
            found = self._forwarders()
            for router in missing():
                self._log.violation(
                    f"{self._names[router]} is forwarded by {sorted(found[router]) or 'nobody'}"
                    f" after {time.monotonic() - began:.1f} s"
                )

    def _wait_for_recovery(self, began: float) -> None:
        """Hosts whose faults have ended are whole before they count as healthy again; not without a control plane."""
        control = fault.control(self._in_force)
        faulty = {one.target for one in self._in_force if one.of_host}
        if control is Control.NONE or any(one.kind in fault.DEAF | fault.MUTE for one in self._in_force):
            return
        waiting = self._recovering - faulty
        reasons: dict[str, str] = {}

        def all_recovered() -> bool:
            reasons.clear()
            reasons.update({host: why for host in waiting if (why := self._witness.not_recovered(host))})
            return not reasons

        bound = _RECOVERED + (4 * self._ttl if control is Control.SLOW else 0.0)
        if waiting and not self._until(all_recovered, began, bound):
            for host, why in reasons.items():
                self._log.violation(f"{host} is not whole {bound * self._slack:.0f} s after its fault: {why}")
        self._recovering -= waiting

    def _until(self, condition: Callable[[], bool], began: float, seconds: float) -> bool:
        while not condition():
            if time.monotonic() > began + seconds * self._slack:
                return False
            time.sleep(_POLL)
        return True

    # -- checking -----------------------------------------------------------------------------

    def _check_pings(
        self,
        promises: Mapping[str, Promise],
        results: Mapping[str, list[TargetResult]],
        began: float,
        too_slow: Callable[[str], None],
    ) -> None:
        worst = ""
        largest = 0.0
        silent: dict[str, float] = {}
        for router, one in promises.items():
            name = self._names[router]
            for target in results[name]:
                start, gap = target.largest_gap
                if gap > largest:
                    largest, worst = gap, f"{name} {target.target}"
                if one.gap is None:
                    continue
                if gap > one.gap * 1000 * self._slack:
                    after = start / 1000 - began
                    too_slow(
                        f"{name}: {target.target} did not answer for {gap:.0f} ms, from {after:.1f} s of the step on"
                        f" ({one.gap:g} s are allowed)"
                    )
                elif not target.answered:
                    silent[name] = one.gap
        lost = sum(target.lost for targets in results.values() for target in targets)
        if lost:
            self._log.say(f"  lost {lost} pings, largest gap {largest:.0f} ms ({worst})")
        self._wait_for_answers(silent)

    def _wait_for_answers(self, silent: Mapping[str, float]) -> None:
        """The step ended in a silence that may be as long as that, by the router's name."""
        began = time.monotonic()
        waiting = dict(silent)

        def answer() -> bool:
            pings = Pings(self._world.lab, [one for one in self._world.routed if one.name in waiting])
            time.sleep(_CALM)
            for name, targets in pings.stop().items():
                if all(target.answered for target in targets):
                    del waiting[name]
            return not waiting

        if waiting and not self._until(answer, began, max(waiting.values())):
            self._log.violation(f"{', '.join(waiting)} did not answer at the end of the step, nor since then")

    def _check_gates(self, promises: Mapping[str, Promise], began: float, too_slow: Callable[[str], None]) -> None:
        looks = self._gates.since(began - 1.0)
        sightings = self._frames.since(began - 0.5)
        for router, taps in self._world.taps.items():
            limit = promises[router].overlap
            overlap = timeline.longest_overlap(looks, set(taps.values()), began)
            text = (
                f"{self._names[router]} was let pass by {' and '.join(overlap.hosts)} for {overlap.seconds:.1f} s,"
                f" from {overlap.began - began:.1f} s of the step on"
            )
            if limit is not None and overlap.seconds > limit * self._slack:
                too_slow(f"{text} ({limit:g} s are allowed)")
            elif overlap.seconds > _WORTH_TELLING:
                self._log.say(f"  {text}")
            strays = timeline.stray(looks, [one for one in sightings if one.mac in taps], taps)
            if strays:
                first = strays[0]
                self._log.violation(
                    f"{self._names[router]}: {len(strays)} frames with {first.mac} left {first.host}"
                    f" although its gate was shut, the first {first.time - began:.1f} s after the step began"
                )

    def _check_flows(self, promises: Mapping[str, Promise], before: Mapping[str, FlowState], asked: float) -> None:
        by_name = {self._names[router]: one for router, one in promises.items()}
        moving = {name for name, state in before.items() if state.last > asked - _RECENT}
        for flow in self._flows:
            one = by_name[flow.name]
            if one.gap is None:
                continue
            if not self._until(partial(_moves, flow), time.monotonic(), _FLOWS_GO_ON):
                self._log.violation(f"{flow.name}: the TCP connection does not go on: {flow.state()}")
            broken = flow.state().connections - before[flow.name].connections
            if broken:
                self._log.say(f"  {flow.name}: its TCP connection was made again {broken} times")
                if flow.stateless and flow.name in moving and one.gap <= _TCP_OUTLASTS:
                    self._log.violation(f"{flow.name}: the TCP connection broke, and no state of it was lost")

    def _check_writes(self, began: float) -> None:
        rows = self._witness.rows()
        doubted = self._writer.contradictions(rows)
        if doubted:
            time.sleep(1.0)
            for one in set(doubted) & set(self._writer.contradictions(self._witness.rows())):
                self._log.violation(one)
        for bug in self._writer.bugs[self._bugs_said :]:
            self._log.violation(bug)
        self._bugs_said = len(self._writer.bugs)
        if fault.api_answers(self._in_force):
            start = time.monotonic()
            if not self._until(lambda: self._writer.last_answer > began, start, _WRITTEN):
                self._log.violation("no write was answered, although the API and SQL are there")

    # -- calm ---------------------------------------------------------------------------------

    def _be_calm(self) -> None:
        """With no fault in force the cluster becomes whole, whatever was before."""
        began = time.monotonic()
        self._writer.rest()
        try:
            self._writer.clean()
        except (HaqnError, OSError) as error:
            self._log.violation(f"what was made cannot be deleted: {error}")
        reasons: list[str] = []

        def whole() -> bool:
            reasons[:] = self._witness.not_whole(self._forwarders())
            return not reasons

        if self._until(whole, began, _WHOLE):
            took = time.monotonic() - began
            self._log.say(
                f"  whole again after {took:.1f} s; {self.survived} faults survived,"
                f" {self._writer.answered} writes answered, {self._writer.unanswered} not"
            )
        for reason in reasons:
            self._log.violation(f"not whole {time.monotonic() - began:.0f} s after the last fault: {reason}")
        self._recovering.clear()
        self._writer.go_on()

    @property
    def _ttl(self) -> float:
        return float(self._world.lab.spec.lease_ttl)


def _moves(flow: Flow) -> bool:
    return flow.state().last > now_ms() - _RECENT
