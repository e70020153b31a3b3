import pytest

from haqn.coordination.timing import LeaseTiming, Pulse, Watchdog, backoff


def test_validity_ends_before_the_server_may_expire_the_lease():
    assert LeaseTiming.valid_until(sent=100.0, granted_ttl=10.0) == pytest.approx(109.0)


@pytest.mark.parametrize("ttl", [2, 5, 10, 60])
def test_time_for_several_members_within_a_validity(ttl):
    timing = LeaseTiming(ttl)
    assert timing.keepalive_interval + 2 * timing.try_time(call_timeout=1000.0) < timing.valid_until(0.0, ttl)
    assert timing.try_time(call_timeout=0.1) == 0.1


@pytest.mark.parametrize("ttl", [2, 5, 10, 60])
def test_who_watches_leases_asks_in_time_for_what_counts_as_stale_after_half_a_ttl(ttl):
    assert 0.1 <= LeaseTiming(ttl).ping_after <= min(2.0, ttl / 4)


def test_backoff_doubles_up_to_its_cap():
    assert [backoff(failures, first=1.0, cap=5.0) for failures in (1, 2, 3, 4, 10_000)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_watchdog_asks_before_it_gives_up():
    dog = Watchdog(ping_after=1.0, silence=2.0, heard_at=0.0)
    assert dog.check(0.9) is Pulse.FINE
    assert dog.check(1.0) is Pulse.PING
    dog.asked(1.0)
    assert dog.check(2.9) is Pulse.FINE
    assert dog.check(3.1) is Pulse.DEAD


def test_watchdog_is_content_with_any_answer():
    dog = Watchdog(ping_after=1.0, silence=2.0, heard_at=0.0, asked_at=0.0)
    dog.heard(1.9)
    assert dog.check(2.8) is Pulse.FINE
    assert dog.check(2.9) is Pulse.PING


def test_watchdog_counts_a_pause_of_the_process_as_silence():
    """A reader looks at what has come before it looks at the watchdog, so an answer that waits is not missed."""
    dog = Watchdog(ping_after=1.0, silence=2.0, heard_at=0.0, asked_at=0.0)
    assert dog.check(1000.0) is Pulse.DEAD


@pytest.mark.parametrize("asked_at", [None, 0.0])
def test_watchdog_says_how_long_it_has_nothing_to_say(asked_at):
    dog = Watchdog(ping_after=1.0, silence=2.0, heard_at=0.0, asked_at=asked_at)
    idle = dog.idle_for(0.5)
    assert dog.check(0.5 + idle - 0.01) is Pulse.FINE
    assert dog.check(0.5 + idle + 0.01) is not Pulse.FINE
