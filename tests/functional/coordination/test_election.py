import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from haqn.coordination.client import Delete, Etcd, ModRevisionIs, Put
from haqn.coordination.election import Election
from haqn.coordination.session import Session
from haqn.exceptions import NotLeader, OutcomeUnknown
from tests.eventually import eventually
from tests.functional.coordination.recorder import Calls, JumpingClock, Late, Program

pytestmark = pytest.mark.functional

KEY = "/leader"


class Candidate:
    """A session and an election of its own, over a client of its own."""

    def __init__(self, etcd, name, ttl=3):
        self.name = name.encode()
        self.etcd = etcd
        self.calls = Calls()
        self.session = Session(etcd, ttl)
        self.election = Election(
            self.session,
            KEY,
            self.name,
            on_elected=self.calls.on("elected"),
            on_demoted=self.calls.on("demoted"),
        )

    def __enter__(self):
        self.session.start()
        self.election.start()
        return self

    def __exit__(self, *_):
        self.election.stop()
        self.session.stop()

    @property
    def tokens(self):
        return [token for name, token in self.calls.all if name == "elected"]


@pytest.fixture
def candidates(cluster):
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Candidate(stack.enter_context(cluster.client()), name))
            for name in ("ada", "bob", "eve")
        ]


def the_leader(candidates):
    """The one that leads; fails when two do."""
    leaders = [candidate for candidate in candidates if candidate.election.is_leader]
    assert len(leaders) <= 1
    return leaders[0] if leaders else None


def test_one_leads_and_another_follows_when_it_stops(candidates, etcd):
    remaining, tokens, names = list(candidates), [], set()
    while remaining:
        leader = eventually(lambda: the_leader(candidates))
        tokens.append(leader.election.token)
        names.add(leader.name)
        assert etcd.get(KEY).create_revision == leader.election.token
        assert etcd.get(KEY).lease == leader.session.lease
        for candidate in remaining:
            eventually(lambda: candidate.election.leader() == leader.name)  # noqa: B023 (ends within the pass)
        leader.election.stop()
        assert not leader.election.is_leader
        assert leader.calls.names == ["elected", "demoted"]
        remaining.remove(leader)
    assert etcd.get(KEY) is None
    assert tokens == sorted(set(tokens))
    assert len(names) == 3


def test_a_term_lasts_beyond_the_ttl(cluster):
    with cluster.client() as etcd, Candidate(etcd, "ada", ttl=2) as ada:
        ada.session.register("/s/ada", b"")
        eventually(lambda: ada.election.is_leader)
        token = ada.election.token
        time.sleep(5)
        assert ada.election.token == token
        assert etcd.get(KEY).mod_revision == token
        assert ada.calls.all == [("elected", token)]


def test_deleted_key_ends_the_term(candidates, etcd):
    leader = eventually(lambda: the_leader(candidates))
    token = leader.election.token
    etcd.delete(KEY)
    eventually(lambda: leader.calls.names[:2] == ["elected", "demoted"])
    successor = eventually(lambda: the_leader(candidates))
    assert successor.election.token > token


def test_revoked_lease_ends_the_term(candidates, etcd):
    leader = eventually(lambda: the_leader(candidates))
    token = leader.election.token
    etcd.revoke(leader.session.lease)
    eventually(lambda: leader.calls.names[:2] == ["elected", "demoted"])
    assert eventually(lambda: the_leader(candidates)).election.token > token


def test_who_resigns_lets_another_lead(candidates, etcd):
    leader = eventually(lambda: the_leader(candidates))
    token = leader.election.token
    with pytest.raises(NotLeader):
        leader.election.resign(token=token - 1)
    leader.election.resign(token=token)
    assert not leader.election.is_leader
    successor = eventually(lambda: the_leader(candidates))
    assert successor is not leader
    assert successor.election.token > token
    successor.election.stop()
    next(candidate for candidate in candidates if candidate not in (leader, successor)).election.stop()
    eventually(lambda: leader.election.is_leader)  # it has not given up for ever
    assert leader.calls.names == ["elected", "demoted", "elected"]


def test_writes_of_the_leader(candidates, etcd):
    leader = eventually(lambda: the_leader(candidates))
    election, token = leader.election, leader.election.token
    assert election.write([Put("/w/a", b"1")], token=token).succeeded
    not_there = ModRevisionIs("/w/a", 0)
    refused = election.write([Put("/w/a", b"2")], conditions=[not_there])
    assert not refused.succeeded
    election.write_all({f"/w/{number:03}": b"v" for number in range(300)}, ["/w/a"], token=token)
    assert set(etcd.list("/w/")[0]) == {f"/w/{number:03}" for number in range(300)}
    election.update_value(b"new value", token=token)
    assert etcd.get(KEY).value == b"new value"
    assert etcd.get(KEY).lease == leader.session.lease
    assert election.token == token
    eventually(lambda: election.leader() == b"new value")
    with pytest.raises(NotLeader):
        election.write([Delete("/w/000")], token=token - 1)
    follower = next(candidate for candidate in candidates if candidate is not leader)
    for write in (
        lambda: follower.election.write([Put("/w/follower", b"")]),
        lambda: follower.election.write_all({"/w/follower": b""}),
        lambda: follower.election.update_value(b"follower"),
    ):
        with pytest.raises(NotLeader):
            write()
    assert etcd.get("/w/follower") is None
    assert etcd.get("/w/000") is not None
    assert leader.calls.names == ["elected"]


