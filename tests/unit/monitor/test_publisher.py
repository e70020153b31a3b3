"""What is written to etcd, in which transactions, and when etcd is listed again. With an etcd of a dict."""

from dataclasses import replace

import pytest

from haqn.agent import diff
from haqn.agent.desired import Desired, interpret
from haqn.coordination import keys
from haqn.coordination.operations import MAX_OPERATIONS, Delete, DeletePrefix, Put, TransactionResult
from haqn.coordination.state import Changed, Deleted
from haqn.documents import Manifest, PairDocument, RouterDocument, decode, encode
from haqn.exceptions import NotLeader, OutcomeUnknown
from haqn.model import Role
from haqn.monitor.projection import Projected
from haqn.monitor.publisher import Publisher
from tests.unit.monitor.facts import item

FIRST = 3_000_001


class FakeEtcd:
    """Keys and a revision; keeps the transactions, and checks after each that a host may believe its manifest."""

    def __init__(self):
        self.items = {}
        self.revision = 0
        self.transactions = []
        self.listings = 0
        self.fail_next = None

    def list(self):
        self.listings += 1
        return dict(self.items)

    def write(self, operations):
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
        assert 0 < len(operations) <= MAX_OPERATIONS
        self.revision += 1
        before = {key for key in self.items if not key.endswith("/manifest")}
        for operation in operations:
            match operation:
                case Put(key, value):
                    self.items[key] = item(key, value, self.revision)
                case Delete(key):
                    del self.items[key]
                case DeletePrefix(prefix):
                    self.items = {key: kept for key, kept in self.items.items() if not key.startswith(prefix)}
        self.transactions.append(operations)
        for gone in before - self.items.keys():
            host = keys.split_desired(gone)[0]
            assert self.manifest(host) is None or self.may_believe(host), "deleted under a manifest that is not true"
        return TransactionResult(True, self.revision)

    def manifest(self, host):
        found = self.items.get(keys.manifest(host))
        return decode(found.value, Manifest) if found else None

    def documents(self, host):
        prefix = keys.desired(host)
        return {key for key in self.items if key.startswith(prefix) and key != keys.manifest(host)}

    def may_believe(self, host):
        """An agent takes the listing for a whole one, and comes to the leader's digest when it has applied it."""
        prefix, manifest = keys.desired(host), self.manifest(host)
        desired = interpret({key: one.value for key, one in self.items.items() if key.startswith(prefix)}, Desired())
        return manifest is not None and not desired.holding and diff.applied_digest(desired, ()) == manifest.digest


def routers(*ids, pair_id=65536):
    found = {}
    for router_id in ids:
        document = RouterDocument(router_id=router_id, pair_id=pair_id)
        found["routers", router_id] = Projected(document, encode(document))
    return found


def pairs(*ids):
    found = {}
    for pair_id in ids:
        document = PairDocument(
            pair_id=pair_id, vr_id=1, role=Role.ACTIVE, epoch=1, settled=False, peer_host="net2", peer_address=""
        )
        found["pairs", str(pair_id)] = Projected(document, encode(document))
    return found


@pytest.fixture
def etcd():
    return FakeEtcd()


@pytest.fixture
def publisher(etcd):
    return Publisher(etcd.list, etcd.write, epoch=3)


def test_documents_and_manifest_are_written_once(etcd, publisher):
    publisher.publish({"net1": routers("r1"), "net2": {}})
    for host, count in (("net1", 1), ("net2", 0)):
        manifest = etcd.manifest(host)
        assert (manifest.generation, manifest.count, manifest.complete) == (FIRST, count, True)
        assert etcd.may_believe(host)
    document = decode(etcd.items[keys.desired_router("net1", "r1")].value, RouterDocument)
    assert document.written_at
    assert replace(document, written_at="") == RouterDocument(router_id="r1", pair_id=65536, generation=FIRST)
    assert publisher.generation_of("net1", "routers", "r1") == FIRST
    assert publisher.publish({"net1": routers("r1"), "net2": {}}) == 0


def test_only_what_changed_gets_a_new_generation(etcd, publisher):
    publisher.publish({"net1": routers("r1", "r2"), "net2": routers("r1")})
    publisher.publish({"net1": {**routers("r1"), **routers("r2", pair_id=65537)}, "net2": routers("r1")})
    assert publisher.generation_of("net1", "routers", "r1") == FIRST
    assert publisher.generation_of("net1", "routers", "r2") == FIRST + 1
    assert etcd.manifest("net1").generation == FIRST + 1
    assert etcd.manifest("net2").generation == FIRST


@pytest.mark.parametrize("count", [1, 100, 118, 119, 120, 250, 400])
def test_many_documents_are_written_before_the_manifest_and_deleted_under_a_true_one(etcd, publisher, count):
    old = routers(*(f"old{n}" for n in range(count)))
    new = routers(*(f"new{n}" for n in range(count)))
    publisher.publish({"net1": old})
    assert etcd.may_believe("net1")
    first = len(etcd.transactions)
    publisher.publish({"net1": new})
    assert etcd.may_believe("net1")
    assert len(etcd.documents("net1")) == count
    manifests = [operation for batch in etcd.transactions[first:] for operation in batch if isinstance(operation, Put)]
    generations = [decode(put.value, Manifest).generation for put in manifests if put.key.endswith("/manifest")]
    assert generations == sorted(set(generations))
    assert publisher.publish({"net1": new}) == 0


