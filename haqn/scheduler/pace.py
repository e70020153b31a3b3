"""How fast operators' wishes may move routers: what is under way comes to its end before more is begun.

Reactions to death are not paced. Knows reports and what agents have carried out; not why anything is to move.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from haqn.model import FIRST_EPOCH, Pair, VrrpState
from haqn.scheduler.board import Board
from haqn.scheduler.view import Observation, Policy, View

Reports = Mapping[tuple[int, str], Observation]


class Pace:
    """For one plan; `board` may change meanwhile."""

    def __init__(self, view: View, policy: Policy, board: Board, reports: Reports) -> None:
        self._board = board
        self._reports = reports
        self._most = policy.pace
        #: agent -> routers that it has not carried out -> why it cannot, or nothing
        self._unready: dict[str, dict[str, str]] = defaultdict(dict)
        for unready in sorted(view.unready, key=lambda u: (u.agent_id, u.router_id)):
            self._unready[unready.agent_id][unready.router_id] = unready.error
        moving = {unready.router_id for unready in view.unready if not unready.error}
        self._room = max(0, policy.pace - len(moving))
        self._waiting: dict[str, int] = defaultdict(int)

    # -- routers, whose standby is built elsewhere ---------------------------------------

    def take(self, agent_id: str) -> bool:
        """Whether one more router may begin to leave the agent; counted in either case."""
        if self._room > 0:
            self._room -= 1
            return True
        self._waiting[agent_id] += 1
        return False

    def waiting(self) -> list[tuple[str, str]]:
        """(agent, why its other routers have to wait)."""
        return [
            (agent_id, f"{count} more routers are to leave it, {self._most} are moved at a time")
            for agent_id, count in sorted(self._waiting.items())
        ]

    def is_ready(self, router_id: str, agent_id: str) -> bool:
        """Whether the agent has carried out what it should of the router."""
        return router_id not in self._unready.get(agent_id, ())

    # -- handovers of pairs --------------------------------------------------------------

    def why_not_hand_over(self, pair: Pair, to: str) -> str:
        """Why the pair's roles must not be swapped now, if nobody is in need; empty when they may."""
        return self._why_not_ready(pair, to) or self._why_busy(pair)

    def is_settled(self, pair: Pair) -> bool:
        """Both members have carried out the present roles, and VRRP is of the same opinion."""
        active, backup = (self._reports.get((pair.id, member)) for member in pair.members)
        return (
            active is not None
            and backup is not None
            and active.epoch == backup.epoch == pair.epoch
            and active.state is VrrpState.MASTER
            and backup.state is VrrpState.BACKUP
        )

    def _why_not_ready(self, pair: Pair, to: str) -> str:
        host = self._board.host(to)
        report = self._reports.get((pair.id, to))
        if not self._board.alive(to):
            return f"{host} is dead"
        if report is None or report.epoch != pair.epoch:
            return f"{host} has not reported on pair {pair.id} yet"
        if report.state is VrrpState.FAULT and not report.yielding:
            return f"{host} reports FAULT on pair {pair.id}"
        mine = [
            (router_id, error)
            for router_id, error in self._unready.get(to, {}).items()
            if (binding := self._board.bindings.get(router_id)) is not None and binding.pair_id == pair.id
        ]
        if not mine:
            return ""
        router_id, error = next((one for one in mine if one[1]), mine[0])
        return f"{host} is not ready for {len(mine)} routers of pair {pair.id}, such as {router_id}" + (
            f": {error}" if error else ""
        )

    def _why_busy(self, pair: Pair) -> str:
        """One pair of an agent at a time: the next one when it is known that the last one has come through."""
        for other in self._board.pairs.values():
            if (
                other.id != pair.id
                and self._board.riders(other.id)
                and not set(other.members).isdisjoint(pair.members)
                and self._in_handover(other)
            ):
                return f"pair {other.id} is being handed over first"
        return ""

    def _in_handover(self, pair: Pair) -> bool:
        if not all(self._board.alive(member) for member in pair.members):
            return False
        reports = [self._reports.get((pair.id, member)) for member in pair.members]
        known = [report for report in reports if report is not None]
        if any(report.state is VrrpState.FAULT for report in known):
            return False  # it will not end, and others need not wait for it
        if pair.epoch == FIRST_EPOCH and len(known) < len(reports):
            return False  # it is being set up
        return not self.is_settled(pair)