def test_fault_e_writes_of_a_paused_leader_are_refused_by_etcd(cluster, etcd):
    """The program trusts its term without looking at the clock, so etcd alone can refuse it."""
    with Program("lead", *cluster.endpoints, "old") as old:
        eventually(lambda: len(old.of("written")) > 10)
        old.pause()
        with cluster.client() as other, Candidate(other, "new") as new:
            eventually(lambda: new.election.is_leader)
            token = new.election.token
            new.election.write([Put("/written", b"new")])
            old.resume()
            eventually(lambda: len(old.of("refused")) > 3)
            eventually(lambda: old.of("demoted"))
            assert etcd.get("/written").value == b"new"
            assert all(told["revision"] < token for told in old.of("written"))
            assert any("etcd refuses" in told["why"] for told in old.of("refused"))
            assert new.election.is_leader
            assert new.calls.names == ["elected"]
        # It leads again, in a new term.
        eventually(lambda: len(old.of("elected")) == 2)
        first, second = (told["token"] for told in old.of("elected"))
        assert first < token < second


def test_killed_leader_is_followed(cluster):
    with cluster.client() as etcd:
        with Program("lead", *cluster.endpoints, "old") as old:
            eventually(lambda: old.of("written"))
        with Candidate(etcd, "new") as new:
            eventually(lambda: new.election.is_leader)
            assert new.election.token > old.of("elected")[0]["token"]


def test_without_etcd_nobody_leads(cluster, etcd):
    with Candidate(etcd, "ada") as ada:
        eventually(lambda: ada.election.is_leader)
        cluster.kill()
        eventually(lambda: not ada.election.is_leader, timeout=3)
        with pytest.raises(NotLeader):
            ada.election.write([Put("/w", b"")])
        eventually(lambda: ada.calls.names == ["elected", "demoted"])
        cluster.start()
        eventually(lambda: len(ada.tokens) == 2)
        # The lease has survived in etcd, the term has not.
        assert ada.tokens[1] > ada.tokens[0]


def test_term_ends_with_its_session_although_the_lease_comes_back(cluster):
    clock = JumpingClock()
    with cluster.client(clock=clock) as etcd, Candidate(etcd, "ada", ttl=5) as ada:
        eventually(lambda: ada.tokens)
        lease = ada.session.lease
        clock.jump(5)
        assert not ada.election.is_leader
        ada.session.register("/s/a", b"")  # the session looks at once, before the election does
        eventually(lambda: ada.session.valid)
        assert ada.election.token != ada.tokens[0]
        eventually(lambda: len(ada.tokens) == 2)
        assert ada.tokens[1] > ada.tokens[0]
        assert ada.session.lease == lease


class Deaf(Etcd):
    """A client that never hears the answers to its first campaigns, although they were carried out."""

    unheard = 2

    def transact(self, operations, *, read_on_failure=None, **options):
        result = super().transact(operations, read_on_failure=read_on_failure, **options)
        if read_on_failure is not None and self.unheard:
            self.unheard -= 1
            raise OutcomeUnknown("nothing heard")
        return result


@pytest.mark.parametrize("unheard", [1, 2, 5])
def test_elected_although_no_answer_came(cluster, unheard):
    deaf = Deaf(cluster.endpoints)
    deaf.unheard = unheard
    with Candidate(deaf, "ada") as ada:
        eventually(lambda: ada.election.is_leader)
        assert deaf.unheard == 0
        assert ada.election.token == deaf.get(KEY).create_revision
        ada.election.write([Put("/w", b"")])
    deaf.close()


def test_write_without_answer_cannot_happen_after_a_later_one(cluster):
    late = Late(cluster.endpoints)
    with Candidate(late, "ada") as ada:
        eventually(lambda: ada.election.is_leader)
        ada.election.write([Put("/w", b"first")])
        late.hold()
        with pytest.raises(OutcomeUnknown):
            ada.election.write([Put("/w", b"old")])
        ada.election.write([Put("/w", b"new")])
        assert not late.carry_out()
        assert late.get("/w").value == b"new"
    late.close()


def test_write_whose_answer_was_lost_is_not_done_twice(cluster):
    deaf = Deaf(cluster.endpoints)
    deaf.unheard = 0
    with Candidate(deaf, "ada") as ada:
        eventually(lambda: ada.election.is_leader)
        ada.election.write([Put("/w", b"1")])
        deaf.unheard = 1
        with pytest.raises(OutcomeUnknown):
            ada.election.write([Put("/w", b"2")])
        assert deaf.get("/w").value == b"2"
        ada.election.write([Put("/w", b"3")])
        assert deaf.get("/w").value == b"3"
        assert ada.calls.names == ["elected"]
    deaf.close()


def test_writes_of_several_threads(cluster):
    with cluster.client() as etcd, Candidate(etcd, "ada") as ada:
        eventually(lambda: ada.election.is_leader)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: ada.election.write([Put(f"/w/{number}", b"")]), range(40)))
        assert len(etcd.list("/w/")[0]) == 40


def test_leader_stops_in_its_own_callback(etcd):
    stopped = threading.Event()
    session = Session(etcd, 3)
    election = Election(session, KEY, b"ada", on_elected=lambda token: (election.stop(), stopped.set()))
    session.start()
    election.start()
    assert stopped.wait(10)
    assert etcd.get(KEY) is None
    session.stop()