def test_the_next_leader_writes_nothing_that_is_there_already(etcd, publisher):
    projection = {"net1": {**routers("r1"), **pairs(65536)}, "net2": {}}
    publisher.publish(projection)
    successor = Publisher(etcd.list, etcd.write, epoch=4)
    assert successor.publish(projection) == 0
    successor.publish({"net1": pairs(65536), "net2": {}})
    assert etcd.manifest("net1").generation == 4_000_001
    assert etcd.manifest("net2").generation == FIRST


def test_the_next_leader_mends_what_the_last_one_left_half_written(etcd, publisher):
    publisher.publish({"net1": routers("r1")})
    wanted = {"net1": routers(*(f"r{n}" for n in range(200)))}
    batches = []

    def dies_after_the_first(operations):
        if batches:
            raise NotLeader("over")
        batches.append(operations)
        return etcd.write(operations)

    with pytest.raises(NotLeader):
        Publisher(etcd.list, dies_after_the_first, epoch=4).publish(wanted)
    assert not etcd.may_believe("net1")
    Publisher(etcd.list, etcd.write, epoch=5).publish(wanted)
    assert etcd.may_believe("net1")
    assert len(etcd.documents("net1")) == 200


def test_an_echo_of_our_own_write_is_nothing_new(etcd, publisher):
    publisher.publish({"net1": routers("r1", "r2")})
    publisher.publish({"net1": routers("r1")})
    listed = etcd.listings
    for found in etcd.items.values():
        publisher.on_event(Changed(found, None))
    publisher.on_event(Changed(item(keys.desired_router("net1", "r2"), b"{}", 1), None))
    publisher.on_event(Deleted(item(keys.desired_router("net1", "r2"), b"{}", 1)))
    publisher.publish({"net1": routers("r1")})
    assert etcd.listings == listed


def test_what_somebody_else_did_is_undone(etcd, publisher):
    publisher.publish({"net1": routers("r1")})
    gone = etcd.items.pop(keys.desired_router("net1", "r1"))
    publisher.on_event(Deleted(gone))
    publisher.publish({"net1": routers("r1")})
    assert etcd.may_believe("net1")

    etcd.revision += 1
    foreign = item(keys.desired_router("net1", "x"), b"nonsense", etcd.revision)
    etcd.items[foreign.key] = foreign
    publisher.on_event(Changed(foreign, None))
    publisher.publish({"net1": routers("r1")})
    assert foreign.key not in etcd.items
    assert etcd.may_believe("net1")


def test_after_a_wipe_everything_is_written_again_with_larger_generations(etcd, publisher):
    publisher.publish({"net1": routers("r1")})
    wiped, etcd.items = etcd.items, {}
    for found in wiped.values():
        publisher.on_event(Deleted(found))
    publisher.publish({"net1": routers("r1")})
    assert etcd.manifest("net1").generation > FIRST
    assert publisher.generation_of("net1", "routers", "r1") > FIRST


def test_after_an_unknown_outcome_etcd_is_listed(etcd, publisher):
    publisher.publish({"net1": {}})
    etcd.fail_next = OutcomeUnknown("no answer")
    with pytest.raises(OutcomeUnknown):
        publisher.publish({"net1": routers("r1")})
    assert publisher.in_doubt
    publisher.publish({"net1": routers("r1")})
    assert etcd.may_believe("net1")


def test_a_host_whose_agents_were_deleted_is_forgotten(etcd, publisher):
    publisher.publish({"net1": routers("r1"), "net2": {}})
    publisher.publish({"net2": {}})
    assert etcd.items.keys() == {keys.manifest("net2")}


def test_since_when_no_router_rides_on_a_pair(etcd, publisher):
    both = pairs(65536, 65537)
    publisher.publish({"net1": {**both, **routers("r1"), **routers("r2", pair_id=65537)}})
    assert publisher.vacated == {}
    publisher.publish({"net1": {**both, **routers("r1", "r2", pair_id=65537)}})
    assert publisher.vacated == {("net1", 65536): FIRST + 1}
    publisher.publish({"net1": {**both, **routers("r1", "r2", "r3", pair_id=65537)}})
    assert publisher.vacated == {("net1", 65536): FIRST + 1}
    # the next leader does not know since when: the present manifest is late enough
    successor = Publisher(etcd.list, etcd.write, epoch=4)
    successor.publish({"net1": {**both, **routers("r1", "r2", "r3", pair_id=65537)}})
    assert successor.vacated == {("net1", 65536): FIRST + 2}
    publisher.publish({"net1": {**both, **routers("r1"), **routers("r2", "r3", pair_id=65537)}})
    assert publisher.vacated == {}


def test_looking_on_writes_nothing(etcd, publisher):
    projection = {"net1": {**pairs(65536, 65537), **routers("r1")}}
    publisher.publish(projection)
    count = len(etcd.transactions)
    onlooker = Publisher(etcd.list, etcd.write, epoch=0)
    onlooker.adopt(projection)
    assert onlooker.vacated == {("net1", 65537): FIRST}
    assert len(etcd.transactions) == count


def test_a_document_that_cannot_be_read_is_written_anew(etcd, publisher):
    publisher.publish({"net1": routers("r1")})
    key = keys.desired_router("net1", "r1")
    etcd.items[key] = replace(etcd.items[key], value=b"[]")
    Publisher(etcd.list, etcd.write, epoch=4).publish({"net1": routers("r1")})
    assert decode(etcd.items[key].value, RouterDocument).router_id == "r1"
