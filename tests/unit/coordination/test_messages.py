from hypothesis import given
from hypothesis import strategies as st

from haqn.coordination import messages
from haqn.coordination.operations import CreateRevisionIs, Delete, DeletePrefix, KeyValue, ModRevisionIs, Put
from haqn.coordination.stubs import rpc


@given(prefix=st.binary(max_size=4), key=st.binary(max_size=6))
def test_prefix_end_bounds_exactly_the_keys_of_the_prefix(prefix, key):
    end = messages.prefix_end(prefix)
    in_range = key >= prefix and (end == b"\0" or key < end)
    assert in_range == key.startswith(prefix)


@given(raw=st.binary(max_size=8))
def test_any_key_survives(raw):
    message = rpc.WatchResponse().events.add().kv
    message.key, message.value, message.mod_revision = raw, b"v", 3
    item = messages.key_value(message)
    assert messages.to_bytes(item.key) == raw
    assert item == KeyValue(item.key, b"v", 0, 3, 0)


def test_put_without_lease_says_so():
    assert messages.put_request(Put("/a", b"")).lease == 0
    assert messages.put_request(Put("/a", b"", 7)).lease == 7


def test_transaction_survives_the_wire():
    request = messages.transaction_request(
        [CreateRevisionIs("/a", 4), ModRevisionIs("/b", 0)],
        [Put("/a", b"x", 9), Delete("/b"), DeletePrefix("/c/")],
        "/a",
    )
    read = rpc.TxnRequest.FromString(request.SerializeToString())
    create, mod = read.compare
    assert (create.key, create.target, create.result, create.create_revision) == (
        b"/a",
        rpc.Compare.CREATE,
        rpc.Compare.EQUAL,
        4,
    )
    assert (mod.key, mod.target, mod.WhichOneof("target_union"), mod.mod_revision) == (
        b"/b",
        rpc.Compare.MOD,
        "mod_revision",
        0,
    )
    put, delete, delete_prefix = read.success
    assert (put.request_put.key, put.request_put.value, put.request_put.lease) == (b"/a", b"x", 9)
    assert (delete.request_delete_range.key, delete.request_delete_range.range_end) == (b"/b", b"")
    assert (delete_prefix.request_delete_range.key, delete_prefix.request_delete_range.range_end) == (b"/c/", b"/c0")
    assert [operation.request_range.key for operation in read.failure] == [b"/a"]
