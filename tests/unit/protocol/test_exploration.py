"""doc/pair-protocol.md, explored: what holds in every state that a few failures in any order can lead to.

`python -m tests.unit.protocol.test_exploration 2` explores two failures of every kind (some minutes).
"""

import sys
import time

import pytest

from tests.unit.protocol import model
from tests.unit.protocol.explore import Explored, endless, explore

#: of two failures, those that belong together: what decides between two MASTERs, and what makes a host come back
TOGETHER = {
    "the HA link and a crash": {"HA link changes", "0 freezes", "0 loses power"},
    "a deaf member and its uplink": {"peer of 0 is deaf", "uplink of 0 changes"},
    "a crash and a return": {"0 loses power", "0 comes back"},
    "the HA link, twice, and another leader": {"HA link changes", "another leader"},
}


def violations(explored: Explored) -> list[str]:
    """What does not hold, with what led to it."""
    found = [f"goes on for ever:\n{explored.path(number)}" for number in endless(explored)]
    for number, state in enumerate(explored.states):
        wrong = wrong_in(state)
        if not explored.following[number]:
            wrong += wrong_at_rest(state)
        found += [f"{what}:\n{explored.path(number)}\n{state}" for what in wrong]
    return found


def wrong_in(state: model.State) -> list[str]:
    """In any state, whatever is under way."""
    wrong = []
    moves = dict(model.vrrp_steps(state))
    if all(one.up and one.gate and one.vrrp for one in state.members) and all(state.heard) and not moves:
        wrong.append("two gates are open, though both hear each other, and nothing closes one")
    for index, one in enumerate(state.members):
        peer = state.members[1 - index]
        takes = f"{index} becomes MASTER" in moves
        from_living = peer.up and peer.vrrp == model.MASTER and state.heard[1 - index]
        if takes and from_living and one.returned and one.dead >= peer.dead:
            wrong.append(f"{index} has come back and takes over from a peer that it hears")
    if any(one.up and one.gate and one.observed != model.MASTER for one in state.members):
        wrong.append("a gate is open without a MASTER")
    return wrong


def wrong_at_rest(state: model.State) -> list[str]:
    """Where nothing more happens until something else fails or is mended."""
    gates = sum(one.up and one.gate for one in state.members)
    connected = all(one.connected for one in state.members)
    if gates == 2 and (all(state.heard) or connected):
        # cut off from each other, and one from etcd: nobody can tell them
        return ["two gates stay open"]
    for index, one in enumerate(state.members):
        peer = state.members[1 - index]
        if one.up and one.vrrp and one.way and peer.up and peer.vrrp == model.MASTER and state.heard[1 - index]:
            return [f"{index} yields, though it hears its peer"]
    able = [one for one in state.members if one.up and one.vrrp is not None]
    # one that yields and is cut off from etcd does not learn that its peer is dead: it cannot hear it either
    told = [one for one in able if one.way == 0 or one.connected]
    if gates == 0 and told:
        return ["no gate is open, though a member could"]
    return []


def test_at_rest_there_is_nothing_to_do():
    explored = explore(0)
    assert len(explored.states) == 1
    assert list(explored.at_rest()) == [0]
    assert violations(explored) == []


def test_one_failure_of_every_kind_in_every_order():
    explored = explore(1)
    assert len(explored.states) > 1000
    assert violations(explored) == []


@pytest.mark.parametrize("what", TOGETHER)
def test_two_failures_that_belong_together(what):
    explored = explore(2, TOGETHER[what].__contains__)
    assert len(explored.states) > 300
    assert violations(explored) == []


@pytest.mark.parametrize(
    ("name", "broken", "failures"),
    [
        # one that yields is never released by what it hears
        ("yield_after", lambda present, **_: present, {"HA link changes"}),
        # who took over claims no more than it did before
        ("level_after", lambda _state, level, **_: level, {"0 loses power", "0 comes back"}),
        # one that comes back claims what it had
        ("role_level", lambda *arguments, **_: 3 if arguments[2] is None else None, {"0 loses power", "0 comes back"}),
    ],
)
def test_the_exploration_finds_what_is_wrong(monkeypatch, name, broken, failures):
    monkeypatch.setattr(model, name, broken)
    explored = explore(2, failures.__contains__)
    assert violations(explored)


def test_a_leader_that_does_not_ask_would_stop_a_survivor(monkeypatch):
    """Until its lease ends, a host that has crashed looks like one that nobody hears."""
    monkeypatch.setattr(model, "_pair_report", _answering)
    model._leader.cache_clear()
    explored = explore(1, {"0 loses power"}.__contains__)
    model._leader.cache_clear()
    assert any(not state.members[0].up and state.members[1].way and state.members[0].lease for state in explored.states)


def _answering(said):
    from haqn.documents import PairReport  # noqa: PLC0415
    from haqn.model import Role, VrrpState  # noqa: PLC0415

    return PairReport(
        pair_id=model.PAIR,
        state=VrrpState(said.state),
        since=str(said.since),
        sequence=0,
        role=Role.ACTIVE,
        epoch=said.epoch,
        gate_open=said.gate_open,
        yielding=said.yielding,
        peer_master="1",
        level=said.level,
    )


if __name__ == "__main__":
    began = time.monotonic()
    result = explore(int(sys.argv[1]))
    wrong = violations(result)
    print(f"{len(result.states)} states, {sum(map(len, result.following))} steps, {time.monotonic() - began:.0f} s")
    print(f"{sum(1 for _ in result.at_rest())} at rest, {len(wrong)} violations")
    print("\n\n".join(wrong[:3]))
    sys.exit(bool(wrong))
