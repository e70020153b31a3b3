"""The standbys' part of a rebalance: who else is to stand by for which routers. Pure.

Traffic stays where it is: the active one of each router goes on, and another agent builds what stands by. What counts
is how many routers are built on an agent, active or not, because that is what it has to carry and to take over.
A standby stays in another zone than the active one, and goes to a peer that the active one has already if one is
among the least loaded; so few pairs are made for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

from haqn.model import RouterRequest
from haqn.scheduler import giving, placement
from haqn.scheduler.board import Board

#: router -> its active and its standby
Members = dict[str, tuple[str, str]]
#: router -> who stands by for it, and who is to
Given = dict[str, tuple[str, str]]


def away_from_zone(board: Board, routers: list[RouterRequest], members: Members, total: Counter[str]) -> Given:
    """For routers whose two members have come to be in one zone, if another zone has an agent for them."""
    given: Given = {}
    for router in routers:
        active, standby = members[router.id]
        if board.agents[active].zone != board.agents[standby].zone:
            continue
        elsewhere = [
            agent_id
            for agent_id in _willing(board)
            if board.agents[agent_id].zone != board.agents[active].zone and _can_take(board, router, agent_id, active)
        ]
        roomy = [a for a in elsewhere if not placement.why_full(board.agents[a], total[a])]
        taker = min(roomy, key=lambda a: (total[a], a), default=None)
        if taker is not None:
            _give(router, taker, members, total, given)
    return given


def even_out(board: Board, routers: list[RouterRequest], members: Members, total: Counter[str]) -> Given:
    """Until no agent has two routers more than another that could stand by for one of them in its place."""
    agents = _willing(board)
    standing: dict[str, dict[str, list[RouterRequest]]] = defaultdict(lambda: defaultdict(list))
    for router in routers:
        active, standby = members[router.id]
        if not board.why_unwilling(active):
            standing[standby][active].append(router)
    peers: dict[str, Counter[str]] = defaultdict(Counter)
    for active, standby in members.values():
        peers[active][standby] += 1
    given: Given = {}

    def first(stuck: Collection[str]) -> str | None:
        givers = [agent_id for agent_id in agents if agent_id not in stuck and standing[agent_id]]
        return max(givers, key=lambda a: (total[a], a), default=None)

    def give(giver: str) -> bool:
        roomy = [a for a in agents if total[giver] - total[a] >= 2]
        takers = [a for a in roomy if not placement.why_full(board.agents[a], total[a])]
        found = _find(board, standing[giver], giver, sorted(takers, key=lambda a: (total[a], a)), peers)
        if found is None:
            return False
        router, active, taker = found
        standing[giver][active].remove(router)
        if not standing[giver][active]:
            del standing[giver][active]
        peers[active] += Counter({taker: 1, giver: -1})
        _give(router, taker, members, total, given)
        return True

    giving.until_even(first, give)
    return given


def _find(
    board: Board,
    groups: dict[str, list[RouterRequest]],
    giver: str,
    takers: list[str],
    peers: dict[str, Counter[str]],
) -> tuple[RouterRequest, str, str] | None:
    """A router of the giver's, its active, and the first that can take it; None: nobody can."""
    zone = {agent_id: board.agents[agent_id].zone for agent_id in (giver, *takers, *groups)}
    for taker in takers:
        # a peer that the active one has; one for which it has room; or one too many. Small groups first: they end
        suitable = sorted(
            (0 if peers[a][taker] else 1 if len(peers[a]) < board.scatter_width else 2, len(groups[a]), a)
            for a in groups
            if zone[taker] != zone[a] or zone[giver] == zone[a]
        )
        for _, _, active in suitable:
            for router in groups[active]:
                if _can_take(board, router, taker, active):
                    return router, active, taker
    return None


def _willing(board: Board) -> list[str]:
    return [agent_id for agent_id in board.agents if not board.why_unwilling(agent_id)]


def _can_take(board: Board, router: RouterRequest, taker: str, active: str) -> bool:
    return taker != active and board.can_pair(active, taker) and board.may_host(taker, router)


def _give(router: RouterRequest, taker: str, members: Members, total: Counter[str], given: Given) -> None:
    active, giver = members[router.id]
    members[router.id] = (active, taker)
    total[giver] -= 1
    total[taker] += 1
    given[router.id] = (giver, taker)
