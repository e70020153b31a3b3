from haqn.coordination.registrations import Registrations


def confirmed(**keys):
    """All of them were put at revision 5."""
    registrations = Registrations()
    for key, value in keys.items():
        registrations.want(key, value)
        registrations.sending([key])
        registrations.found(key, value, 5)
    return registrations


def test_nothing_to_do_once_confirmed():
    registrations = confirmed(a=b"1")
    assert registrations.pending_puts() == {}
    assert registrations.pending_deletes() == []


def test_puts_depend_on_the_last_known_revision():
    registrations = confirmed(a=b"1")
    registrations.want("b", b"1")
    assert registrations.sending(["a", "b"]) == {"a": 5, "b": 0}
    # no answer: what was known of the revision is still the condition of the next try
    assert registrations.sending(["a", "b"]) == {"a": 5, "b": 0}


def test_a_value_that_changes_while_it_is_sent_is_sent_again():
    registrations = Registrations()
    registrations.want("a", b"1")
    registrations.sending(["a"])
    registrations.want("a", b"2")
    registrations.found("a", b"1", 5)
    assert registrations.pending_puts() == {"a": b"2"}


def test_a_key_that_was_sent_without_an_answer_is_deleted_as_well():
    registrations = Registrations()
    registrations.want("a", b"1")
    registrations.sending(["a"])
    registrations.unwant("a")
    assert registrations.pending_puts() == {}
    assert registrations.pending_deletes() == ["a"]
    registrations.deleted("a")
    assert registrations.pending_deletes() == []


def test_a_value_that_comes_back_after_doubt_is_sent():
    registrations = confirmed(a=b"1")
    registrations.want("a", b"2")
    registrations.sending(["a"])
    registrations.want("a", b"1")
    assert registrations.pending_puts() == {"a": b"1"}


def test_a_key_on_another_lease_is_put_over():
    registrations = Registrations()
    registrations.want("a", b"1")
    registrations.sending(["a"])
    registrations.found("a", None, 3)
    assert registrations.pending_puts() == {"a": b"1"}
    assert registrations.sending(["a"]) == {"a": 3}


def test_everything_is_put_on_a_new_lease():
    registrations = confirmed(a=b"1", b=b"2")
    registrations.unwant("b")
    registrations.lease_gone()
    assert registrations.pending_puts() == {"a": b"1"}
    assert registrations.pending_deletes() == []


def test_what_somebody_deleted_is_put_again():
    registrations = confirmed(a=b"1", b=b"2")
    registrations.on_lease({"a"})
    assert registrations.pending_puts() == {"b": b"2"}
    assert registrations.pending_deletes() == []


def test_what_came_late_is_deleted_and_what_was_never_registered_is_left():
    registrations = confirmed(a=b"1", late=b"2")
    registrations.unwant("late")
    registrations.deleted("late")
    registrations.on_lease({"a", "late", "of an election"})
    assert registrations.pending_puts() == {}
    assert registrations.pending_deletes() == ["late"]
