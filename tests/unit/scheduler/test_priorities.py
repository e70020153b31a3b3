"""The one table: working uplinks > live lease > designated role, for every combination of two members' states.

The lease reaches VRRP as a role (ADR 4), so the loop is closed here with the planner and the agent's own decisions.
"""

import itertools
from dataclasses import replace

import pytest

from haqn.agent.pairs import role_level
from haqn.documents import PairDocument
from haqn.failover.levels import level_after
from haqn.model import FIRST_PAIR_ID, Binding, Pair, RouterRequest, VrrpState
from haqn.scheduler import priorities
from haqn.scheduler.planner import plan
from haqn.scheduler.view import Observation, Policy, View
from tests.unit.scheduler.support import agent, apply

UPLINKS = range(1, 6)


@pytest.mark.parametrize("uplinks", range(priorities.MAX_UPLINKS + 1))
def test_each_uplink_counts_more_than_all_role_levels_and_everything_fits_into_a_priority(uplinks):
    found = [[priorities.priority(uplinks, dead, level) for level in range(4)] for dead in range(uplinks + 1)]
    assert all(one == sorted(set(one)) for one in found), "a higher level counts more"
    assert all(max(fewer) > max(more) and min(fewer) > max(more) for fewer, more in itertools.pairwise(found))
    assert found[-1][0] >= 1
    assert found[0][3] <= 254
    assert found[-1][0] == priorities.base(uplinks)


def test_hosts_with_different_numbers_of_uplinks_are_equal_when_all_of_theirs_work():
    for level in range(4):
        assert len({priorities.priority(uplinks, 0, level) for uplinks in range(priorities.MAX_UPLINKS + 1)}) == 1


class Two:
    """Two members that hear each other, and a leader; `step` lets each do what it would."""

    def __init__(self, dead, alive, designated, master):
        self.dead, self.alive, self.master = dead, alive, master
        agents = (agent("a", alive=alive[0]), agent("b", alive=alive[1]))
        made = Pair(
            id=FIRST_PAIR_ID, active_agent_id="ab"[designated], backup_agent_id="ba"[designated], vr_id=1, epoch=5
        )
        self.view = View(
            agents=agents,
            pairs=(made,),
            bindings=(Binding(router_id="r", pair_id=FIRST_PAIR_ID),),
            routers=(RouterRequest(id="r"),),
            next_pair_id=FIRST_PAIR_ID + 1,
        )
        #: as the past may have left them: the MASTER took over, or was designated
        self.levels = [2 if member == master else 0 for member in (0, 1)]
        self.epochs = [5, 5]

    @property
    def pair(self):
        return self.view.pairs[0]

    def priority(self, member):
        return priorities.priority(2, self.dead[member], self.levels[member])

    def step(self):
        winner = priorities.elected(self.priority(0), self.priority(1))
        if winner not in (-1, self.master):
            for member in (winner, 1 - winner):
                state = "MASTER" if member == winner else "BACKUP"
                was_master = member == self.master
                self.levels[member] = level_after(state, self.levels[member], was_master=was_master)
            self.master = winner
        observations = tuple(
            Observation(
                agent_id="ab"[member],
                pair_id=FIRST_PAIR_ID,
                state=VrrpState.MASTER if member == self.master else VrrpState.BACKUP,
                epoch=self.epochs[member],
                dead_uplinks=self.dead[member],
                level=self.levels[member],
            )
            for member in (0, 1)
            if self.alive[member]
        )
        self.view = apply(replace(self.view, observations=observations), plan(self.view, Policy(max_dead_fraction=1.0)))
        for member in (0, 1):
            if self.alive[member]:  # the other one is cut off from etcd: it hears of nothing
                self._carry_out(member)

    def _carry_out(self, member):
        both = all(self.alive) and self.epochs == [self.pair.epoch] * 2
        settled = both and "ab"[self.master] == self.pair.active_agent_id
        document = PairDocument(
            pair_id=FIRST_PAIR_ID,
            vr_id=1,
            role=self.pair.role_of("ab"[member]),
            epoch=self.pair.epoch,
            settled=settled,
            peer_host="",
            peer_address="",
        )
        level = role_level(document, self.epochs[member], self.levels[member], is_master=member == self.master)
        self.levels[member] = self.levels[member] if level is None else level
        self.epochs[member] = self.pair.epoch

    def state(self):
        return (self.master, tuple(self.levels), self.pair)


@pytest.mark.parametrize("master", [0, 1])
@pytest.mark.parametrize("designated", [0, 1])
@pytest.mark.parametrize("alive", list(itertools.product([True, False], repeat=2)))
@pytest.mark.parametrize("dead", list(itertools.product([0, 1, 2], repeat=2)))
def test_every_combination_has_one_forwarding_side(dead, alive, designated, master):
    two = Two(dead, alive, designated, master)
    before = None
    for _ in range(12):
        before = two.state()
        two.step()
    assert two.state() == before, "it comes to rest"
    if dead[0] != dead[1]:
        assert two.master == (0 if dead[0] < dead[1] else 1)
    elif alive[0] != alive[1]:
        assert two.master == (0 if alive[0] else 1)
    else:
        # equal: who forwards goes on, and the role follows; with both leases lost nothing changes at all
        assert two.master == master
    if all(alive):
        assert two.pair.active_agent_id == "ab"[two.master]


@pytest.mark.parametrize("designated", [0, 1])
def test_among_equals_the_designated_role_decides(designated):
    """A switchover: the role is given to the one that does not forward, at a new epoch."""
    two = Two((0, 0), (True, True), designated, 1 - designated)
    two.epochs = [4, 4]  # told so only now
    for _ in range(6):
        two.step()
    assert two.master == designated
