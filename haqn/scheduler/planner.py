"""The plan: which pairs and bindings have to change, and why the rest has to wait.

A pure function of a view and a policy. The rules are those of DESIGN.md: VRRP moves traffic and
designated roles follow it; a dead member is replaced make-before-break, by a pair in which the
survivor is active; and the plan of an applied plan is empty. All iteration is sorted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from haqn.failover.levels import ORDERED_LEVEL
from haqn.model import Pair, RouterRequest, VrrpState
from haqn.scheduler import placement
from haqn.scheduler.board import Board
from haqn.scheduler.brakes import death_brake
from haqn.scheduler.operator import Operator
from haqn.scheduler.pace import Pace
from haqn.scheduler.view import Hold, Observation, Plan, Policy, View


def plan(view: View, policy: Policy) -> Plan:
    """What has to be done now. The same view and policy give the same plan."""
    return _Planner(view, policy).run()


def _name(pair: Pair) -> str:
    """The pair as the subject of a hold."""
    return f"pair {pair.id}"


class _Planner:
    def __init__(self, view: View, policy: Policy) -> None:
        self.view = view
        self.policy = policy
        self.board = Board(view, policy)
        self.brake = death_brake(view, policy, self.board)
        #: why something is held back that a death asks for
        self.held_by_brake = ""
        self.holds: list[Hold] = []
        #: pairs, and what routers demand that may stay on them: most of thousands are like others
        self.well_placed: set[tuple[int, placement.Demand]] = set()
        self.waits: list[float] = []
        self.reports = {(o.pair_id, o.agent_id): o for o in view.observations}
        self.pace = Pace(view, policy, self.board, self.reports)
        self.operator = Operator(view, self.board, self.pace, self.reports)
        self.pins: dict[str, list[str]] = defaultdict(list)
        for pin in sorted(view.pins, key=lambda p: (p.router_id, p.agent_id)):
            self.pins[pin.router_id].append(pin.agent_id)

    def run(self) -> Plan:
        for pair in list(self.board.pairs.values()):
            self._follow(pair)
        self.operator.carry_on()
        routers = sorted(self.view.routers, key=lambda r: r.id)
        for router in routers:
            self._keep(router)
        for router in routers:
            if router.id not in self.board.bindings:
                self._place(router)
        self._retire_pairs()
        for agent_id, why in self.pace.waiting():
            self._hold(f"agent {self.board.host(agent_id)}", why)
        if self.view.release is not None:
            self.waits.append(self.view.release.remaining)
        return Plan(
            actions=tuple(self.board.actions),
            holds=tuple(self.holds),
            recheck_in=min(self.waits, default=None),
            progress=self.operator.progress(self.holds),
            brake=self.held_by_brake,
        )

    def _hold(self, subject: str, reason: str) -> None:
        self.holds.append(Hold(subject=subject, reason=reason))

    def _braked(self, subject: str, wish: str) -> bool:
        """Whether a reaction to death has to wait; says so."""
        if not self.brake.reason:
            return False
        if self.brake.ends_in is not None:
            self.waits.append(self.brake.ends_in)
        if not self.brake.usual:
            self.held_by_brake = self.brake.reason
            self._hold(subject, f"{wish}, but {self.brake.reason}")
        return True

    # -- roles follow VRRP ---------------------------------------------------------------

    def _follow(self, pair: Pair) -> None:
        board = self.board
        active, backup = pair.members
        if board.alive(active) and board.alive(backup):
            self._follow_living(pair)
        elif board.alive(backup):
            wish = f"{board.host(active)} is {board.why_unwilling(active)}"
            if not self._braked(_name(pair), wish):
                board.designate(pair, backup, f"{wish}; {board.host(backup)} is alive")
        elif board.alive(active):
            self._take_from_dead(pair)
        elif board.riders(pair.id) and not self._are_vouched_dead(pair):
            self.held_by_brake = self.held_by_brake or self._both_dead(pair)
            self._hold(_name(pair), f"{self._both_dead(pair)}: nothing is touched")

    def _take_from_dead(self, pair: Pair) -> None:
        """The designated BACKUP has lost its lease. Should it forward all the same, the ACTIVE is told again, once."""
        active, backup = (self.board.host(member) for member in pair.members)
        report = self.reports.get((pair.id, pair.active_agent_id))
        if report is None or report.epoch != pair.epoch or report.state is not VrrpState.BACKUP:
            return
        if report.level >= ORDERED_LEVEL:
            return  # it does what it can
        if report.age < self.policy.role_settle:
            self.waits.append(self.policy.role_settle - report.age)
        elif not self._braked(_name(pair), wish := f"{backup} is dead, and {active} reports BACKUP"):
            self.board.designate(pair, pair.active_agent_id, wish)

    def _both_dead(self, pair: Pair) -> str:
        return f"both {' and '.join(self.board.host(member) for member in pair.members)} are dead"

    def _are_vouched_dead(self, pair: Pair) -> bool:
        """Whether an operator says that neither member can still forward."""
        return self.view.release is not None and self.view.release.agents.issuperset(pair.members)

    def _follow_living(self, pair: Pair) -> None:
        board = self.board
        active, backup = pair.members
        leads, stands_by = (self.reports.get((pair.id, member)) for member in pair.members)
        if leads is None or stands_by is None or not leads.epoch == stands_by.epoch == pair.epoch:
            return  # somebody has not carried out the present roles yet
        if stands_by.state is VrrpState.MASTER:
            self._follow_master(pair, leads, stands_by)
        elif stands_by.yielding and leads.dead_uplinks > stands_by.dead_uplinks:
            # VRRP would have seen to it, if the two heard each other
            reason = f"{board.host(backup)} yields to {board.host(active)}, and has the better uplinks"
            board.designate(pair, backup, reason)
        elif board.riders(pair.id) and (leaving := board.why_unwilling(active)):
            wish = f"{board.host(active)} is {leaving}"
            if board.why_unwilling(backup):
                self._hold(_name(pair), f"{wish}, but {board.host(backup)} is {board.why_unwilling(backup)}")
            elif why_not := self.pace.why_not_hand_over(pair, backup):
                self._hold(_name(pair), f"{wish}, but {why_not}")
            else:
                board.designate(pair, backup, f"{wish}; {board.host(backup)} stands by")

    def _follow_master(self, pair: Pair, leads: Observation, stands_by: Observation) -> None:
        """The designated BACKUP reports MASTER."""
        board = self.board
        active, backup = (board.host(member) for member in pair.members)
        leaving = board.why_unwilling(pair.backup_agent_id)
        if leads.state is VrrpState.MASTER:
            if leads.dead_uplinks > stands_by.dead_uplinks and self._has_settled(leads, stands_by):
                reason = f"both {active} and {backup} report MASTER, and {backup} has the better uplinks"
                board.designate(pair, pair.backup_agent_id, reason)
            else:
                self._hold(_name(pair), f"both {active} and {backup} report MASTER")
        elif leaving and not board.why_unwilling(pair.active_agent_id):
            self._hold(_name(pair), f"{backup} reports MASTER, but it is {leaving}")
        elif self._has_settled(leads, stands_by):
            reason = f"{backup} reports MASTER and {active} {leads.state}"
            board.designate(pair, pair.backup_agent_id, reason)

    def _has_settled(self, leads: Observation, stands_by: Observation) -> bool:
        """Whether swapped roles are more than a handover on its way. A FAULT is definite at once, unless it was asked
        for: then it outlasts the request by a moment."""
        since = min(leads.age, stands_by.age)
        if (leads.state is VrrpState.FAULT and not leads.yielding) or since >= self.policy.role_settle:
            return True
        self.waits.append(self.policy.role_settle - since)
        return False

    # -- bound routers -------------------------------------------------------------------

    def _keep(self, router: RouterRequest) -> None:
        binding = self.board.bindings.get(router.id)
        if binding is None:
            return
        if binding.pair_id is None:
            self._keep_on_agent(router, str(binding.agent_id))
        elif router.ha:
            self._keep_on_pair(router, self.board.pairs[binding.pair_id])
        else:
            self._take_off_pair(router, self.board.pairs[binding.pair_id])

    def _keep_on_agent(self, router: RouterRequest, agent_id: str) -> None:
        board = self.board
        pins = self.pins.get(router.id, [])
        why_leave = ""
        if not board.alive(agent_id):
            why_leave = f"{board.host(agent_id)} is {board.why_unwilling(agent_id)}"
        elif not board.fits(agent_id, router):
            why_leave = f"{board.host(agent_id)} cannot carry it out: {board.why_not(agent_id, router)}"
        elif router.ha:
            self._add_standby(router, agent_id)
            return
        elif wanted := [p for p in pins if p != agent_id and agent_id not in pins and board.may_host(p, router)]:
            why_leave = f"pinned to {board.host(wanted[0])}"
        else:
            why_leave = board.why_unwilling(agent_id) and f"{board.host(agent_id)} is {board.why_unwilling(agent_id)}"
        if not why_leave:
            return
        if agent_id in pins:
            self._hold(router.id, f"{why_leave}, but the router is pinned to it")
        elif not board.alive(agent_id) and self._braked(router.id, why_leave):
            return
        elif not (board.alive(agent_id) and board.why_unwilling(agent_id)) or self.pace.take(agent_id):
            self._place(router, why_leave)

    def _add_standby(self, router: RouterRequest, active: str) -> None:
        standby = self._standby(router, active)
        if standby is None:
            self._hold(router.id, f"no standby: {self.board.why_none(router, (active,))}")
        else:
            self.board.bind_to_pair(
                router.id, active, standby, f"{self.board.host(standby)} can stand by for {self.board.host(active)} now"
            )

    def _take_off_pair(self, router: RouterRequest, pair: Pair) -> None:
        active = pair.active_agent_id
        if self._is_master(pair, active):
            self.board.bind_to_agent(router.id, active, "it is no longer to have a standby (ha=false)")
        else:
            self._hold(router.id, f"ha=false, but {self.board.host(active)} does not report MASTER on pair {pair.id}")

    def _keep_on_pair(self, router: RouterRequest, pair: Pair) -> None:
        board = self.board
        active, backup = pair.members
        if not board.alive(active):
            # otherwise the brake is on: `_follow` has said so
            if not board.alive(backup) and self._are_vouched_dead(pair):
                self._place(router, f"{self._both_dead(pair)}, as an operator says")
            return
        pins = self.pins.get(router.id, ())
        like = (pair.id, placement.demand_of(router))
        if not pins and like in self.well_placed:
            return
        missing_pins = [p for p in pins if p not in pair.members and board.may_host(p, router)]
        why_active = self._why_replace(router, active, pins, missing_pins if backup in pins else [])
        why_backup = self._why_replace(router, backup, pins, missing_pins) or self._why_leaving(backup, pins)
        if why_active and backup not in pins and not board.fits(backup, router):
            self._place(router, f"{why_active}; {why_backup}")
        elif why_active:
            self._replace_active(router, pair, why_active)
        elif why_backup:
            self._replace_standby(router, pair, why_backup)
        elif not (pins or any(board.has_list(member) for member in pair.members)):
            self.well_placed.add(like)

    def _why_replace(
        self, router: RouterRequest, member: str, pins: Collection[str], missing_pins: Collection[str]
    ) -> str:
        """Why this member cannot stay, whether it is well or not."""
        if member in pins:
            return ""
        if not self.board.fits(member, router):
            return f"{self.board.host(member)} cannot carry it out: {self.board.why_not(member, router)}"
        if missing_pins:
            return f"pinned to {self.board.host(min(missing_pins))}"
        return ""

    def _why_leaving(self, member: str, pins: Collection[str]) -> str:
        why = self.board.why_unwilling(member)
        return f"{self.board.host(member)} is {why}" if why and member not in pins else ""

    def _replace_standby(self, router: RouterRequest, pair: Pair, why: str) -> None:
        """Make-before-break: the active member keeps the router, a third agent stands by."""
        board = self.board
        active, backup = pair.members
        if not board.alive(backup) and self._braked(router.id, why):
            return
        standby = self._standby(router, active, (backup,))
        if standby is None:
            self._hold(router.id, f"{why}, and no third agent can stand by: {board.why_none(router, pair.members)}")
        elif not self._is_master(pair, active):
            self._hold(router.id, f"{why}, but {board.host(active)} does not report MASTER on pair {pair.id} yet")
        elif not board.alive(backup) or self.pace.take(backup):
            board.bind_to_pair(
                router.id, active, standby, f"{why}; {board.host(active)} goes on, {board.host(standby)} stands by"
            )

    def _replace_active(self, router: RouterRequest, pair: Pair, why: str) -> None:
        """The active cannot carry the router out, or gives way to a pinned agent: the standby takes it over."""
        board = self.board
        active, backup = pair.members
        report = self.reports.get((pair.id, backup))
        standby = self._standby(router, backup, (active,))
        if report is None or report.state is VrrpState.FAULT or not board.alive(backup):
            self._hold(router.id, f"{why}, but {board.host(backup)} is not ready on pair {pair.id}")
        elif standby is None:
            self._hold(router.id, f"{why}, and no third agent can stand by: {board.why_none(router, pair.members)}")
        else:
            board.bind_to_pair(router.id, backup, standby, f"{why}; {board.host(backup)} takes over")

    def _is_master(self, pair: Pair, agent_id: str) -> bool:
        report = self.reports.get((pair.id, agent_id))
        return report is not None and report.state is VrrpState.MASTER

    def _standby(self, router: RouterRequest, active: str, without: Collection[str] = ()) -> str | None:
        """A pinned agent first, then the best one."""
        pinned = [
            p
            for p in self.pins.get(router.id, ())
            if p != active and p not in without and self.board.may_host(p, router)
        ]
        return self.board.least_active(router, pinned) or self.board.standby_for(router, active, without)

    # -- unbound routers -----------------------------------------------------------------

    def _place(self, router: RouterRequest, why: str = "") -> None:
        """Bind a router that runs nowhere, or nowhere where it can stay (`why`)."""
        board = self.board
        active = board.least_active(router, self.pins.get(router.id, ())) or board.least_active(router)
        if active is None:
            self._hold(router.id, f"{why or 'not bound'}: no agent is eligible: {board.why_none(router)}")
            return
        why = f"{why}; " if why else ""
        standby = self._standby(router, active) if router.ha else None
        if standby is not None:
            board.bind_to_pair(
                router.id,
                active,
                standby,
                f"{why}{board.host(active)} has the fewest active routers, {board.host(standby)} stands by",
            )
        elif router.ha:
            board.bind_to_agent(
                router.id, active, f"{why}{board.host(active)} is the only one: {board.why_none(router, (active,))}"
            )
        else:
            board.bind_to_agent(router.id, active, f"{why}{board.host(active)} has the fewest active routers")

    # -- pairs that nothing is bound to --------------------------------------------------

    def _retire_pairs(self) -> None:
        """Delete what both members have left. An agent keeps whole pairs with as many peers as it is to have, so that
        routers which come and go reload no keepalived."""
        board = self.board
        was_bound = {binding.pair_id for binding in self.view.bindings}
        vacant = {(v.pair_id, v.agent_id) for v in self.view.vacancies}
        peers: dict[str, set[str]] = defaultdict(set)
        for pair in board.pairs.values():
            if board.riders(pair.id):
                peers[pair.active_agent_id].add(pair.backup_agent_id)
        for pair in sorted(board.pairs.values(), key=lambda p: -p.id):
            if board.riders(pair.id) or pair.id in was_bound:
                continue
            whole = not any(board.why_unwilling(member) for member in pair.members)
            kept = peers[pair.active_agent_id]
            if whole and pair.backup_agent_id not in kept and len(kept) < self.policy.scatter_width:
                kept.add(pair.backup_agent_id)
            elif all((pair.id, member) in vacant or member not in board.agents for member in pair.members):
                board.delete_pair(pair, "no router is bound to it, and both members have left it")
