"""The nudge: never in the way, never more writes than needed, never given up."""

from __future__ import annotations

import threading

import pytest

from haqn.api.nudge import EtcdNudge
from haqn.coordination import keys
from haqn.exceptions import Unavailable
from tests.eventually import eventually


class SlowEtcd:
    """Takes each write when it is allowed to."""

    def __init__(self):
        self.written = []
        self.waiting = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)
        self.fail_next = 0

    def put(self, key, value, **_):
        self.waiting.release()
        assert self.allowed.acquire(timeout=30)
        if self.fail_next:
            self.fail_next -= 1
            raise Unavailable("no etcd today")
        self.written.append((key, int(value)))


@pytest.fixture
def etcd():
    return SlowEtcd()


@pytest.fixture
def nudge(etcd):
    nudge = EtcdNudge(etcd)
    nudge.start()
    yield nudge
    etcd.allowed.release(100)
    nudge.stop()


def test_many_changes_during_a_write_make_one_more_write(etcd, nudge):
    nudge.poke(1)
    assert etcd.waiting.acquire(timeout=30)
    for number in range(2, 100):
        nudge.poke(number)
    etcd.allowed.release(2)
    eventually(lambda: etcd.written == [(keys.NUDGE, 1), (keys.NUDGE, 99)])


def test_a_failed_write_is_forgotten_and_the_next_one_is_made(etcd, nudge):
    etcd.fail_next = 1
    etcd.allowed.release(2)
    nudge.poke(1)
    eventually(lambda: etcd.fail_next == 0)
    nudge.poke(2)
    eventually(lambda: etcd.written == [(keys.NUDGE, 2)])
