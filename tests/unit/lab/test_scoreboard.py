from haqn.lab.scoreboard import Scoreboard


def test_a_board_holds_when_every_line_does() -> None:
    board = Scoreboard()
    assert not board.all_held  # nothing was measured

    board.at_most("gap", 12.4, 500, "ms")
    board.exactly("leases", 4, 4)
    assert board.all_held

    board.at_most("slow", 500.1, 500, "ms")
    assert not board.all_held
    assert [line.held for line in board.lines] == [True, True, False]


def test_the_table_shows_what_was_wanted_and_what_failed() -> None:
    board = Scoreboard()
    board.at_most("gap", 12.4, 500, "ms")
    board.exactly("told", False, wanted=True)

    lines = board.table().splitlines()

    assert lines[0].split() == ["what", "measured", "wanted"]
    assert lines[1].split() == ["gap", "12", "ms", "<=", "500", "ms", "ok"]
    assert lines[2].split() == ["told", "no", "yes", "FAILED"]
