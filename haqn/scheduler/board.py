"""The planner's working copy of the cluster: pairs, bindings and loads, kept up to date while actions are added.

Knows how to choose (least load, other zone, few peers) and how to record; not when or why
anything has to move: that is `haqn.scheduler.planner`. Sets and counters are kept per agent
and pair, so that one choice does not read all routers.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Set

from haqn.model import MAX_VR_ID, AgentType, Binding, Pair, RouterRequest
from haqn.scheduler import placement
from haqn.scheduler.placement import Demand
from haqn.scheduler.view import Action, BindToAgent, BindToPair, CreatePair, DeletePair, Designate, Policy, View


class Board:
    """Mutable; made from a view for one plan."""

    def __init__(self, view: View, policy: Policy) -> None:
        self.actions: list[Action] = []
        self.agents = {a.id: a for a in sorted(view.agents, key=lambda a: a.id) if a.agent_type is AgentType.L3}
        self.pairs: dict[int, Pair] = {}
        self.bindings: dict[str, Binding] = {}
        self.scatter_width = policy.scatter_width
        self._next_pair_id = view.next_pair_id
        self._order = placement.stable_order(self.agents.values())
        self._unwilling = {a.id: placement.why_unwilling(a) for a in self.agents.values()}
        #: routers for which the agent is the active, and all that are built on it
        self._active: dict[str, int] = defaultdict(int)
        self._total: dict[str, int] = defaultdict(int)
        self._full: set[str] = set()
        #: (active load, order, agent): of each agent, and of all in order
        self._rank: dict[str, tuple[int, int, str]] = {}
        self._by_load: list[tuple[int, int, str]] = []
        self._riders: dict[int, int] = defaultdict(int)
        #: active agent -> backup agent -> their pairs
        self._led: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._vr_ids: dict[str, set[int]] = defaultdict(set)
        self._suitable: dict[Demand, Set[str]] = {}
        self._refusals: dict[tuple[Demand, frozenset[str], int, str], str] = {}
        #: router -> agents whose own list names it; agents with a list are in no `_suitable`
        self._listed: dict[str, list[str]] = defaultdict(list)
        for agent in self.agents.values():
            for router_id in agent.allowed_routers:
                self._listed[router_id].append(agent.id)
            self._note_load(agent.id)
        for pair in sorted(view.pairs, key=lambda p: p.id):
            self._add_pair(pair)
        for binding in view.bindings:
            self._attach(binding)

    # -- questions -----------------------------------------------------------------------

    def host(self, agent_id: str) -> str:
        """The agent's name for people."""
        agent = self.agents.get(agent_id)
        return agent.host if agent else agent_id

    def alive(self, agent_id: str) -> bool:
        agent = self.agents.get(agent_id)
        return agent is not None and agent.alive

    def why_unwilling(self, agent_id: str) -> str:
        """Why the agent takes nothing new; `deleted` when its row is gone."""
        return self._unwilling.get(agent_id, "deleted")

    def has_list(self, agent_id: str) -> bool:
        """Whether the agent takes certain routers only."""
        agent = self.agents.get(agent_id)
        return agent is not None and bool(agent.allowed_routers)

    def fits(self, agent_id: str, router: RouterRequest) -> bool:
        """Whether the agent, dead or alive, can carry out what the router needs."""
        agent = self.agents.get(agent_id)
        if agent is None:
            return True
        return not (placement.why_unfit(agent, placement.demand_of(router)) or placement.why_refused(agent, router.id))

    def riders(self, pair_id: int) -> int:
        """Number of routers bound to the pair."""
        return self._riders[pair_id]

    def burdened(self, agent_id: str) -> bool:
        """Whether any router is bound to the agent, as active or standby."""
        return self._total[agent_id] > 0

    def active_load(self, agent_id: str) -> int:
        """Number of routers that the agent is the active one for."""
        return self._active[agent_id]

    def total_load(self, agent_id: str) -> int:
        """Number of routers that are built on the agent."""
        return self._total[agent_id]

    def may_host(self, agent_id: str, router: RouterRequest) -> bool:
        """Whether a new binding of the router to this agent is allowed."""
        return not self.why_not(agent_id, router)

    def why_not(self, agent_id: str, router: RouterRequest) -> str:
        """Why a new binding of the router to this agent is not allowed; empty when it is."""
        agent = self.agents.get(agent_id)
        if agent is None:
            return "deleted"
        return (
            self._unwilling[agent_id]
            or placement.why_unfit(agent, placement.demand_of(router))
            or placement.why_refused(agent, router.id)
            or placement.why_full(agent, self._total[agent_id])
        )

    def why_none(self, router: RouterRequest, without: Collection[str] = ()) -> str:
        """Why no agent outside `without` takes the router, summed up."""
        # asked for thousands of routers in turn when there is no room: the answer changes with an action only
        key = (placement.demand_of(router), frozenset(without), len(self.actions), router.id if self._listed else "")
        if key not in self._refusals:
            self._refusals[key] = placement.summarize(self.why_not(a, router) for a in self.agents if a not in without)
        return self._refusals[key]

    # -- choices -------------------------------------------------------------------------

    def least_active(self, router: RouterRequest, among: Iterable[str] | None = None) -> str | None:
        """The eligible agent that is active for the fewest routers; None when there is none."""
        if among is not None:
            return min((a for a in among if self.may_host(a, router)), key=self._rank.__getitem__, default=None)
        eligible = self._eligible(router)
        return next((agent_id for _, _, agent_id in self._by_load if agent_id in eligible), None)

    def standby_for(self, router: RouterRequest, active: str, without: Collection[str] = ()) -> str | None:
        """The best eligible peer of `active`: in another zone if one is, and one that it has once they are enough."""
        zone = self.agents[active].zone
        eligible = self._eligible(router)
        peers = [p for p in self._led[active] if p not in without and not self.why_unwilling(p)]
        enough = len(peers) >= self.scatter_width
        if enough:
            away = [p for p in peers if p in eligible and self.agents[p].zone != zone]
            if away:
                return min(away, key=lambda peer: self._standby_rank(active, peer))
        candidates = [a for a in eligible if a != active and a not in without and self.can_pair(active, a)]
        candidates = [a for a in candidates if self.agents[a].zone != zone] or candidates
        if enough:
            candidates = [a for a in candidates if a in peers] or candidates
        return min(candidates, key=lambda peer: self._standby_rank(active, peer), default=None)

    def _standby_rank(self, active: str, peer: str) -> tuple[int, int, int]:
        pair_ids = self._led[active].get(peer)
        return (self._riders[min(pair_ids)] if pair_ids else 0, self._total[peer], self._order[peer])

    def can_pair(self, active: str, peer: str) -> bool:
        """Whether there is a pair in which `peer` stands by for `active`, or a VRRP id left for one."""
        one, other = self._vr_ids[active], self._vr_ids[peer]
        return len(one) + len(other) < MAX_VR_ID or len(one | other) < MAX_VR_ID or bool(self._led[active].get(peer))

    def _eligible(self, router: RouterRequest) -> Set[str]:
        """All agents that `may_host` the router."""
        demand = placement.demand_of(router)
        suitable = self._suitable.get(demand)
        if suitable is None:
            suitable = self._suitable[demand] = dict.fromkeys(
                a.id
                for a in self.agents.values()
                if not a.allowed_routers and not self._unwilling[a.id] and not placement.why_unfit(a, demand)
            ).keys()
        if self._full:
            suitable -= self._full
        listed = self._listed.get(router.id)
        return suitable | {a for a in listed if self.may_host(a, router)} if listed else suitable

    # -- actions -------------------------------------------------------------------------

    def designate(self, pair: Pair, active: str, reason: str) -> None:
        """Make `active`, a member of the pair, its designated active."""
        swapped = dataclasses.replace(
            pair, active_agent_id=active, backup_agent_id=pair.peer_of(active), epoch=pair.epoch + 1
        )
        riders = self._riders[pair.id]
        self._remove_pair(pair)
        self._add_pair(swapped)
        self._riders[pair.id] = riders
        self._shift(pair.active_agent_id, active=-riders)
        self._shift(active, active=riders)
        self.actions.append(
            Designate(
                pair_id=pair.id,
                active_agent_id=active,
                backup_agent_id=swapped.backup_agent_id,
                epoch=swapped.epoch,
                reason=reason,
            )
        )

    def bind_to_pair(self, router_id: str, active: str, backup: str, reason: str) -> None:
        """Bind to the pair in which `active` leads `backup`; makes it if there is none."""
        pair_ids = self._led[active].get(backup)
        pair_id = min(pair_ids) if pair_ids else self.create_pair(active, backup)
        self.rebind(router_id, pair_id, reason)

    def rebind(self, router_id: str, pair_id: int, reason: str) -> None:
        """Bind to this very pair."""
        old = self._move(Binding(router_id=router_id, pair_id=pair_id))
        self.actions.append(
            BindToPair(
                router_id=router_id,
                pair_id=pair_id,
                from_pair_id=old.pair_id,
                from_agent_id=old.agent_id,
                reason=reason,
            )
        )

    def bind_to_agent(self, router_id: str, agent_id: str, reason: str) -> None:
        """Bind to one agent, without a standby."""
        old = self._move(Binding(router_id=router_id, agent_id=agent_id))
        self.actions.append(
            BindToAgent(
                router_id=router_id,
                agent_id=agent_id,
                from_pair_id=old.pair_id,
                from_agent_id=old.agent_id,
                reason=reason,
            )
        )

    def delete_pair(self, pair: Pair, reason: str) -> None:
        """Delete a pair to which nothing is bound."""
        self._remove_pair(pair)
        self.actions.append(DeletePair(pair_id=pair.id, reason=reason))

    def create_pair(self, active: str, backup: str) -> int:
        """Make a pair, even if there is one like it; its id."""
        taken = self._vr_ids[active] | self._vr_ids[backup]
        vr_id = min(set(range(1, MAX_VR_ID + 1)) - taken)
        pair = Pair(id=self._next_pair_id, active_agent_id=active, backup_agent_id=backup, vr_id=vr_id, epoch=1)
        self._next_pair_id += 1
        self._add_pair(pair)
        self.actions.append(
            CreatePair(
                pair_id=pair.id,
                active_agent_id=active,
                backup_agent_id=backup,
                vr_id=vr_id,
                reason=f"{self.host(active)} has no pair for it in which {self.host(backup)} stands by",
            )
        )
        return pair.id

    # -- bookkeeping ---------------------------------------------------------------------

    def _add_pair(self, pair: Pair) -> None:
        self.pairs[pair.id] = pair
        self._led[pair.active_agent_id][pair.backup_agent_id].add(pair.id)
        for member in pair.members:
            self._vr_ids[member].add(pair.vr_id)

    def _remove_pair(self, pair: Pair) -> None:
        del self.pairs[pair.id]
        self._riders.pop(pair.id, None)
        peers = self._led[pair.active_agent_id]
        peers[pair.backup_agent_id].discard(pair.id)
        if not peers[pair.backup_agent_id]:
            del peers[pair.backup_agent_id]
        for member in pair.members:
            self._vr_ids[member].discard(pair.vr_id)

    def _move(self, binding: Binding) -> Binding:
        old = self.bindings.pop(binding.router_id, None)
        if old is not None:
            self._count(old, -1)
        self._attach(binding)
        return old or Binding(router_id=binding.router_id)

    def _attach(self, binding: Binding) -> None:
        self.bindings[binding.router_id] = binding
        self._count(binding, 1)

    def _count(self, binding: Binding, by: int) -> None:
        if binding.agent_id is not None:
            self._shift(binding.agent_id, active=by, total=by)
        elif binding.pair_id is not None:
            pair = self.pairs[binding.pair_id]
            self._riders[pair.id] += by
            self._shift(pair.active_agent_id, active=by, total=by)
            self._shift(pair.backup_agent_id, total=by)

    def _shift(self, agent_id: str, *, active: int = 0, total: int = 0) -> None:
        self._active[agent_id] += active
        self._total[agent_id] += total
        if agent_id in self.agents:
            self._note_load(agent_id)

    def _note_load(self, agent_id: str) -> None:
        rank, before = (self._active[agent_id], self._order[agent_id], agent_id), self._rank.get(agent_id)
        if rank != before:
            if before is not None:
                del self._by_load[bisect_left(self._by_load, before)]
            insort(self._by_load, rank)
            self._rank[agent_id] = rank
        if placement.why_full(self.agents[agent_id], self._total[agent_id]):
            self._full.add(agent_id)
        else:
            self._full.discard(agent_id)
