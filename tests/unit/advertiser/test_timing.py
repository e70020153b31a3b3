"""When advertisements leave: soon and often at first, then seldom, and never more often than RFC 4861 lets them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haqn.advertiser import daemon
from haqn.advertiser.timing import ANSWER_WITHIN, BETWEEN, INITIAL, INITIAL_INTERVAL, INTERVAL, Schedule


def test_the_first_ones_come_soon():
    schedule = Schedule(100.0)
    moments = []
    for _ in range(INITIAL + 3):
        moments.append(schedule.due)
        schedule.sent(schedule.due)
    assert moments[0] <= 100.0 + ANSWER_WITHIN
    # what floating point adds to a moment is no part of a gap
    gaps = [round(later - earlier, 6) for earlier, later in itertools.pairwise(moments)]
    assert all(gap <= INITIAL_INTERVAL for gap in gaps[:INITIAL])
    assert all(INTERVAL[0] <= gap <= INTERVAL[1] for gap in gaps[INITIAL:])


def test_who_asks_is_answered_within_half_a_second():
    schedule = Schedule(0.0)
    schedule.sent(0.0)
    schedule.solicited(10.0)
    assert 10.0 <= schedule.due <= 10.0 + ANSWER_WITHIN


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from(["ask", "new", "none"])), max_size=60))
def test_no_flood_of_questions_makes_a_flood_of_answers(steps):
    now, sent = 0.0, []
    schedule = Schedule(now)
    for pause, what in steps:
        now += pause
        if schedule.due <= now:
            schedule.sent(now)
            sent.append(now)
        if what == "ask":
            schedule.solicited(now)
        elif what == "new":
            schedule.begin(now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert all(gap > BETWEEN - 1e-6 for gap in gaps)


def test_files():
    assert daemon.parse("/run/netns/qrouter-r 4026531840\n3 8600\n7 8601\n") == (
        "/run/netns/qrouter-r",
        4026531840,
        {3: b"\x86\x00", 7: b"\x86\x01"},
    )
    for text in ("", "/run/netns/x\n", "/run/netns/x 1\n3\n", "/run/netns/x 1\n3 8g\n"):
        with pytest.raises(ValueError, match=r"."):
            daemon.parse(text)
