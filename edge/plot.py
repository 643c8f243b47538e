"""Curves in a terminal: columns of eighth blocks, one cell a value, as text rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " .:-=+*#@"  # where the terminal does not show blocks
MISSING = "·"
PLAIN_MISSING = "?"


def curve(
    values: Sequence[float | None], height: int, low: float, high: float, *, ascii_only: bool = False
) -> list[str]:
    """``height`` rows, top first, of ``len(values)`` cells each; what is None or not finite is marked in the last row.

    A value at or under ``low`` shows the least block and never an empty cell: something was measured there. Values over
    ``high`` are drawn as high as the plot.
    """
    shades, missing = (PLAIN, PLAIN_MISSING) if ascii_only else (BLOCKS, MISSING)
    steps = len(shades) - 1
    span = high - low if high > low else 1.0
    levels: list[int | None] = []
    for value in values:
        if value is None or not isfinite(value):
            levels.append(None)
        else:
            share = min(1.0, max(0.0, (value - low) / span))
            levels.append(max(1, round(share * height * steps)))
    rows = []
    for row in range(height):
        floor = (height - 1 - row) * steps
        cells = (
            (missing if floor == 0 else " ") if level is None else shades[min(steps, max(0, level - floor))]
            for level in levels
        )
        rows.append("".join(cells))
    return rows


def columns(values: Sequence[float], width: int) -> list[float | None]:
    """The largest of each of ``width`` equal parts, in order; None where a part holds nothing (fewer values than parts
    stand at the right, where the newest belong)."""
    count = len(values)
    if count <= width:
        return [None] * (width - count) + list(values)
    edges = [i * count // width for i in range(width + 1)]
    return [max(values[a:b]) for a, b in pairwise(edges)]


def rounded_range(values: Sequence[float | None], least_span: float) -> tuple[float, float]:
    """Bounds that hold all values with a little room, at least ``least_span`` apart, so that noise looks like noise."""
    known = [value for value in values if value is not None and isfinite(value)]
    if not known:
        return 0.0, least_span
    low, high = min(known), max(known)
    missing = max(0.0, least_span - (high - low))
    return low - missing / 2, high + missing / 2
