from __future__ import annotations

import math

from edge.plot import BLOCKS, PLAIN, columns, curve, rounded_range


def test_a_ramp_climbs_by_eighths_and_fills_every_row() -> None:
    assert curve([float(i) for i in range(17)], 2, 0.0, 16.0) == [
        "         ▁▂▃▄▅▆▇█",
        "▁▁▂▃▄▅▆▇█████████",
    ]


def test_what_was_measured_is_never_an_empty_cell_and_what_was_not_is_marked() -> None:
    (row,) = curve([0.0, -5.0, None, math.nan, math.inf, 99.0], 1, 0.0, 8.0)
    assert row == "▁▁···█"


def test_a_terminal_without_blocks_gets_the_same_picture_in_ascii() -> None:
    values = [0.0, 2.0, 4.0, 8.0, None]
    blocks, plain = curve(values, 1, 0.0, 8.0)[0], curve(values, 1, 0.0, 8.0, ascii_only=True)[0]
    assert plain.isascii()
    assert [BLOCKS.index(cell) for cell in blocks[:4]] == [PLAIN.index(cell) for cell in plain[:4]]


def test_a_line_that_is_flat_divides_by_nothing() -> None:
    assert curve([5.0, 5.0], 1, 5.0, 5.0) == ["▁▁"]
    assert rounded_range([5.0, 5.0, None], 2.0) == (4.0, 6.0)
    assert rounded_range([None], 2.0) == (0.0, 2.0)


def test_columns_keep_the_largest_of_each_part_and_put_few_values_at_the_right() -> None:
    assert columns([1.0, 9.0, 2.0, 3.0], 2) == [9.0, 3.0]
    assert columns([1.0], 3) == [None, None, 1.0]
    assert columns([], 2) == [None, None]
