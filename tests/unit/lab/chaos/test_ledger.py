from haqn.lab.chaos.ledger import Ledger


def test_what_was_answered_must_be_there() -> None:
    ledger = Ledger()
    ledger.wrote("1", "a")
    ledger.wrote("2", "b")
    ledger.wrote("2", "c")
    ledger.wrote("3", "d")
    ledger.wrote("3", None)

    assert ledger.contradictions({"1": "a", "2": "c", "9": "of somebody else"}) == []
    assert ledger.alive == ["1", "2"]
    assert ledger.contradictions({"2": "b", "3": "d"}) == [
        "1 was answered to be 'a' and is gone",
        "2 was answered to be 'c' and is 'b'",
        "3 was answered to be gone and is 'd'",
    ]


def test_an_object_with_a_write_in_doubt_proves_nothing_any_more() -> None:
    ledger = Ledger()
    ledger.wrote("1", "a")
    ledger.doubt("1")
    ledger.wrote("1", "b")

    assert ledger.contradictions({}) == []
    assert ledger.alive == []
