"""What holds for a router on net1 and net2, by the faults in force."""

import pytest

from haqn.lab.chaos.fault import Control, Fault, Kind, api_answers, control
from haqn.lab.chaos.promise import Place, Promise, Situation, promise

PAIR = frozenset({"net1", "net2"})
PLACE = Place(bound=PAIR, ready=PAIR, holders=PAIR)
TTL = 6.0


def of(*faults: Fault, recovering: frozenset[str] = frozenset(), place: Place = PLACE) -> Promise:
    return promise(place, Situation(frozenset(faults), recovering, TTL))


QUIET = of()


def test_with_no_fault_packets_flow() -> None:
    assert QUIET.forwards_within is not None
    assert QUIET.gap is not None
    assert QUIET.gap <= 1.0
    assert QUIET.overlap is not None


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(Kind.NO_QUORUM)],
        [Fault(Kind.SQL_AWAY), Fault(Kind.KILL_API)],
        [Fault(Kind.KILL_MONITORS), Fault(Kind.PAUSE_ETCD_MEMBER, "etcd1")],
        [Fault(Kind.CRASH, "net3"), Fault(Kind.CUT_HA, "net4")],
    ],
)
def test_nothing_of_the_control_plane_and_of_other_hosts_is_felt(faults: list[Fault]) -> None:
    assert of(*faults) == QUIET


@pytest.mark.parametrize("kind", [Kind.CRASH, Kind.FREEZE, Kind.POWER_OFF, Kind.CUT_UPLINK, Kind.KILL_KEEPALIVED])
@pytest.mark.parametrize("other", [[], [Fault(Kind.NO_QUORUM)], [Fault(Kind.KILL_AGENT, "net2")]])
def test_the_peer_takes_over_with_and_without_control(kind: Kind, other: list[Fault]) -> None:
    found = of(Fault(kind, "net1"), *other)

    assert found.forwards_within is not None
    assert found.gap is not None
    assert QUIET.gap < found.gap <= 7.0
    assert found.overlap is not None
    assert found.overlap <= 5.0


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Fault(Kind.CRASH, "net1"), Fault(Kind.FREEZE, "net2")], id="both are dead"),
        pytest.param([Fault(Kind.CUT_UPLINK, "net1"), Fault(Kind.PAUSE_KEEPALIVED, "net2")], id="neither can"),
        pytest.param([Fault(Kind.CUT_UPLINK_IN, "net1")], id="nobody knows that an uplink loses frames"),
    ],
)
def test_packets_are_not_promised_where_nobody_can_forward(faults: list[Fault]) -> None:
    assert of(*faults).forwards_within is None
    assert of(*faults).gap is None
    # and yet two must not forward
    assert of(*faults).overlap is not None


@pytest.mark.parametrize("kind", [Kind.CUT_HA, Kind.CUT_HA_IN, Kind.CUT_HA_OUT])
def test_two_that_do_not_hear_each_other_are_told_apart_by_the_leader(kind: Kind) -> None:
    with_control = of(Fault(kind, "net1"))
    slow = of(Fault(kind, "net1"), Fault(Kind.KILL_MONITOR, "monitor1"))

    assert with_control.forwards_within is not None
    assert with_control.overlap is not None
    assert with_control.overlap > QUIET.overlap
    assert slow.overlap > with_control.overlap


@pytest.mark.parametrize(
    "other",
    [
        Fault(Kind.NO_QUORUM),
        Fault(Kind.SQL_AWAY),
        Fault(Kind.KILL_MONITORS),
        Fault(Kind.CUT_MGMT, "net2"),
        Fault(Kind.KILL_AGENT, "net1"),
        Fault(Kind.CUT_UPLINK, "net2"),
    ],
)
def test_two_that_do_not_hear_each_other_may_both_forward_while_nobody_can_tell_them(other: Fault) -> None:
    assert of(Fault(Kind.CUT_HA, "net1"), other) == Promise()


def test_who_yielded_to_a_host_that_dies_then_is_told_so_by_the_leader() -> None:
    found = of(Fault(Kind.CUT_HA, "net1"), Fault(Kind.CRASH, "net2"))

    assert found.forwards_within is not None
    assert found.gap >= 2 * TTL
    assert found.overlap is not None


def test_a_host_that_has_come_back_does_not_count_until_it_is_whole() -> None:
    recovering = frozenset({"net1"})

    assert of(recovering=recovering).forwards_within is not None
    assert of(Fault(Kind.CRASH, "net2"), recovering=recovering).forwards_within is None


def test_a_host_that_has_not_built_the_router_does_not_count() -> None:
    place = Place(bound=PAIR, ready=frozenset({"net2"}), holders=PAIR)

    assert of(Fault(Kind.CRASH, "net1"), place=place).forwards_within is not None
    assert of(Fault(Kind.CRASH, "net2"), place=place).forwards_within is None


def test_a_former_member_that_still_has_the_router_counts_for_who_hears_whom() -> None:
    place = Place(bound=PAIR, ready=PAIR, holders=PAIR | {"net3"})
    cut_off = (Fault(Kind.CUT_HA, "net3"), Fault(Kind.CUT_MGMT, "net3"))

    assert of(*cut_off, place=place) == Promise()
    assert of(*cut_off) == QUIET


@pytest.mark.parametrize(
    ("faults", "left"),
    [
        ([], Control.WHOLE),
        ([Fault(Kind.KILL_API)], Control.WHOLE),
        ([Fault(Kind.KILL_ETCD_MEMBER, "etcd1")], Control.SLOW),
        ([Fault(Kind.PAUSE_MONITOR, "monitor1")], Control.SLOW),
        ([Fault(Kind.KILL_ETCD_MEMBER, "etcd1"), Fault(Kind.CRASH_CONTROL, "ctl3")], Control.NONE),
        ([Fault(Kind.PAUSE_MONITOR, "monitor1"), Fault(Kind.CRASH_CONTROL, "ctl2")], Control.NONE),
        ([Fault(Kind.SQL_AWAY)], Control.NONE),
        ([Fault(Kind.CRASH, "net1"), Fault(Kind.KILL_AGENT, "net2")], Control.WHOLE),
    ],
)
def test_what_is_left_of_the_control_plane(faults: list[Fault], left: Control) -> None:
    assert control(faults) is left


def test_writes_are_taken_while_sql_and_the_api_are_there() -> None:
    assert api_answers([Fault(Kind.NO_QUORUM), Fault(Kind.KILL_MONITORS)])
    assert not api_answers([Fault(Kind.PAUSE_API)])
    assert not api_answers([Fault(Kind.SQL_AWAY)])
