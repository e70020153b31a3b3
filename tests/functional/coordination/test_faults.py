"""What session and election make of faults that test_informer has for the informer: the client's member is frozen (b),
the paused client's member dies and its history is compacted (d), and etcd's leader, the client's own member, moves and
is killed (f).
"""

from __future__ import annotations

import contextlib
import time

import pytest

from haqn.coordination.client import Put
from haqn.coordination.election import Election
from haqn.coordination.session import Session
from haqn.exceptions import CoordinationError
from tests.eventually import eventually
from tests.functional.coordination.recorder import Calls, Program

pytestmark = pytest.mark.functional

KEY = "/leader"
#: seconds; longer than etcd takes to elect a leader, on a busy machine, too
TTL = 16
#: seconds that a machine may need for what takes a moment
PATIENCE = 60.0


class Candidate:
    """A session with a key of its own and an election over it, by a client that begins with one member."""

    def __init__(self, cluster, member, name):
        self.name = name.encode()
        self.calls = Calls()
        self._client = cluster.client(member)
        self.etcd = self._client.__enter__()
        self.session = Session(self.etcd, TTL, on_lost=self.calls.on("lost"), on_restored=self.calls.on("restored"))
        self.session.register(f"/held/{name}", self.name)
        self.election = Election(
            self.session, KEY, self.name, on_elected=self.calls.on("elected"), on_demoted=self.calls.on("demoted")
        )

    def __enter__(self):
        self.session.start()
        self.election.start()
        return self

    def __exit__(self, *details):
        self.election.stop()
        self.session.stop()
        self._client.__exit__(*details)

    def writes(self, key):
        """Whether a write of the leader was carried out."""
        try:
            return self.election.write([Put(key, self.name)]).succeeded
        except CoordinationError:
            return False

    def keeps_its_lease_since(self, moment):
        """Whether etcd has answered a keepalive that was sent after that moment (G6: valid for 0.9 TTL from then)."""
        return self.session.remaining() > 0.9 * TTL - (time.monotonic() - moment)


def test_fault_f_no_lease_and_no_term_ends_with_etcds_leader(cluster):
    """One candidate is connected to the member that dies, the others to those that stay."""
    own, *others = cluster.members
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Candidate(cluster, own, "first"))
        eventually(lambda: first.election.is_leader, timeout=PATIENCE)
        followers = [stack.enter_context(Candidate(cluster, member, member.name)) for member in others]
        candidates = [first, *followers]
        for candidate in candidates:
            eventually(lambda: candidate.session.lease, timeout=PATIENCE)  # noqa: B023 (ends within the pass)
            eventually(lambda: candidate.election.leader() == b"first", timeout=PATIENCE)  # noqa: B023 (ends within the pass)
        token, leases = first.election.token, [candidate.session.lease for candidate in candidates]

        for member in (others[0], others[1], own):
            cluster.move_leader(member)
            assert eventually(lambda: first.writes("/moved"), timeout=PATIENCE)
        killed_at = time.monotonic()
        own.kill()
        eventually(lambda: first.writes("/killed"), timeout=PATIENCE)
        for candidate in candidates:
            eventually(lambda: candidate.keeps_its_lease_since(killed_at), timeout=PATIENCE)  # noqa: B023 (ends within the pass)

        # session and election tell in threads of their own
        assert sorted(first.calls.names) == ["elected", "restored"]
        assert [follower.calls.names for follower in followers] == [["restored"], ["restored"]]
        assert (first.election.is_leader, first.election.token) == (True, token)
        assert [candidate.session.lease for candidate in candidates] == leases
        held, _ = first.etcd.list("/held/")
        assert {item.lease for item in held.values()} == set(leases)
        assert first.etcd.get(KEY).create_revision == token
        assert first.etcd.get("/killed").value == b"first"


def test_fault_b_no_lease_and_no_term_ends_with_a_frozen_member(cluster):
    """It is the leader's own member, and etcd's leader."""
    own, other, _ = cluster.members
    cluster.move_leader(own)
    with Candidate(cluster, own, "first") as first:
        eventually(lambda: first.election.is_leader, timeout=PATIENCE)
        with Candidate(cluster, other, "second") as second:
            eventually(lambda: second.election.leader() == b"first", timeout=PATIENCE)
            token, lease = first.election.token, first.session.lease
            own.freeze()
            frozen_at = time.monotonic()
            eventually(lambda: first.writes("/frozen"), timeout=PATIENCE)
            for candidate in (first, second):
                eventually(lambda: candidate.keeps_its_lease_since(frozen_at), timeout=PATIENCE)  # noqa: B023 (ends within the pass)
            own.thaw()
            assert (first.election.is_leader, first.election.token, first.session.lease) == (True, token, lease)
            assert second.calls.names == ["restored"]
            assert second.etcd.get("/frozen").value == b"first"


def test_fault_d_who_was_paused_while_its_history_went_claims_nothing_and_comes_back(cluster, etcd):
    """The lease ends meanwhile, another one leads and is followed by a third term; all of that history is compacted."""
    victim, *others = cluster.members
    with Program("lead", victim.endpoint, *[member.endpoint for member in others], "old") as old:
        eventually(lambda: len(old.of("written")) > 10, timeout=PATIENCE)
        first_lease = old.of("restored")[0]["lease"]
        assert etcd.get("/held").lease == first_lease
        old.pause()
        victim.kill()
        with cluster.client(others[0]) as another, contextlib.ExitStack() as stack:
            eventually(lambda: _is_gone(another, "/held"), timeout=PATIENCE)
            new = stack.enter_context(Candidate(cluster, others[0], "new"))
            eventually(lambda: new.election.is_leader, timeout=PATIENCE)
            first_of_new = new.election.token
            new.election.resign(token=first_of_new)
            eventually(lambda: (new.election.token or 0) > first_of_new, timeout=PATIENCE)
            eventually(lambda: new.writes("/written"), timeout=PATIENCE)
            last = another.put("/elsewhere", b"")
            cluster.etcdctl("compact", str(last))
            old.resume()

            eventually(lambda: len(old.of("refused")) > 3, timeout=PATIENCE)
            eventually(lambda: old.of("demoted") and old.of("lost"), timeout=PATIENCE)
            eventually(lambda: len(old.of("restored")) == 2, timeout=PATIENCE)
            again = old.of("restored")[1]
            assert (again["resumed"], again["lease"] != first_lease) == (False, True)
            eventually(lambda: another.get("/held").lease == again["lease"], timeout=PATIENCE)
            # nothing of the old term was written, and the new leader is undisturbed
            assert another.get("/written").value == b"new"
            assert all(told["revision"] < first_of_new for told in old.of("written"))
            assert new.election.is_leader
            token = new.election.token
            stack.close()
            # its watch of the leader's key has outlived the compaction: it sees the end of the term
            eventually(lambda: len(old.of("elected")) == 2, timeout=PATIENCE)
            assert old.of("elected")[1]["token"] > token


def _is_gone(etcd, key):
    try:
        return etcd.get(key) is None
    except CoordinationError:
        return False
