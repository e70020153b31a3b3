"""When an uplink counts as dead: late where that would move traffic, at once where it keeps it."""

import random

import pytest

from haqn.agent import probe
from haqn.agent.uplinks import Uplinks, Verdict
from haqn.failover.announce import checksum
from haqn.scheduler import priorities

INTERVAL, PATIENCE = 1.0, 4.0


def counts(verdict, *, is_master, now):
    return verdict.counts_as_dead(is_master=is_master, now=now, interval=INTERVAL)


def after(answers, start=0.0):
    verdict = Verdict()
    for number, answered in enumerate(answers):
        verdict = verdict.after(answered, start + number)
    return verdict


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], True),
        ([False, False], True),
        ([False, False, True, False, False], True),
        ([False] * 3, False),
        ([False] * 5 + [True] * 2, False),
        ([False] * 5 + [True] * 3, True),
    ],
)
def test_three_probes_in_a_row_make_a_verdict(answers, expected):
    assert after(answers).answers is expected


def test_what_moves_traffic_counts_late_and_what_keeps_it_at_once():
    assert not counts(Verdict(), is_master=False, now=1e9)
    dead, well = Verdict(answers=False, since=10.0), Verdict(answers=True, since=10.0)
    moments = [10.0, 10.0 + PATIENCE / 2, 10.0 + PATIENCE]
    assert [counts(dead, is_master=False, now=now) for now in moments] == [True, True, True]
    assert [counts(dead, is_master=True, now=now) for now in moments] == [False, False, True]
    assert [counts(well, is_master=False, now=now) for now in moments] == [True, True, False]
    assert [counts(well, is_master=True, now=now) for now in moments] == [False, False, False]


class Member:
    """A host that probes once in a while, in its own rhythm."""

    def __init__(self, phase):
        self.verdict, self.next = Verdict(), phase

    def look(self, now, answers):
        if now >= self.next:
            self.verdict = self.verdict.after(answers, now)
            self.next = now + INTERVAL + (0 if answers else 0.4)

    def priority(self, now, level, *, is_master):
        return priorities.priority(1, int(counts(self.verdict, is_master=is_master, now=now)), level)


def masters(phases, reachable, seconds=60):
    """Who is MASTER from moment to moment; `reachable(member, now)`."""
    members, levels, master, seen = [Member(phase) for phase in phases], [1, 0], 0, [0]
    for tick in range(int(seconds * 20)):
        now = 100 + tick / 20
        for index, member in enumerate(members):
            member.look(now, reachable(index, now - 100))
        values = [one.priority(now, levels[index], is_master=index == master) for index, one in enumerate(members)]
        winner = priorities.elected(*values)
        if winner not in (-1, master):
            master = winner
            levels = [2 if index == winner else 0 for index in range(2)]
            seen.append(winner)
    return seen


@pytest.mark.parametrize("seed", range(30))
def test_when_all_probes_fail_nothing_moves_and_when_one_fails_it_moves_once(seed):
    rhythm = random.Random(seed)
    phases = [rhythm.uniform(100, 101.4) for _ in range(2)]
    down, up = rhythm.uniform(5, 6), rhythm.uniform(20, 30)
    assert masters(phases, lambda _, now: not down < now < up) == [0]
    assert masters(phases, lambda member, now: member == 1 or not down < now < up) == [0, 1]
    assert masters(phases, lambda member, now: member == 0 or not down < now < up) == [0]
    # it flaps faster than it is believed
    assert masters(phases, lambda member, now: member == 1 or int(now) % 4 > 1) == [0]


def test_one_target_of_an_uplink_is_enough_and_an_uplink_without_carrier_is_not_probed(monkeypatch):
    asked = []

    def answer(interface, targets):
        asked.append((interface, targets))
        return False

    class Clock:
        def monotonic(self):
            return 50.0

    uplinks = Uplinks(["eth1", "lo", "eth1"], {"eth1": ("192.0.2.1",), "eth2": ()}, answer, Clock(), INTERVAL)
    assert uplinks.without_carrier() == ("eth1",), "there is no such device here"
    for _ in range(3):
        uplinks._look("eth1", ("192.0.2.1",))
    assert asked == [("eth1", ("192.0.2.1",))] * 3
    assert uplinks.leading_nowhere(is_master=False) == (), "what has no carrier is keepalived's business"
    monkeypatch.setattr("haqn.agent.uplinks.has_carrier", lambda _: True)
    assert uplinks.leading_nowhere(is_master=False) == ("eth1",)
    assert uplinks.leading_nowhere(is_master=True) == ()


MAC = bytes.fromhex("fa163e000001")


def test_an_arp_probe_names_no_sender_address():
    assert probe.question(MAC, "192.0.2.1") == bytes.fromhex(
        "ffff ffff ffff fa16 3e00 0001 0806 0001 0800 0604 0001fa16 3e00 0001 0000 0000 0000 0000 0000 c000 0201"
    )


def test_a_neighbour_solicitation_comes_from_the_unspecified_address():
    frame = probe.question(MAC, "2001:db8::aabb:ccdd")
    assert frame[:14] == bytes.fromhex("3333ffbbccdd fa163e000001 86dd")
    assert frame[14:22] == bytes.fromhex("6000 0000 0018 3aff")
    assert frame[22:54] == bytes(16) + bytes.fromhex("ff02 0000 0000 0000 0000 0001 ffbb ccdd")
    assert frame[54:56] == b"\x87\0"
    # of what carries its own checksum: none of the bits is left over
    assert checksum(frame[22:54] + bytes.fromhex("00000018 0000003a") + frame[54:]) == 0xFFFF


def test_only_an_answer_of_a_target_is_one():
    reply = bytes(12) + bytes.fromhex("0806 0001 0800 0604 0002") + MAC + bytes([192, 0, 2, 1]) + bytes(10)
    assert probe.is_answer(reply, ["2001:db8::1", "192.0.2.1"])
    assert not probe.is_answer(reply, ["192.0.2.2"])
    assert not probe.is_answer(reply[:21] + b"\1" + reply[22:], ["192.0.2.1"]), "a request"
    assert not probe.is_answer(reply[:30], ["192.0.2.1"])
    address = bytes.fromhex("20010db8000000000000000000000001")
    advertisement = bytes(12) + bytes.fromhex("86dd") + bytes(6) + b"\x3a" + bytes(33) + b"\x88" + bytes(7) + address
    assert probe.is_answer(advertisement, ["2001:db8::1"])
    assert not probe.is_answer(advertisement, ["2001:db8::2"])
