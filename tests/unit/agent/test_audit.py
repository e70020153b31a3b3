"""Which things come up for another look, and when."""

from haqn.agent.audit import Audit


def keys(*numbers):
    return [("routers", f"{number:03}") for number in numbers]


def test_everything_comes_up_once_a_round():
    audit = Audit(ticks=10)
    turns = [audit.turn(keys(*range(25))) for _ in range(9)]
    assert [key for part, _ in turns for key in part][:25] == keys(*range(25))
    assert [number for number, (_, new_round) in enumerate(turns) if new_round] == [8]


def test_what_comes_and_goes_meanwhile_changes_nothing_for_the_others():
    audit = Audit(ticks=2)
    assert audit.turn(keys(1, 3, 5, 7))[0] == keys(1, 3)
    assert audit.turn(keys(1, 4, 5, 7))[0] == keys(4, 5)
    assert audit.turn(keys(6, 7, 8))[0] == keys(6, 7)
    assert audit.turn([]) == ([], True)
    assert audit.turn(keys(1)) == (keys(1), True)
