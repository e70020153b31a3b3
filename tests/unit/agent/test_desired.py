"""Absence deletes nothing: what a listing means, with and without a manifest that vouches for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haqn.agent import diff, names
from haqn.agent.desired import Desired, interpret
from haqn.coordination import keys
from haqn.documents import Manifest, NetworkDocument, PortDocument, RouterDocument, RouterPort, encode
from haqn.model import CLOSED_GROUP, NetworkType

HOST = "net1"


def port(number: int, generation: int = 1) -> PortDocument:
    return PortDocument(port_id=f"p{number}", network_id="n", mac_address="fa:16:3e:00:00:01", generation=generation)


def listing(*ports: PortDocument, manifest: Manifest | None = None) -> dict[str, bytes]:
    found = {keys.desired_port(HOST, document.port_id): encode(document) for document in ports}
    if manifest is not None:
        found[keys.manifest(HOST)] = encode(manifest)
    return found


def complete(count: int, generation: int = 1) -> Manifest:
    return Manifest(generation=generation, count=count, complete=True)


BEFORE = interpret(listing(port(1), port(2), manifest=complete(2)), Desired())


def test_the_digest_is_that_of_the_documents_once_all_are_applied():
    same = interpret(listing(port(2), port(1), manifest=complete(2)), Desired())
    assert diff.applied_digest(BEFORE, ()) == diff.applied_digest(same, ()) != ""
    other = interpret(listing(port(1), port(3), manifest=complete(2)), Desired())
    assert diff.applied_digest(other, ()) != diff.applied_digest(BEFORE, ())
    assert diff.applied_digest(BEFORE, {("ports", "p1")}) == ""
    assert diff.applied_digest(interpret({}, BEFORE), ()) == "", "its documents may have changed"
    unreadable = listing(port(1), manifest=complete(2)) | {keys.desired_port(HOST, "p2"): b"nonsense"}
    assert diff.applied_digest(interpret(unreadable, BEFORE), ()) != diff.applied_digest(BEFORE, ())


def test_a_complete_listing_is_taken_at_its_word():
    assert set(BEFORE.documents) == {("ports", "p1"), ("ports", "p2")}
    assert (BEFORE.holding, BEFORE.generation) == (False, 1)
    after = interpret(listing(port(1), manifest=complete(1, 2)), BEFORE)
    assert set(after.documents) == {("ports", "p1")}
    assert diff.todo(after, dict(BEFORE.documents)).remove == {("ports", "p2")}


@pytest.mark.parametrize(
    "present",
    [
        {},  # etcd was wiped
        listing(port(1)),  # no manifest (yet)
        listing(manifest=complete(2)),  # somebody deleted documents
        listing(port(1), manifest=complete(2)),
        listing(port(1), manifest=Manifest(generation=2, count=1, complete=False)),
        listing(port(1), port(3), port(4), manifest=complete(2)),  # in the middle of being written
    ],
)
def test_nothing_is_undone_without_a_complete_listing(present):
    after = interpret(present, BEFORE)
    assert after.holding
    assert set(BEFORE.documents) <= set(after.documents)
    assert diff.todo(after, dict(BEFORE.documents)).remove == set()
    assert after.generation == BEFORE.generation


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.integers(0, 12), st.booleans())
def test_a_document_vanishes_only_under_a_matching_manifest(first, second, count, vouched):
    before = interpret(listing(*map(port, first), manifest=complete(len(first))), Desired())
    after = interpret(
        listing(*map(port, second), manifest=Manifest(generation=2, count=count, complete=vouched)), before
    )
    lost = set(before.documents) - set(after.documents)
    if lost:
        assert vouched
        assert count == len(second)
    assert {("ports", f"p{number}") for number in second} <= set(after.documents)


def test_a_document_that_cannot_be_read_keeps_its_last_version_and_is_named():
    spoilt = listing(port(1), port(2), manifest=complete(2, 2))
    spoilt[keys.desired_port(HOST, "p2")] = b'{"port_id": 7}'
    after = interpret(spoilt, BEFORE)
    assert after.documents["ports", "p2"] == BEFORE.documents["ports", "p2"]
    assert "PortDocument" in after.invalid["ports", "p2"]
    assert not diff.todo(after, dict(BEFORE.documents)).remove


def test_documents_of_a_newer_version_are_left_alone():
    newer = listing(port(1), manifest=complete(1))
    newer[f"{keys.desired(HOST)}balancers/b1"] = b"{}"
    newer[keys.desired_port(HOST, "p1")] = encode(port(1))[:-1] + b',"colour":"red"}'
    after = interpret(newer, Desired())
    assert set(after.documents) == {("ports", "p1")}
    assert not after.holding


def test_generation_counts_only_what_is_done():
    desired = interpret(listing(port(1, 5), port(2, 7), manifest=complete(2, 9)), Desired())
    assert diff.applied_generation(desired, []) == 9
    assert diff.applied_generation(desired, [("ports", "p2")]) == 6
    assert diff.applied_generation(desired, [("ports", "p1"), ("ports", "p2")]) == 4
    # something that is still to be removed
    assert diff.applied_generation(desired, [("routers", "gone")]) == 8


OPEN, SHUT, OTHER = 65536, 65537, 65538


@pytest.mark.parametrize(
    ("current", "target", "yielded", "waits"),
    [
        (OPEN, SHUT, (), True),  # the survivor's new pair is not open yet
        (1, SHUT, (), True),  # a router without a standby gets one
        (OPEN, SHUT, (SHUT,), False),  # the peer has been forwarding for a while
        (SHUT, OTHER, (), False),  # a standby has nothing to lose
        (SHUT, OPEN, (), False),
        (OPEN, 1, (), False),
        (OPEN, CLOSED_GROUP, (), False),  # admin_state_up=false wants the traffic to stop
        (CLOSED_GROUP, SHUT, (), False),
    ],
)
def test_a_port_changes_its_group_only_when_that_interrupts_nothing(current, target, yielded, waits):
    pairs = diff.OpenPairs(masters=frozenset({OPEN}), yielded=frozenset(yielded))
    assert diff.must_wait(current, target, pairs) is waits


def test_what_admin_state_down_shuts():
    router = RouterDocument(router_id="r", pair_id=OPEN, admin_state_up=False)
    assert diff.group(router, _router_port()) == CLOSED_GROUP
    router = RouterDocument(router_id="r", pair_id=OPEN)
    assert diff.group(router, _router_port()) == OPEN
    assert diff.group(router, _router_port(admin_state_up=False)) == CLOSED_GROUP
    assert diff.group(RouterDocument(router_id="r", pair_id=None), _router_port()) == 1


def _router_port(**changes):
    return RouterPort(port_id="p", network_id="n", mac_address="fa:16:3e:00:00:01", fixed_ips=(), **changes)


def test_where_frames_leave_the_host():
    vxlan = NetworkDocument(network_id="n", network_type=NetworkType.VXLAN, mtu=1450, segmentation_id=7)
    flat = NetworkDocument(network_id="n", network_type=NetworkType.FLAT, mtu=1500, physical_network="physnet1")
    local = NetworkDocument(network_id="n", network_type=NetworkType.LOCAL, mtu=1500)
    interfaces = {"physnet1": "eth1"}
    assert [names.egress(network, interfaces) for network in (vxlan, flat, local)] == ["vxlan-7", "eth1", None]
    assert names.egress(flat, {}) is None
