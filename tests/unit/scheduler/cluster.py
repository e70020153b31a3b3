"""A cluster as small as it can be: agents that come and go, VRRP that follows, the planner that reacts."""

from dataclasses import replace

from haqn.model import FIRST_PAIR_ID, Agent, Binding, Pair, RouterRequest, VrrpState
from haqn.scheduler.planner import plan
from haqn.scheduler.view import BindToAgent, BindToPair, Observation, Pin, Plan, Policy, Vacancy, View
from tests.unit.scheduler.support import apply

#: each agent that lives believes what it is told at once; no brake but the one for mass death
POLICY = Policy(scatter_width=2, max_dead_fraction=1.0)


class Cluster:
    def __init__(self, agents: list[Agent]):
        self.view = View(agents=tuple(agents), next_pair_id=FIRST_PAIR_ID)
        self.masters: dict[int, str] = {}

    # -- what happens to it --------------------------------------------------------------

    def set_agent(self, index: int, **changes):
        agents = list(self.view.agents)
        index %= len(agents)
        agents[index] = replace(agents[index], **changes)
        self.view = replace(self.view, agents=tuple(agents))

    def add_router(self, router: RouterRequest, pin: int | None = None):
        pins = () if pin is None else (Pin(router_id=router.id, agent_id=self._agent_id(pin)),)
        self.view = replace(self.view, routers=(*self.view.routers, router), pins=self.view.pins + pins)

    def pin(self, index: int, agent: int):
        if self.view.routers:
            router_id = self.view.routers[index % len(self.view.routers)].id
            kept = tuple(p for p in self.view.pins if p.router_id != router_id)
            self.view = replace(self.view, pins=(*kept, Pin(router_id=router_id, agent_id=self._agent_id(agent))))

    def delete_router(self, index: int):
        if self.view.routers:
            gone = self.view.routers[index % len(self.view.routers)].id
            self.view = replace(
                self.view,
                routers=tuple(r for r in self.view.routers if r.id != gone),
                bindings=tuple(b for b in self.view.bindings if b.router_id != gone),
                pins=tuple(p for p in self.view.pins if p.router_id != gone),
            )

    def _agent_id(self, index: int) -> str:
        return self.view.agents[index % len(self.view.agents)].id

    # -- what it does by itself ----------------------------------------------------------

    def vrrp(self, *, handover: bool = True):
        """VRRP elects, and living members report; with `handover` unset, a living MASTER stays MASTER."""
        alive = {a.id for a in self.view.agents if a.alive}
        bound = {b.pair_id for b in self.view.bindings}
        observations, vacancies = [], []
        for pair in self.view.pairs:
            members = [m for m in pair.members if m in alive]
            if members and (handover or self.masters.get(pair.id) not in members):
                self.masters[pair.id] = members[0]
            for member in members:
                master = self.masters[pair.id] == member
                state = VrrpState.MASTER if master else VrrpState.BACKUP
                observations.append(Observation(agent_id=member, pair_id=pair.id, state=state, epoch=pair.epoch))
                if pair.id not in bound:
                    vacancies.append(Vacancy(agent_id=member, pair_id=pair.id))
        self.view = replace(self.view, observations=tuple(observations), vacancies=tuple(vacancies))

    def plan_once(self) -> Plan:
        made = plan(self.view, POLICY)
        self._check_survivors(made)
        self.view = apply(self.view, made)
        return made

    def settle(self, rounds: int = 8):
        """Let VRRP and planner answer each other until neither has anything to do."""
        for _ in range(rounds):
            self.vrrp()
            if not self.plan_once().actions:
                return
        raise AssertionError(f"no end after {rounds} rounds: {plan(self.view, POLICY)}")

    # -- what is looked at ---------------------------------------------------------------

    def members(self, binding: Binding | None) -> tuple[str, ...]:
        if binding is None:
            return ()
        if binding.agent_id is not None:
            return (binding.agent_id,)
        return self._pair(binding.pair_id).members

    def _pair(self, pair_id) -> Pair:
        return next(p for p in self.view.pairs if p.id == pair_id)

    def _check_survivors(self, made: Plan):
        """A router with a standby never loses its last living member, and nothing dead is chosen."""
        ha = {r.id for r in self.view.routers if r.ha}
        alive = {a.id for a in self.view.agents if a.alive}
        before = {b.router_id: b for b in self.view.bindings}
        after = Cluster([])
        after.view = apply(self.view, made)
        now = {b.router_id: b for b in after.view.bindings}
        for action in made.actions:
            if isinstance(action, BindToPair | BindToAgent) and action.router_id in ha:
                old = [m for m in self.members(before.get(action.router_id)) if m in alive]
                new = after.members(now[action.router_id])
                assert all(m in alive for m in new), f"{action} chose a dead agent"
                assert not old or set(old) & set(new), f"{action} unbinds the last living member"
