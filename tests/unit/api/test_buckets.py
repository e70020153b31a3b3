import os

import pytest

from haqn.api.buckets import Rate, SharedBuckets


@pytest.fixture
def buckets(watch):
    return SharedBuckets(watch)


def take_all(buckets, key, rate, tries=1000):
    return next(number for number in range(tries) if buckets.take(key, rate))


def test_a_bucket_holds_its_burst_and_fills_at_its_rate(buckets, watch):
    rate = Rate(10.0, 5)
    assert take_all(buckets, "a", rate) == 5
    assert buckets.take("a", rate) == pytest.approx(0.1)
    watch.now += 0.25
    assert take_all(buckets, "a", rate) == 2
    assert buckets.take("a", rate) == pytest.approx(0.05)
    watch.now += 3600
    assert take_all(buckets, "a", rate) == 5


def test_each_key_has_a_bucket_of_its_own(buckets):
    rate = Rate(1.0, 3)
    for key in ("a", "b", "\ud800", ""):
        assert take_all(buckets, key, rate) == 3


def test_processes_share_buckets(buckets):
    rate = Rate(0.001, 100)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            taken = sum(buckets.take("a", rate) == 0.0 for _ in range(60))
            os._exit(taken)
        children.append(child)
    assert sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children) == 100


def test_more_keys_than_buckets_only_make_some_forgotten(watch):
    buckets, rate = SharedBuckets(watch, rows=4), Rate(1.0, 1)
    for number in range(100):
        assert buckets.take(str(number), rate) == 0.0
    assert take_all(buckets, "last", rate) == 1
