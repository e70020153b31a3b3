import contextlib
import itertools
import threading
import time

import pytest

from haqn.coordination.client import Delete, Put
from haqn.coordination.informer import Informer
from haqn.coordination.state import Synced
from haqn.exceptions import CoordinationError
from tests.eventually import eventually
from tests.functional.coordination.recorder import Events, Program

pytestmark = pytest.mark.functional

PREFIX = "/i/"


@contextlib.contextmanager
def following(etcd, **options):
    events = Events()
    informer = Informer(etcd, PREFIX, events, **options)
    informer.start()
    try:
        assert informer.synced.wait(10)
        yield informer, events
    finally:
        informer.stop()


@contextlib.contextmanager
def writing(cluster, period=0.03):
    """Keys are put one after the other, each once, while the context lasts."""
    stop = threading.Event()

    def run():
        with cluster.client(call_timeout=1.0) as etcd:
            for number in itertools.count():
                with contextlib.suppress(CoordinationError):
                    etcd.put(f"{PREFIX}{number:05}", b"")
                if stop.wait(period):
                    return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def no_event_is_lost(cluster, victim):
    """While the body breaks something, keys are written, and an informer that began with `victim` follows."""
    with cluster.client(victim) as own, following(own) as (informer, events):
        with writing(cluster):
            eventually(lambda: events.changed)
            yield events
        cluster.repair()
        truth, _ = own.list(PREFIX)
        eventually(lambda: informer.cache() == truth)
    revisions = [item.mod_revision for item in events.changed]
    assert revisions == sorted(set(revisions))
    assert {item.key for item in events.changed} == set(truth)
    assert events.deleted == []


def more(events, count=20):
    """Waits for so many more events."""
    wanted = len(events.changed) + count
    eventually(lambda: len(events.changed) >= wanted)


def test_cache_follows_etcd(etcd):
    etcd.put("/i/before", b"1")
    poked = threading.Event()
    with following(etcd, on_change=poked.set) as (informer, events):
        assert list(informer.cache()) == ["/i/before"]
        assert poked.wait(5)
        poked.clear()
        etcd.put("/i/after", b"2")
        assert poked.wait(5)
        assert informer.get("/i/after").value == b"2"
        etcd.delete("/i/before")
        etcd.put("/j", b"outside")
        eventually(lambda: list(informer.cache()) == ["/i/after"])
        assert informer.staleness < 5
        eventually(lambda: informer.cluster_id)
    assert [item.key for item in events.changed] == ["/i/before", "/i/after"]
    assert events.deleted == ["/i/before"]
    assert len([event for event in events.all if isinstance(event, Synced)]) == 1


def test_exact_key_only(etcd):
    etcd.put("/i/1", b"")
    etcd.put("/i/", b"1")
    with following(etcd, exact=True) as (informer, _):
        etcd.put("/i/2", b"")
        etcd.put("/i/", b"2")
        eventually(lambda: informer.get("/i/").value == b"2")
        assert list(informer.cache()) == ["/i/"]


def test_snapshot_never_shows_half_a_transaction(etcd):
    with following(etcd) as (informer, _):
        seen = set()
        for number in range(50):
            etcd.transact([Put("/i/a", b"%d" % number), Put("/i/b", b"%d" % number)])
            seen.add(tuple(item.value for item in informer.cache().values()))
        etcd.transact([Delete("/i/a"), Delete("/i/b")])
        eventually(lambda: not informer.cache())
    assert all(len(set(values)) <= 1 and len(values) in (0, 2) for values in seen)


def test_resync_changes_nothing(etcd):
    etcd.put("/i/a", b"")
    with following(etcd, resync=0.5) as (_, events):
        eventually(lambda: len([event for event in events.all if isinstance(event, Synced)]) >= 3)
    assert len(events.changed) == 1


