import contextlib
import time

import pytest

from haqn.coordination.session import Session
from haqn.exceptions import Unavailable
from tests.eventually import eventually
from tests.functional.coordination.recorder import Calls, JumpingClock, Late

pytestmark = pytest.mark.functional


@contextlib.contextmanager
def running(etcd, ttl, **keys):
    """A session with the keys /s/<name>, and the calls of its callbacks."""
    calls = Calls()
    session = Session(etcd, ttl, on_lost=calls.on("lost"), on_restored=calls.on("restored"))
    for name, value in keys.items():
        session.register(f"/s/{name}", value)
    session.start()
    try:
        assert session.wait(10)
        yield session, calls
    finally:
        session.stop()


def keys_on(etcd, lease):
    return {key: item.value for key, item in etcd.list("/s/")[0].items() if item.lease == lease}


def test_keys_are_on_the_lease_as_long_as_they_are_registered(etcd):
    with running(etcd, 5, a=b"1", b=b"2") as (session, calls):
        lease = session.lease
        assert keys_on(etcd, lease) == {"/s/a": b"1", "/s/b": b"2"}
        eventually(lambda: calls.all == [("restored", lease, False)])
        assert 0 < session.remaining() <= 4.5
        session.register("/s/a", b"new")
        session.unregister("/s/b")
        eventually(lambda: keys_on(etcd, lease) == {"/s/a": b"new"})
    assert not session.valid
    assert session.lease is None
    assert session.remaining() == 0
    assert etcd.list("/s/")[0] == {}
    assert calls.names == ["restored"]


def test_lease_outlives_a_session_that_is_stopped_without_revoking(etcd):
    with running(etcd, 30, a=b"1") as (session, _):
        lease = session.lease
        session.stop(revoke=False)
        assert keys_on(etcd, lease) == {"/s/a": b"1"}
        etcd.revoke(lease)


def test_more_keys_than_fit_in_a_transaction(etcd):
    keys = {f"key{number:03}": b"v" for number in range(300)}
    with running(etcd, 5, **keys) as (session, _):
        assert len(keys_on(etcd, session.lease)) == 300


def test_revoked_lease_is_replaced_with_all_keys(etcd):
    with running(etcd, 4, a=b"1") as (session, calls):
        old = session.lease
        etcd.revoke(old)
        eventually(lambda: calls.names == ["restored", "lost", "restored"])
        assert session.lease != old
        assert calls.all[-1] == ("restored", session.lease, False)
        assert keys_on(etcd, session.lease) == {"/s/a": b"1"}


def test_key_deleted_by_somebody_is_put_again(etcd):
    with running(etcd, 2, a=b"1") as (session, calls):
        etcd.delete("/s/a")
        eventually(lambda: keys_on(etcd, session.lease) == {"/s/a": b"1"})
        assert calls.names == ["restored"]


def test_unregister_leaves_the_key_of_another_session(etcd):
    with running(etcd, 4, a=b"old", b=b"x") as (old, _), running(etcd, 4, a=b"new") as (new, _):
        old.unregister("/s/a")
        old.unregister("/s/b")
        eventually(lambda: etcd.get("/s/b") is None)
        assert keys_on(etcd, new.lease) == {"/s/a": b"new"}


def test_not_valid_before_the_server_may_expire_the_lease(cluster, etcd):
    with running(etcd, 3, a=b"1") as (session, calls):
        lease = session.lease
        cluster.kill()
        killed_at = time.monotonic()
        assert session.valid
        eventually(lambda: not session.valid)
        assert time.monotonic() - killed_at < 3
        eventually(lambda: calls.names == ["restored", "lost"], timeout=2)
        assert session.lease is None
        cluster.start()
        assert session.wait(10)
        eventually(lambda: calls.all[-1] == ("restored", lease, True))
        assert keys_on(etcd, lease) == {"/s/a": b"1"}


def test_session_survives_a_frozen_member(cluster):
    frozen = cluster.members[2]
    cluster.move_leader(cluster.members[0])
    with cluster.client(frozen) as etcd, running(etcd, 5, a=b"1") as (session, calls):
        frozen.freeze()
        before = session.remaining()
        eventually(lambda: etcd.connections.current_endpoint != frozen.endpoint)
        eventually(lambda: session.remaining() > before - 0.1)
        assert calls.names == ["restored"]
        assert keys_on(etcd, session.lease) == {"/s/a": b"1"}


def test_registration_while_etcd_is_away_is_made_up_for(cluster, etcd):
    with running(etcd, 3) as (session, _):
        cluster.kill()
        session.register("/s/late", b"1")
        with pytest.raises(Unavailable):
            etcd.get("/s/late", deadline=0.3)
        cluster.start()
        eventually(lambda: session.lease and keys_on(etcd, session.lease) == {"/s/late": b"1"})


def test_starts_without_etcd(cluster, etcd):
    cluster.kill()
    session = Session(etcd, 3)
    session.register("/s/a", b"1")
    session.start()
    assert not session.wait(0.3)
    cluster.start()
    assert session.wait(10)
    session.stop()


def test_late_put_does_not_undo_a_newer_one(cluster):
    late = Late(cluster.endpoints)
    with running(late, 5, a=b"1") as (session, _):
        late.hold()
        session.register("/s/a", b"old")
        eventually(lambda: late.holds)
        session.register("/s/a", b"new")
        eventually(lambda: late.get("/s/a").value == b"new")
        assert not late.carry_out()
        assert late.get("/s/a").value == b"new"
    late.close()


def test_late_put_of_a_key_that_was_withdrawn_is_found_and_deleted(cluster):
    late = Late(cluster.endpoints)
    with running(late, 2) as (session, _):
        late.hold()
        session.register("/s/a", b"old")
        eventually(lambda: late.holds)
        session.unregister("/s/a")
        session.register("/s/b", b"")
        eventually(lambda: late.get("/s/b"))
        if late.get("/s/a") is None:
            late.carry_out()
        eventually(lambda: late.get("/s/a") is None)
    late.close()


def test_not_valid_at_the_first_look_after_a_pause(cluster):
    clock = JumpingClock()
    with cluster.client(clock=clock) as etcd, running(etcd, 5) as (session, calls):
        clock.jump(5)
        assert not session.valid
        assert session.remaining() == 0
        eventually(lambda: calls.names == ["restored", "lost", "restored"])
        assert session.valid
