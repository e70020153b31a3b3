"""How well each router would take the next failure: full, degraded or none, and why. Pure.

full: one member forwards, the other stands by and has the router ready. degraded: there is a second living member, and
it could not take over now. none: nobody stands by. Facts are those of the leader: a host that died less than a lease's
TTL ago still counts as alive, unless VRRP says otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from haqn.coordination.observed import Reported
from haqn.db.redundancy import Redundancy
from haqn.db.snapshot import Facts
from haqn.model import Pair, VrrpState
from haqn.scheduler.operations import Unready

FULL, DEGRADED, NONE = "full", "degraded", "none"


class _PairState(NamedTuple):
    redundancy: Redundancy
    #: who forwards, and who stands by; None: nobody can be told apart
    master: str | None = None
    standby: str | None = None


def redundancies(facts: Facts, reported: Reported, unready: Collection[Unready]) -> dict[str, Redundancy]:
    """Of each router."""
    behind: dict[str, dict[str, str]] = defaultdict(dict)
    for one in unready:
        behind[one.router_id][one.agent_id] = one.error
    states = {pair.id: _of_pair(facts, reported, pair) for pair in facts.placed.pairs.values()}
    found = {}
    for router_id, router in facts.wanted.routers.items():
        binding = facts.placed.bindings.get(router_id)
        if binding is None:
            found[router_id] = Redundancy(NONE, "it is not placed", None)
        elif binding.pair_id is not None:
            state = states[binding.pair_id]
            late = behind.get(router_id)
            found[router_id] = _with_router(facts, state, late) if late else state.redundancy
        else:
            found[router_id] = _alone(facts, reported, str(binding.agent_id), ha=router.ha)
    return found


def _alone(facts: Facts, reported: Reported, agent_id: str, *, ha: bool) -> Redundancy:
    if agent_id not in reported.beats:
        return Redundancy(NONE, f"{_host(facts, agent_id)} is dead, and there is no standby", None)
    return Redundancy(NONE, "no second agent is eligible" if ha else "it is to have no standby (ha=false)", agent_id)


def _of_pair(facts: Facts, reported: Reported, pair: Pair) -> _PairState:
    alive = [member for member in pair.members if member in reported.beats]
    names = {member: _host(facts, member) for member in pair.members}
    if not alive:
        return _PairState(Redundancy(NONE, f"both {' and '.join(sorted(names.values()))} are dead", None))
    if len(alive) == 1:
        (survivor,) = alive
        return _PairState(Redundancy(NONE, f"{names[pair.peer_of(survivor)]} is dead", survivor))
    states = {member: _vrrp_state(facts, reported, pair, member) for member in pair.members}
    for member in pair.members:
        peer = pair.peer_of(member)
        if states[member] in (None, VrrpState.FAULT) and states[peer] not in (None, VrrpState.FAULT):
            why = f"does not report on pair {pair.id}" if states[member] is None else "reports FAULT"
            return _PairState(Redundancy(DEGRADED, f"{names[member]} {why}", peer))
    masters = [member for member in pair.members if states[member] is VrrpState.MASTER]
    if len(masters) == 1:
        (master,) = masters
        return _PairState(Redundancy(FULL, "", None), master, pair.peer_of(master))
    both = " and ".join(sorted(names.values()))
    if masters:
        return _PairState(Redundancy(DEGRADED, f"both {both} report MASTER", None))
    said = " and ".join(f"{names[member]} {states[member] or 'nothing'}" for member in pair.members)
    return _PairState(Redundancy(DEGRADED, f"nobody reports MASTER: {said}", None))


def _with_router(facts: Facts, pair: _PairState, late: Mapping[str, str]) -> Redundancy:
    """The pair is fine, and a member has not (yet) built the router, or cannot."""
    if pair.redundancy.state != FULL or pair.master is None or pair.standby is None:
        return pair.redundancy
    for member, other in ((pair.standby, pair.master), (pair.master, pair.standby)):
        if member in late:
            why = f"cannot carry it out: {late[member]}" if late[member] else "has not carried it out yet"
            return Redundancy(DEGRADED, f"{_host(facts, member)} {why}", other)
    return pair.redundancy


def _vrrp_state(facts: Facts, reported: Reported, pair: Pair, member: str) -> VrrpState | None:
    report = reported.pairs.get((_host(facts, member), pair.id))
    return report.report.state if report is not None else None


def _host(facts: Facts, agent_id: str) -> str:
    agent = facts.placed.agents.get(agent_id)
    return agent.host if agent is not None else agent_id