def test_fault_a_member_killed_and_back(cluster):
    victim = cluster.members[0]
    with no_event_is_lost(cluster, victim) as events:
        victim.kill()
        more(events)
        cluster.start_member(victim)
        more(events)


def test_fault_b_member_frozen(cluster):
    victim = cluster.members[1]
    with no_event_is_lost(cluster, victim) as events:
        victim.freeze()
        time.sleep(1.0)  # what is on its way arrives
        more(events)  # so this comes from another member
        victim.thaw()
        more(events)


def test_frozen_member_is_left_before_grpc_would_notice(cluster):
    victim = cluster.members[1]
    with cluster.client(victim) as etcd, following(etcd, ping_after=0.3, silence=0.5):
        victim.freeze()
        eventually(lambda: etcd.connections.current_endpoint != victim.endpoint, timeout=3.5)  # gRPC: 4 s or more


def test_fault_c_all_killed_and_back(cluster):
    with no_event_is_lost(cluster, cluster.members[2]) as events:
        cluster.kill()
        time.sleep(1.0)
        cluster.start(wait=False)
        more(events)


def test_fault_d_history_compacted_while_paused(cluster, etcd):
    """The client is paused; meanwhile its member dies, keys change and vanish, and the history of that is compacted."""
    etcd.put("/i/kept", b"")
    etcd.put("/i/doomed", b"")
    victim = cluster.members[0]
    with Program("watch", victim.endpoint, *[m.endpoint for m in cluster.members[1:]], PREFIX) as watcher:
        eventually(lambda: watcher.of("synced"))
        watcher.pause()
        victim.kill()
        for number in range(50):
            etcd.put("/i/changed", b"%d" % number)
        etcd.delete("/i/doomed")
        last = etcd.put("/i/last", b"")
        cluster.etcdctl("compact", str(last))
        watcher.resume()
        eventually(lambda: [told["key"] for told in watcher.of("deleted")] == ["/i/doomed"])
        eventually(lambda: {told["key"] for told in watcher.of("changed")} >= {"/i/changed", "/i/last"})
        assert len(watcher.of("synced")) == 2


def test_fault_f_etcd_leader_moved_and_killed(cluster):
    with no_event_is_lost(cluster, cluster.members[0]) as events:
        cluster.move_leader(cluster.members[1])
        cluster.move_leader(cluster.members[2])
        more(events)
        cluster.members[2].kill()
        more(events)


def test_quorum_lost_and_found(cluster):
    with no_event_is_lost(cluster, cluster.members[0]) as events:
        cluster.members[1].freeze()
        cluster.members[2].freeze()
        time.sleep(3.0)
        cluster.members[1].thaw()
        cluster.members[2].thaw()
        more(events)


def test_all_data_wiped(cluster, etcd):
    """History begins anew under the same cluster id; revisions go back."""
    for _ in range(20):
        etcd.put("/i/old", b"")
    with following(etcd) as (informer, events):
        cluster.kill()
        for member in cluster.members:
            member.wipe()
        cluster.start()
        etcd.put("/i/new", b"")
        eventually(lambda: list(informer.cache()) == ["/i/new"])
    assert events.deleted == ["/i/old"]


def test_all_data_wiped_and_as_much_written_while_paused(cluster):
    """The new history is longer than what is known of the old one, so no revision goes back."""
    with cluster.client() as etcd:
        etcd.put("/i/old", b"")
        with Program("watch", *cluster.endpoints, PREFIX) as watcher:
            eventually(lambda: watcher.of("synced"))
            _, known = etcd.list(PREFIX)
            watcher.pause()
            cluster.kill()
            for member in cluster.members:
                member.wipe()
            cluster.start()
            etcd.put("/i/new", b"")
            while etcd.put("/elsewhere", b"") <= known:
                pass
            watcher.resume()
            eventually(lambda: [told["key"] for told in watcher.of("deleted")] == ["/i/old"])
            assert [told["key"] for told in watcher.of("changed")] == ["/i/old", "/i/new"]
