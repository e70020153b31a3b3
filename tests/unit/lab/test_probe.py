import struct

import pytest

from haqn.lab.probe import ProbeResult, TargetResult
from haqn.lab.prober import checksum


def echoes(*received: float | None) -> TargetResult:
    return TargetResult("192.0.2.1", tuple((5.0 * index, moment) for index, moment in enumerate(received)))


def test_the_largest_gap_is_between_two_answers() -> None:
    result = echoes(1, 6, None, None, 21, 26)

    assert result.largest_gap == (6, 15)
    assert (result.sent, result.received, result.lost) == (6, 4, 2)


@pytest.mark.parametrize(
    ("received", "gap"),
    [
        pytest.param((1, None, None, None), 14.0, id="silence that lasts to the end"),
        pytest.param((None, None, None, 16), 16.0, id="silence from the beginning"),
        pytest.param((None, None, None), 10.0, id="never an answer"),
        pytest.param((None,), 0.0, id="one echo has no duration"),
        pytest.param((), 0.0, id="nothing sent"),
    ],
)
def test_silence_at_the_ends_is_a_gap(received: tuple[float | None, ...], gap: float) -> None:
    assert echoes(*received).largest_gap_ms == gap


def test_each_silence_is_found_that_is_long_enough() -> None:
    result = echoes(1, None, None, 16, 21, None, None, None, 41)
    assert result.gaps(12) == [(1, 15), (21, 20)]
    assert result.gaps(15) == [(21, 20)]
    assert echoes().gaps() == []


def test_answers_out_of_order_make_no_gap() -> None:
    assert echoes(16, 6, 11, 16).largest_gap_ms == 6


def test_a_window_has_its_own_gap() -> None:
    result = ProbeResult((echoes(0, 5, None, None, None, 25, 30, 35), echoes(0, 5, 10, 15, 20, 25, 30, 35)))

    assert result.largest_gap_ms == 20
    assert result.between(25, 35).largest_gap_ms == 5
    assert result.between(25, 35).lost == 0
    assert result.lost == 3


def test_reachable_in_the_end_looks_at_the_end() -> None:
    assert echoes(*([None] * 50), 1.0).answered
    assert not echoes(1.0, *([None] * 50)).answered


def test_the_checksum_makes_the_whole_sum_to_zero() -> None:
    packet = struct.pack("!BBHHH", 8, 0, 0, 0xFFFF, 0xFFFE)
    filled = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]

    assert checksum(filled) == 0
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
