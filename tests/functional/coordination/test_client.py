import subprocess
import sys
import time

import pytest

from haqn.conf import load
from haqn.coordination.client import (
    CreateRevisionIs,
    Delete,
    DeletePrefix,
    Etcd,
    Mode,
    ModRevisionIs,
    Put,
)
from haqn.exceptions import LeaseNotFound, OutcomeUnknown, Refused, Unavailable
from tests.etcd_cluster import free_ports
from tests.eventually import eventually

pytestmark = pytest.mark.functional


def test_reads_what_was_written(etcd):
    revision = etcd.put("/a/ä", b"\x00\xff")
    item = etcd.get("/a/ä")
    assert (item.key, item.value, item.mod_revision, item.lease) == ("/a/ä", b"\x00\xff", revision, 0)
    assert etcd.get("/a") is None
    assert etcd.delete("/a/ä") == 1
    assert etcd.delete("/a/ä") == 0
    assert etcd.get("/a/ä") is None


def test_list_is_one_snapshot_over_pages(etcd):
    for start in range(0, 2040, 120):
        etcd.transact([Put(f"/many/{number:05}", b"v") for number in range(start, start + 120)])
    etcd.put("/many0", b"not below the prefix")
    items, revision = etcd.list("/many/")
    assert len(items) == 2040
    assert revision == etcd.get("/many0").mod_revision
    assert etcd.delete_prefix("/many/") == 2040
    assert etcd.list("/many/")[0] == {}
    assert list(etcd.list("/many0", exact=True)[0]) == ["/many0"]


def test_transaction_happens_as_a_whole_or_not_at_all(etcd):
    first = etcd.transact([Put("/t/a", b"1")], conditions=[CreateRevisionIs("/t/a", 0)])
    assert first.succeeded
    again = etcd.transact(
        [Put("/t/a", b"2"), Put("/t/b", b"2")], conditions=[CreateRevisionIs("/t/a", 0)], read_on_failure="/t/a"
    )
    assert not again.succeeded
    assert again.found.value == b"1"
    assert again.found.create_revision == first.revision
    assert etcd.get("/t/b") is None
    held = [CreateRevisionIs("/t/a", first.revision), ModRevisionIs("/t/a", first.revision)]
    assert etcd.transact([Delete("/t/a"), Put("/t/c", b"3")], conditions=held).succeeded
    assert list(etcd.list("/t/")[0]) == ["/t/c"]
    assert etcd.transact([DeletePrefix("/t/")]).succeeded
    assert etcd.list("/t/")[0] == {}


def test_keys_die_with_their_lease(etcd):
    granted = etcd.grant(30)
    etcd.put("/l/a", b"", granted.lease)
    etcd.transact([Put("/l/b", b"", granted.lease)])
    assert etcd.get("/l/b").lease == granted.lease
    assert etcd.lease_keys(granted.lease) == {"/l/a", "/l/b"}
    assert etcd.keepalive(granted.lease).ttl == 30
    etcd.revoke(granted.lease)
    assert etcd.list("/l/")[0] == {}
    for dead_lease_call in (etcd.keepalive, etcd.revoke, etcd.lease_keys):
        with pytest.raises(LeaseNotFound):
            dead_lease_call(granted.lease)
    with pytest.raises(LeaseNotFound):
        etcd.put("/l/c", b"", granted.lease)


def test_what_etcd_refuses_is_not_retried(etcd):
    started = time.monotonic()
    with pytest.raises(Refused, match="too large"):
        etcd.put("/big", bytes(1_700_000))
    with pytest.raises(Refused, match="duplicate key"):
        etcd.transact([Put("/x", b""), Delete("/x")])
    with pytest.raises(Refused, match="too many operations"):
        etcd.transact([Put(f"/x/{number}", b"") for number in range(129)])
    assert time.monotonic() - started < etcd.call_timeout


def test_nobody_answers():
    etcd = Etcd([f"127.0.0.1:{port}" for port in free_ports(2)], call_timeout=0.3, deadline=1.0)
    started = time.monotonic()
    for call in (lambda: etcd.get("/a"), lambda: etcd.put("/a", b""), lambda: etcd.transact([Delete("/a")])):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.type is Unavailable  # nothing can have been changed, and we know it
    assert time.monotonic() - started < 3 * (1.0 + 2 * 0.3)
    etcd.close()
    with pytest.raises(Unavailable, match="closed"):
        etcd.get("/a")


def test_frozen_member_is_left_and_a_write_once_is_sent_once(cluster):
    frozen = cluster.members[0]
    with cluster.client(frozen, call_timeout=0.5) as once, cluster.client(frozen, call_timeout=0.5) as again:
        once.put("/connected", b"")
        again.put("/connected", b"")
        frozen.freeze()
        with pytest.raises(OutcomeUnknown):
            once.transact([Put("/once", b"")], mode=Mode.ONCE)
        again.transact([Put("/again", b"")], mode=Mode.AGAIN)
        assert again.get("/again") is not None
        assert once.get("/again") is not None
        assert once.get("/once") is None  # it has reached nobody but the frozen member


def test_killed_member_is_left(cluster):
    killed = cluster.members[1]
    with cluster.client(killed) as etcd:
        etcd.put("/before", b"")
        killed.kill()
        etcd.put("/after", b"")
        assert set(etcd.list("/")[0]) == {"/before", "/after"}


def test_all_killed_and_back(cluster, etcd):
    etcd.put("/before", b"")
    cluster.kill()
    with pytest.raises(Unavailable):
        etcd.get("/before", deadline=0.5)
    cluster.start(wait=False)
    assert eventually(lambda: _get_or_none(etcd, "/before")).value == b""


def _get_or_none(etcd, key):
    try:
        return etcd.get(key)
    except Unavailable:
        return None


def test_configured_client(cluster):
    conf = load(["--config-file", "/dev/null"], etcd__endpoints=cluster.endpoints, etcd__call_timeout=2.5)
    etcd = Etcd.from_conf(conf)
    assert etcd.call_timeout == 2.5
    etcd.put("/configured", b"yes")
    assert etcd.get("/configured").value == b"yes"
    etcd.close()


@pytest.mark.parametrize("parent", ["idle", "connected"])
def test_child_of_fork_uses_nothing_of_its_parent(cluster, parent):
    done = subprocess.run(
        [sys.executable, "-m", "tests.functional.coordination.program", "fork", *cluster.endpoints, parent],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["child done", "parent done"]), done.stderr
