"""The least moves that even out how many routers agents are active for, and how many are built on them. Pure.

Each move takes one router from an agent with most to one with fewest; it ends when no agent has two more than another
that could take one of its routers. So no list is shorter that comes to loads as even. Actives move first; standbys are
moved from where they are then (`haqn.scheduler.standbys`). Routers without a standby stay: they cannot move without a
break.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

from haqn.model import RouterRequest
from haqn.scheduler import giving, placement, standbys
from haqn.scheduler.board import Board
from haqn.scheduler.operations import Step
from haqn.scheduler.standbys import Members
from haqn.scheduler.view import View


def moves(view: View, board: Board) -> tuple[Step, ...]:
    """Who gives which routers to whom: as the active one, and then as the standby."""
    pinned = {pin.router_id for pin in view.pins}
    paired = [
        (router, board.pairs[binding.pair_id].members)
        for router in sorted(view.routers, key=lambda router: router.id)
        if (binding := board.bindings.get(router.id)) is not None and binding.pair_id is not None
    ]
    movable = [router for router, _ in paired if router.ha and router.id not in pinned]
    members = {router.id: of for router, of in paired}
    total = Counter({agent_id: board.total_load(agent_id) for agent_id in board.agents})
    actives = _move_actives(board, movable, members, total)
    given = standbys.away_from_zone(board, [r for r in movable if r.id in actives], members, total)
    given |= standbys.even_out(board, [r for r in movable if r.id not in given], members, total)
    return (*_steps(actives, standby=False), *_steps(given, standby=True))


def _steps(given: dict[str, tuple[str, str]], *, standby: bool) -> tuple[Step, ...]:
    """`given`: router -> who gives it to whom."""
    routers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for router_id, way in given.items():
        routers[way].append(router_id)
    return tuple(
        Step(agent_id=taker, from_agent_id=giver, routers=tuple(of), standby=standby)
        for (giver, taker), of in sorted(routers.items())
    )


def _move_actives(
    board: Board, routers: list[RouterRequest], members: Members, total: Counter[str]
) -> dict[str, tuple[str, str]]:
    """Router -> who gives it to whom, and stands by for it then; `members` and `total` are kept up to date."""
    agents = [agent_id for agent_id in board.agents if not board.why_unwilling(agent_id)]
    load = {agent_id: board.active_load(agent_id) for agent_id in agents}
    movable: dict[str, list[RouterRequest]] = defaultdict(list)
    for router in routers:
        movable[members[router.id][0]].append(router)
    given: dict[str, tuple[str, str]] = {}
    order = {agent_id: place for place, agent_id in enumerate(agents)}

    def first(stuck: Collection[str]) -> str | None:
        givers = [agent_id for agent_id in agents if agent_id not in stuck and movable[agent_id]]
        return max(givers, key=lambda a: (load[a], -order[a]), default=None)

    def give(giver: str) -> bool:
        roomy = [agent_id for agent_id in agents if not placement.why_full(board.agents[agent_id], total[agent_id])]
        takers = [agent_id for agent_id in roomy if load[giver] - load[agent_id] >= 2]
        found = _find(board, movable[giver], members, sorted(takers, key=lambda a: (load[a], a)), total)
        if found is None:
            return False
        router, taker = found
        movable[giver].remove(router)
        load[giver] -= 1
        load[taker] += 1
        if taker not in members[router.id]:
            total[taker] += 1
            total[members[router.id][1]] -= 1
        members[router.id] = (taker, giver)
        given[router.id] = (giver, taker)
        return True

    giving.until_even(first, give)
    return given


def _find(
    board: Board, routers: list[RouterRequest], members: Members, takers: list[str], total: Counter[str]
) -> tuple[RouterRequest, str] | None:
    """A router, and the first that can take it; None: nobody can. Best is one whose standby has much: it loses it."""
    for taker in takers:
        fitting = [r for r in routers if taker in members[r.id] or board.may_host(taker, r)]
        if fitting:
            return max(fitting, key=lambda r: total[members[r.id][1]]), taker
    return None
