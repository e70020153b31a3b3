"""The brakes, while time passes: whoever dies, and when."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from haqn.model import RouterRequest
from haqn.scheduler.planner import plan
from haqn.scheduler.view import BindToAgent, BindToPair, Death, Designate, Policy
from tests.unit.scheduler.cluster import Cluster
from tests.unit.scheduler.support import agent, apply

AGENTS = 10
POLICY = Policy()
#: (seconds after the one before, who dies); several at a moment, within etcd's looks, within a lease's time, or later
DEATHS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.001, 0.5, 0.7, 2.0, 5.0, 12.0]), st.integers(0, AGENTS - 1)), max_size=8
)


class Passing:
    """A cluster in which time passes; VRRP and agents need none."""

    def __init__(self) -> None:
        self.cluster = Cluster([agent(f"net{i}", zone="abc"[i % 3]) for i in range(AGENTS)])
        for number in range(40):
            self.cluster.add_router(RouterRequest(id=f"r{number:02}"))
        self.cluster.settle()
        self.now = 0.0
        self.died: dict[str, float] = {}

    def die(self, index: int) -> None:
        self.cluster.set_agent(index, alive=False)
        self.died.setdefault(f"net{index}", self.now)

    def until(self, end: float) -> None:
        """Plan whenever something has changed, or a plan has asked for it."""
        while True:
            self.cluster.vrrp()
            deaths = tuple(Death(agent_id=name, age=self.now - at) for name, at in sorted(self.died.items()))
            view = replace(self.cluster.view, deaths=deaths)
            made = plan(view, POLICY)
            if any(isinstance(action, BindToPair | BindToAgent | Designate) for action in made.actions):
                self.check()
            self.cluster.view = apply(self.cluster.view, made)
            if made.actions:
                continue
            if made.recheck_in is None or self.now + made.recheck_in > end:
                self.now = end
                return
            assert made.recheck_in > 0
            # a clock goes on meanwhile, however short that is
            self.now += made.recheck_in + 1e-6

    def check(self) -> None:
        """Something was done because of a death."""
        ages = [self.now - at for at in self.died.values()]
        within = sum(age < POLICY.lease_ttl for age in ages)
        living = AGENTS - len(ages)
        assert within < 2 or within <= POLICY.max_dead_fraction * (living + within)
        assert min(ages) > POLICY.death_settle - 1e-3, "nobody could have followed yet"


@given(DEATHS)
@settings(max_examples=60, deadline=None)
def test_nothing_is_done_while_too_many_have_died_within_a_lease_time_or_more_may_follow(deaths):
    passing = Passing()
    for gap, index in deaths:
        passing.until(passing.now + gap)
        passing.die(index)
    passing.until(passing.now + 30)


def test_a_death_that_stays_alone_is_answered_after_a_moment():
    passing = Passing()
    passing.die(3)
    passing.until(POLICY.death_settle - 0.01)
    assert "net3" in members(passing.cluster)
    passing.until(POLICY.death_settle + 0.01)
    assert "net3" not in members(passing.cluster)


def members(cluster: Cluster) -> set[str]:
    """Agents that any router is bound to."""
    return {member for binding in cluster.view.bindings for member in cluster.members(binding)}
