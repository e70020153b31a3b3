from hypothesis import given
from hypothesis import strategies as st

from haqn.coordination.operations import KeyValue
from haqn.coordination.state import Change, Changed, Deleted, State, Synced


def item(key, revision, value=b""):
    return KeyValue(key, value, create_revision=revision, mod_revision=revision)


@st.composite
def histories(draw):
    """Changes at revisions 1, 2, ...: (key, deleted)."""
    steps = draw(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20))
    return [Change(item(key, revision), deleted) for revision, (key, deleted) in enumerate(steps, start=1)]


def truth_after(history):
    truth = {}
    for change in history:
        if change.deleted:
            truth.pop(change.item.key, None)
        else:
            truth[change.item.key] = change.item
    return truth


def replay(events):
    """What a handler that believes the events has in the end; fails when they contradict each other."""
    seen = {}
    for event in events:
        if isinstance(event, Changed):
            assert seen.get(event.item.key) == event.before
            seen[event.item.key] = event.item
        elif isinstance(event, Deleted):
            assert seen.pop(event.before.key) == event.before
    return seen


@given(history=histories(), data=st.data())
def test_list_then_watch_gives_the_truth_wherever_history_is_cut(history, data):
    """Lists at any revisions (compaction, resync) with the changes between two of them seen or not."""
    state, events, position = State(), [], 0
    for at in sorted(data.draw(st.lists(st.integers(0, len(history)), max_size=4))):
        if data.draw(st.booleans()):
            events += state.watched(history[position:at])
        events += state.listed(truth_after(history[:at]), at)
        position = at
    events += state.watched(history[position:])
    assert state.snapshot() == truth_after(history) == replay(events)


@given(history=histories(), data=st.data())
def test_repeated_changes_converge(history, data):
    state = State()
    events = state.listed({}, 0)
    events += state.watched(history)
    again_from = data.draw(st.integers(0, len(history)))
    events += state.watched(history[again_from:])
    assert state.snapshot() == truth_after(history) == replay(events)
    assert state.revision == len(history)


def test_each_change_is_one_event():
    state = State()
    assert state.listed({"a": item("a", 3), "b": item("b", 2)}, 5) == [
        Changed(item("b", 2), None),
        Changed(item("a", 3), None),
        Synced(5),
    ]
    assert state.watched([Change(item("a", 6, b"x"))]) == [Changed(item("a", 6, b"x"), item("a", 3))]
    assert state.watched([Change(item("a", 6, b"x"))]) == []
    assert state.watched([Change(item("b", 7), deleted=True), Change(item("c", 8), deleted=True)]) == [
        Deleted(item("b", 2))
    ]
    assert state.revision == 8


def test_list_tells_only_the_difference():
    state = State()
    state.listed({"a": item("a", 1), "b": item("b", 2), "c": item("c", 3)}, 3)
    # a restored backup: c is older than what we know
    assert state.listed({"a": item("a", 1), "c": item("c", 2)}, 2) == [
        Deleted(item("b", 2)),
        Changed(item("c", 2), item("c", 3)),
        Synced(2),
    ]
    assert state.revision == 2
