"""A script follows from its seed alone, and never does what cannot be healed by itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haqn.lab.chaos import script
from haqn.lab.chaos.fault import Fault, Kind
from haqn.lab.chaos.script import MOST_AT_ONCE, Calm, Heal, Inflict, compatible

HOSTS = ["net1", "net2", "net3", "net4"]


def test_the_same_seed_gives_the_same_steps_and_another_one_gives_others() -> None:
    assert script.write(7, HOSTS, 40) == script.write(7, list(reversed(HOSTS)), 40)
    assert script.write(7, HOSTS, 40) != script.write(8, HOSTS, 40)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_at_most_two_faults_at_once_each_is_healed_and_calm_comes_again_and_again(seed: int, faults: int) -> None:
    in_force: list[Fault] = []
    inflicted = since_calm = 0
    steps = script.write(seed, HOSTS, faults)
    for step in steps:
        match step:
            case Inflict(fault):
                assert compatible(fault, in_force)
                in_force.append(fault)
                inflicted += 1
                since_calm += 1
            case Heal(fault):
                in_force.remove(fault)
            case Calm():
                assert not in_force
                since_calm = 0
        assert len(in_force) <= MOST_AT_ONCE
        assert since_calm <= script.CALM_EVERY
    assert inflicted == faults
    assert isinstance(steps[-1], Calm)


def test_every_kind_is_played() -> None:
    played = {step.fault.kind for step in script.write(1, HOSTS, 600) if isinstance(step, Inflict)}

    assert played == set(Kind)


@pytest.mark.parametrize(
    ("new", "other"),
    [
        pytest.param(Fault(Kind.CRASH, "net1"), Fault(Kind.CUT_HA, "net1"), id="a cut host crashes"),
        pytest.param(Fault(Kind.KILL_AGENT, "net1"), Fault(Kind.FREEZE, "net1"), id="a program of a dead host"),
        pytest.param(Fault(Kind.CUT_HA_IN, "net1"), Fault(Kind.CUT_HA_OUT, "net1"), id="one cut twice"),
        pytest.param(Fault(Kind.PAUSE_AGENT, "net1"), Fault(Kind.REVOKE_LEASE, "net1"), id="one program twice"),
        pytest.param(Fault(Kind.CRASH_CONTROL, "ctl2"), Fault(Kind.KILL_MONITORS), id="one on a dead host"),
        pytest.param(Fault(Kind.PAUSE_ETCD_MEMBER, "etcd3"), Fault(Kind.NO_QUORUM), id="one of all"),
        pytest.param(Fault(Kind.REVOKE_LEASE, "net1"), Fault(Kind.NO_QUORUM), id="nobody revokes"),
    ],
)
def test_what_does_not_go_together(new: Fault, other: Fault) -> None:
    assert not compatible(new, [other])
    assert not compatible(other, [new])


@pytest.mark.parametrize(
    ("new", "other"),
    [
        pytest.param(Fault(Kind.CRASH, "net1"), Fault(Kind.CRASH, "net2"), id="two hosts"),
        pytest.param(Fault(Kind.CUT_HA, "net1"), Fault(Kind.CUT_UPLINK, "net1"), id="two cuts"),
        pytest.param(Fault(Kind.KILL_KEEPALIVED, "net1"), Fault(Kind.KILL_AGENT, "net1"), id="two programs"),
        pytest.param(Fault(Kind.KILL_ETCD_MEMBER, "etcd1"), Fault(Kind.PAUSE_ETCD_MEMBER, "etcd2"), id="two members"),
        pytest.param(Fault(Kind.NO_QUORUM), Fault(Kind.CRASH, "net4"), id="a crash without etcd"),
    ],
)
def test_what_goes_together(new: Fault, other: Fault) -> None:
    assert compatible(new, [other])
    assert compatible(other, [new])
