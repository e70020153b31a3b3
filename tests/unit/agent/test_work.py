"""A key is never dropped: failures come back, with growing pauses."""

from haqn.agent.work import Work
from haqn.documents import PortDocument

KEY = ("ports", "p1")
DOCUMENT = PortDocument(port_id="p1", network_id="n", mac_address="fa:16:3e:00:00:01")


def test_pauses_grow_to_a_cap_and_end_with_success():
    work, now = Work(), 100.0
    pauses = []
    for _ in range(9):
        work.failed(KEY, "no", now)
        assert not work.may_start(KEY, now)
        pause = work.next_retry(now)
        pauses.append(pause)
        now += pause
        assert work.may_start(KEY, now)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert work.errors == {KEY: "no"}
    work.done(KEY, DOCUMENT)
    assert (work.errors, work.next_retry(now), work.applied) == ({}, None, {KEY: DOCUMENT})
    work.failed(KEY, "again", now)
    assert work.next_retry(now) == 0.5


def test_new_wishes_are_tried_at_once():
    work = Work()
    work.failed(KEY, "no", 100.0)
    work.changed(KEY)
    assert work.may_start(KEY, 100.0)


def test_waiting_is_no_error_and_one_thing_is_in_hand_once():
    work = Work()
    work.wait(KEY, 100.25)
    assert work.errors == {}
    assert not work.may_start(KEY, 100.0)
    assert work.may_start(KEY, 100.25)
    work.in_flight.add(KEY)
    assert not work.may_start(KEY, 101.0)
