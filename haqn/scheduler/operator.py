"""Carries operations on, a little with each plan: what is possible now is done, the rest says what it waits for.

Everything follows from the facts of the moment and the steps that were carried out for good, so that a plan made by
another leader goes on where the last one stopped. Traffic moves only by handovers of whole pairs, of which one agent
is part of one at a time; before, each router of the pair is ready on the peer. Drains are the planner's own: agents
that are to be left; here they are only counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from haqn.model import Pair, RouterRequest, VrrpState
from haqn.scheduler import rebalance
from haqn.scheduler.board import Board
from haqn.scheduler.operations import Operation, OperationKind, OperationState, Progress, Step
from haqn.scheduler.pace import Pace, Reports
from haqn.scheduler.view import Hold, View


class Operator:
    """For one plan."""

    def __init__(self, view: View, board: Board, pace: Pace, reports: Reports) -> None:
        self._view = view
        self._board = board
        self._pace = pace
        self._reports = reports
        self._operations = sorted(view.operations, key=lambda operation: operation.id)
        self._absent = {(absent.router_id, absent.agent_id) for absent in view.absent}
        self._progress: dict[str, Progress] = {}
        self._routers: Mapping[str, RouterRequest] | None = None

    def carry_on(self) -> None:
        """Do what the operations ask for, but for drains."""
        for operation in self._operations:
            if operation.kind is OperationKind.SWITCHOVER:
                self._progress[operation.id] = self._switch_over(operation)
            elif operation.kind is OperationKind.REBALANCE:
                self._progress[operation.id] = self._rebalance(operation)
            elif operation.kind is OperationKind.REBUILD:
                self._progress[operation.id] = self._rebuild(operation)

    def progress(self, holds: list[Hold]) -> tuple[Progress, ...]:
        """Of all operations, when everything else of the plan is decided."""
        reasons = {hold.subject: hold.reason for hold in holds}
        for operation in self._operations:
            if operation.kind is OperationKind.DRAIN:
                self._progress[operation.id] = self._drain(operation, reasons)
        return tuple(self._progress[operation.id] for operation in self._operations)

    # -- switchover ----------------------------------------------------------------------

    def _switch_over(self, operation: Operation) -> Progress:
        done = set(operation.carried_out)
        waiting_for = ""
        for place, step in enumerate(operation.steps):
            pair = self._board.pairs.get(step.pair_id) if step.pair_id is not None else None
            if place in done:
                continue
            if pair is None or step.agent_id not in pair.members:
                done.add(place)  # nobody rides on it any more
            elif pair.active_agent_id != step.agent_id:
                waiting_for = self._hand_over(pair, step.agent_id, "switchover by an operator") or waiting_for
            elif self._pace.is_settled(pair):
                done.add(place)
            else:
                waiting_for = f"pair {pair.id} is being handed over"
        return _of_steps(operation, done, waiting_for)

    def _hand_over(self, pair: Pair, to: str, why: str) -> str:
        """Swap the pair's roles, or say why not now."""
        why_not = self._board.why_unwilling(to)
        if why_not:
            return f"{self._board.host(to)} is {why_not}"
        why_not = self._pace.why_not_hand_over(pair, to)
        if why_not:
            return why_not
        if not self._pace.is_settled(pair):
            return f"pair {pair.id} is not settled"
        self._board.designate(pair, to, f"{why}; {self._board.host(to)} stands by")
        return f"pair {pair.id} is being handed over"

    # -- rebalance -----------------------------------------------------------------------

    def _rebalance(self, operation: Operation) -> Progress:
        if operation.total < 0:
            steps = rebalance.moves(self._view, self._board)
            total = sum(len(step.routers) for step in steps)
            outcome = None if steps else OperationState.DONE
            return Progress(operation_id=operation.id, total=total, steps=steps, outcome=outcome)
        if operation.state is OperationState.PROPOSED:
            return Progress(operation_id=operation.id, total=operation.total, waiting_for="an operator's approval")
        done = set(operation.carried_out)
        waiting_for = ""
        for standby in (False, True):
            if waiting_for:
                break  # standbys are moved from where they are when the actives have moved
            for place, step in enumerate(operation.steps):
                if place in done or step.standby is not standby:
                    continue
                why = self._move_standbys(step) if standby else self._move(step)
                if why:
                    waiting_for = waiting_for or why
                else:
                    done.add(place)
        moved = sum(len(operation.steps[place].routers) for place in done)
        return Progress(
            operation_id=operation.id,
            carried_out=tuple(sorted(done)),
            done=moved,
            total=operation.total,
            waiting_for=waiting_for,
            outcome=OperationState.DONE if len(done) == len(operation.steps) else None,
        )

    def _move(self, step: Step) -> str:
        """Routers get the agent as their standby, in a pair that is theirs alone; then that pair's roles are swapped.

        What it waits for; nothing when the routers have moved, or cannot any more.
        """
        board, source = self._board, str(step.from_agent_id)
        mine = {router_id: pair for router_id in step.routers if (pair := self._pair_of(router_id)) is not None}
        left = {router_id: pair for router_id, pair in mine.items() if pair.active_agent_id == source}
        if not left:
            moving = [pair for pair in mine.values() if pair.active_agent_id == step.agent_id]
            unsettled = [pair for pair in moving if not self._pace.is_settled(pair)]
            return f"pair {unsettled[0].id} is being handed over" if unsettled else ""
        for agent_id in (source, step.agent_id):
            if why := board.why_unwilling(agent_id):
                return f"{board.host(agent_id)} is {why}"
        own = self._own_pair(step, left)
        staged = [router_id for router_id, pair in left.items() if own is not None and pair.id == own.id]
        outside = sorted(left.keys() - set(staged))
        if not outside and own is not None:
            return self._hand_over(own, step.agent_id, f"rebalance of {len(staged)} routers")
        return self._stage(step, outside, own, left)

    def _move_standbys(self, step: Step) -> str:
        """Another agent stands by for the routers; who is active for them goes on, and nothing of theirs moves.

        What it waits for; nothing when the routers have moved, or cannot any more.
        """
        board, source = self._board, str(step.from_agent_id)
        if self._routers is None:
            self._routers = {router.id: router for router in self._view.routers}
        at = {router_id: pair for router_id in step.routers if (pair := self._pair_of(router_id)) is not None}
        left = sorted(router_id for router_id, pair in at.items() if pair.backup_agent_id == source)
        building = 0
        for count, router_id in enumerate(left):
            active = at[router_id].active_agent_id
            report = self._reports.get((at[router_id].id, active))
            if active == step.agent_id or router_id not in self._routers:
                continue
            if why := board.why_not(step.agent_id, self._routers[router_id]):
                return f"{board.host(step.agent_id)}: {why}"
            if not board.can_pair(active, step.agent_id):
                return f"{board.host(active)} and {board.host(step.agent_id)} have no VRRP id left"
            if report is None or report.state is not VrrpState.MASTER:
                return f"{board.host(active)} does not report MASTER on pair {at[router_id].id}"
            if not self._pace.take(source):
                return f"{len(left) - count} routers wait until others are ready on {board.host(step.agent_id)}"
            why = f"rebalance: {board.host(active)} goes on, {board.host(step.agent_id)} stands by"
            board.bind_to_pair(router_id, active, step.agent_id, why)
            building += 1
        moved = [router_id for router_id, pair in at.items() if pair.backup_agent_id == step.agent_id]
        building += sum(1 for router_id in moved if not self._pace.is_ready(router_id, step.agent_id))
        return f"{board.host(step.agent_id)} builds {building} routers" if building else ""

    def _stage(self, step: Step, outside: list[str], own: Pair | None, at: Mapping[str, Pair]) -> str:
        board, source = self._board, str(step.from_agent_id)
        pair_id = own.id if own is not None else None
        for count, router_id in enumerate(outside):
            report = self._reports.get((at[router_id].id, source))
            if report is None or report.state is not VrrpState.MASTER:
                return f"{board.host(source)} does not report MASTER on pair {at[router_id].id}"
            if not self._pace.take(source):
                return f"{len(outside) - count} routers wait until others are ready on {board.host(step.agent_id)}"
            if pair_id is None:
                pair_id = board.create_pair(source, step.agent_id)
            board.rebind(
                router_id,
                pair_id,
                f"rebalance: {board.host(source)} goes on, {board.host(step.agent_id)} is to take over",
            )
        return f"{board.host(step.agent_id)} builds {len(outside)} routers"

    def _own_pair(self, step: Step, left: Mapping[str, Pair]) -> Pair | None:
        """The pair on which only the step's routers ride, and which its target stands by in."""
        mine = set(step.routers)
        for pair in sorted(set(left.values()), key=lambda pair: pair.id):
            if pair.backup_agent_id == step.agent_id and self._board.riders(pair.id) == sum(
                1 for router_id, other in left.items() if other.id == pair.id and router_id in mine
            ):
                return pair
        return None

    def _pair_of(self, router_id: str) -> Pair | None:
        binding = self._board.bindings.get(router_id)
        return self._board.pairs.get(binding.pair_id) if binding is not None and binding.pair_id is not None else None

    # -- rebuild -------------------------------------------------------------------------

    def _rebuild(self, operation: Operation) -> Progress:
        (step,) = operation.steps
        router_id = step.routers[0]
        host = self._board.host(step.agent_id)
        pair = self._pair_of(router_id)
        done = set(operation.carried_out)
        if pair is None or step.agent_id not in pair.members:
            return _over(operation, OperationState.FAILED, f"the router is not on {host} any more")
        if 0 not in done:
            report = self._reports.get((pair.id, step.agent_id))
            if pair.active_agent_id == step.agent_id or (report is not None and report.state is VrrpState.MASTER):
                return _over(operation, OperationState.FAILED, f"{host} is no standby: it forwards, or is to")
            if (router_id, step.agent_id) not in self._absent:
                return _of_steps(operation, done, f"{host} takes the router down")
            done.add(0)
            return _of_steps(operation, done, f"{host} builds the router")
        if not self._board.alive(step.agent_id) or not self._pace.is_ready(router_id, step.agent_id):
            return _of_steps(operation, done, f"{host} builds the router")
        return _of_steps(operation, {0, 1}, "")

    # -- drain ---------------------------------------------------------------------------

    def _drain(self, operation: Operation, reasons: Mapping[str, str]) -> Progress:
        board, agent_id = self._board, str(operation.agent_id)
        agent = board.agents.get(agent_id)
        left = board.total_load(agent_id)
        total = max(operation.total, left)
        if agent is None:
            return _over(operation, OperationState.DONE, "the agent is gone")
        if not agent.draining and agent.admin_state_up:
            return _over(operation, OperationState.CANCELLED, "the agent takes routers again")
        still_there = self._still_there(agent_id) if agent.alive else []
        if not left and not still_there:
            return Progress(operation_id=operation.id, done=total, total=total, outcome=OperationState.DONE)
        return Progress(
            operation_id=operation.id,
            done=total - left,
            total=total,
            waiting_for=self._why_not_empty(agent_id, reasons) if left else f"{agent.host} takes its routers down",
        )

    def _still_there(self, agent_id: str) -> list[int]:
        """Pairs that the agent has not reported to have left."""
        vacant = {vacancy.pair_id for vacancy in self._view.vacancies if vacancy.agent_id == agent_id}
        return [pair.id for pair in self._board.pairs.values() if agent_id in pair.members and pair.id not in vacant]

    def _why_not_empty(self, agent_id: str, reasons: Mapping[str, str]) -> str:
        board = self._board
        for pair in board.pairs.values():
            if agent_id in pair.members and board.riders(pair.id) and (why := reasons.get(f"pair {pair.id}")):
                return why
        for router_id, binding in sorted(board.bindings.items()):
            pair_of = self._pair_of(router_id)
            here = binding.agent_id == agent_id or (pair_of is not None and agent_id in pair_of.members)
            if here and (why := reasons.get(router_id)):
                return why
        return reasons.get(f"agent {board.host(agent_id)}", "routers are moving")


def _of_steps(operation: Operation, done: set[int], waiting_for: str) -> Progress:
    total = 2 if operation.kind is OperationKind.REBUILD else len(operation.steps)
    finished = len(done) >= total
    return Progress(
        operation_id=operation.id,
        carried_out=tuple(sorted(done)),
        done=len(done),
        total=total,
        waiting_for="" if finished else waiting_for,
        outcome=OperationState.DONE if finished else None,
    )


def _over(operation: Operation, outcome: OperationState, why: str) -> Progress:
    return Progress(
        operation_id=operation.id,
        carried_out=operation.carried_out,
        done=len(operation.carried_out),
        total=max(operation.total, 0),
        waiting_for=why,
        outcome=outcome,
    )
