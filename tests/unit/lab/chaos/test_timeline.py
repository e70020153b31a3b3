"""Looks at gates, and frames on wires, told apart from what is allowed."""

from dataclasses import replace

import pytest

from haqn.lab.chaos.timeline import Look, Sighting, longest_overlap, stray
from haqn.model import FIRST_PAIR_ID, UNGATED_GROUP

PAIR = FIRST_PAIR_ID + 4
MAC = "fa:16:3e:00:00:01"
TAPS = {MAC: "tap1"}


def look(time: float, host: str, *, is_open: bool, group: int = PAIR) -> Look:
    return Look(time, host, {"tap1": group}, frozenset({PAIR} if is_open else ()))


def looks(host: str, states: str, start: float = 0.0) -> list[Look]:
    """A look each 0.1 s: `o` is open, `x` is shut."""
    return [look(start + place / 10, host, is_open=state == "o") for place, state in enumerate(states)]


def together(*several: list[Look]) -> list[Look]:
    return sorted((one for some in several for one in some), key=lambda one: one.time)


@pytest.mark.parametrize(
    ("one", "other", "seconds"),
    [
        ("oooooo", "xxxxxx", 0.0),
        ("oooxxx", "xxxooo", 0.0),
        ("oooooo", "xxoooo", 0.3),
        ("oooxxooo", "xooooooo", 0.2),
        ("oooooo", "oooooo", 0.5),
    ],
)
def test_two_hosts_at_once(one: str, other: str, seconds: float) -> None:
    seen = together(looks("net1", one), looks("net2", other))

    found = longest_overlap(seen, {"tap1"}, 0.0)
    assert found.seconds == pytest.approx(seconds)
    assert sorted(found.hosts) == ([f"net1 {PAIR}", f"net2 {PAIR}"] if seconds else [])


def test_an_overlap_counts_from_the_beginning_of_the_step_only() -> None:
    seen = together(looks("net1", "oooooo"), looks("net2", "oooooo"))

    assert longest_overlap(seen, {"tap1"}, 0.3).seconds == pytest.approx(0.2)


def test_a_port_of_no_pair_is_open_and_one_that_is_not_there_is_not() -> None:
    ungated = look(0.0, "net1", is_open=False, group=UNGATED_GROUP)

    assert ungated.forwards({"tap1", "tap2"})
    assert not ungated.forwards({"tap2"})
    assert not Look(0.0, "net1", {}, frozenset()).forwards({"tap1"})


@pytest.mark.parametrize(
    ("states", "moment", "is_stray"),
    [
        pytest.param("xxxxxxxxxx", 0.45, True, id="shut all the time"),
        pytest.param("oxxxxxxxxx", 0.45, True, id="shut long ago"),
        pytest.param("xxooxxxxxx", 0.45, False, id="open a moment ago"),
        pytest.param("xxxxxxoxxx", 0.45, False, id="open a moment later"),
        pytest.param("oooooooooo", 0.45, False, id="open"),
        pytest.param("xxxx", 0.45, False, id="nobody has looked since"),
    ],
)
def test_frames_from_a_host_whose_gate_is_shut(states: str, moment: float, is_stray: bool) -> None:
    sighting = Sighting(moment, "net1", MAC)

    found = stray(together(looks("net1", states), looks("net2", "oooooooooo")), [sighting], TAPS)

    assert found == ([sighting] if is_stray else [])


def test_looks_that_are_far_apart_prove_nothing() -> None:
    seen = [look(0.0, "net1", is_open=False), look(0.6, "net1", is_open=False)]

    assert stray(seen, [Sighting(0.3, "net1", MAC)], TAPS) == []


def test_a_look_that_took_long_says_nothing_of_a_frame_that_left_meanwhile() -> None:
    slow = replace(look(0.0, "net1", is_open=False), until=0.3)
    after = look(0.31, "net1", is_open=False)

    assert stray([slow, after], [Sighting(0.2, "net1", MAC)], TAPS) == []
    assert stray([slow, after], [Sighting(0.305, "net1", MAC)], TAPS)
