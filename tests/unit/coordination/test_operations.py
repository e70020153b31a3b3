import pytest
from hypothesis import given
from hypothesis import strategies as st

from haqn.coordination.operations import Delete, Put, batches

KEYS = st.text(min_size=1, max_size=3)


@given(
    puts=st.dictionaries(KEYS, st.binary(max_size=6), max_size=12),
    deletes=st.lists(KEYS, max_size=12),
    max_operations=st.integers(1, 5),
    max_bytes=st.integers(1, 12),
)
def test_batches_keep_everything_in_order_and_within_limits(puts, deletes, max_operations, max_bytes):
    deletes = [key for key in deletes if key not in puts]
    cut = list(batches(puts, deletes, max_operations=max_operations, max_bytes=max_bytes))
    everything = [Put(key, value) for key, value in puts.items()]
    everything += [Delete(key) for key in dict.fromkeys(deletes)]
    assert [operation for batch in cut for operation in batch] == everything
    for batch in cut:
        assert 1 <= len(batch) <= max_operations
        sizes = [len(operation.value) for operation in batch if isinstance(operation, Put)]
        assert sum(sizes) <= max_bytes or len(batch) == 1


def test_key_cannot_be_put_and_deleted():
    with pytest.raises(ValueError, match="/a"):
        list(batches({"/a": b""}, ["/a"]))
