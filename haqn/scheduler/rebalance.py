"""The least moves that even out how many routers agents are active for. Pure.

Each move takes one router from an agent with most to one with fewest; it ends when no agent has two more than another
that could take one of its routers. So no list is shorter that comes to loads as even. Routers without a standby stay:
they cannot move without a break.
"""

from __future__ import annotations

from collections import defaultdict

from haqn.model import RouterRequest
from haqn.scheduler import placement
from haqn.scheduler.board import Board
from haqn.scheduler.operations import Step
from haqn.scheduler.view import View


def moves(view: View, board: Board) -> tuple[Step, ...]:
    """Who gives which routers to whom."""
    pinned = {pin.router_id for pin in view.pins}
    agents = [agent_id for agent_id in board.agents if not board.why_unwilling(agent_id)]
    load = {agent_id: board.active_load(agent_id) for agent_id in agents}
    total = {agent_id: board.total_load(agent_id) for agent_id in agents}
    movable: dict[str, list[RouterRequest]] = defaultdict(list)
    for router in sorted(view.routers, key=lambda router: router.id, reverse=True):
        binding = board.bindings.get(router.id)
        if binding is None or binding.pair_id is None or not router.ha or router.id in pinned:
            continue
        active = board.pairs[binding.pair_id].active_agent_id
        if active in load:
            movable[active].append(router)
    given: dict[tuple[str, str], list[str]] = defaultdict(list)
    order = {agent_id: place for place, agent_id in enumerate(agents)}
    stuck: set[str] = set()
    while True:
        givers = [agent_id for agent_id in agents if agent_id not in stuck and movable[agent_id]]
        giver = max(givers, key=lambda a: (load[a], -order[a]), default=None)
        if giver is None:
            break
        roomy = [agent_id for agent_id in agents if not placement.why_full(board.agents[agent_id], total[agent_id])]
        found = _find(board, giver, movable[giver], load, roomy)
        if found is None:
            stuck.add(giver)
            continue
        router, taker = found
        movable[giver].remove(router)
        load[giver] -= 1
        load[taker] += 1
        total[taker] += taker not in _members(board, router)
        given[giver, taker].append(router.id)
    return tuple(
        Step(agent_id=taker, from_agent_id=giver, routers=tuple(routers))
        for (giver, taker), routers in sorted(given.items())
    )


def _find(
    board: Board, giver: str, routers: list[RouterRequest], load: dict[str, int], agents: list[str]
) -> tuple[RouterRequest, str] | None:
    """A router of the giver's, and who has the fewest and can take it; None: it is even enough, or nobody can."""
    takers = [agent_id for agent_id in agents if load[giver] - load[agent_id] >= 2]
    for taker in sorted(takers, key=lambda a: (load[a], a)):
        for router in reversed(routers):
            if taker in _members(board, router) or board.may_host(taker, router):
                return router, taker
    return None


def _members(board: Board, router: RouterRequest) -> tuple[str, ...]:
    pair_id = board.bindings[router.id].pair_id
    return board.pairs[pair_id].members if pair_id is not None else ()
