"""A picture in a terminal: one character a cell, the warmer (or brighter) the fuller. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHADES, MISSING = " ·░▒▓█", "×"
PLAIN, PLAIN_MISSING = " .:-=+*#%@", "?"  # where the terminal does not show blocks
CELL_ASPECT = 2.0  # a terminal's cell is about twice as high as it is wide
Floats = NDArray[np.float64]


def picture(
    values: NDArray[np.float32], width: int, most_rows: int, low: float, high: float, *, ascii_only: bool = False
) -> list[str]:
    """Text rows of an image of ``values`` (rows, columns), its shape kept, no wider than ``width``.

    Each cell is the mean of what is known in it; where nothing is, it is marked as missing.
    """
    rows, columns = values.shape
    if not rows or not columns or width < 1 or most_rows < 1:
        return []
    wide = min(width, round(CELL_ASPECT * most_rows * columns / rows), max(1, round(CELL_ASPECT * columns)))
    high_cells = max(1, min(most_rows, round(wide / CELL_ASPECT * rows / columns)))
    cells = _cells(values, high_cells, max(1, wide))
    shades, missing = (PLAIN, PLAIN_MISSING) if ascii_only else (SHADES, MISSING)
    span = high - low if high > low else 1.0
    steps = np.clip((np.nan_to_num(cells) - low) / span * len(shades), 0, len(shades) - 1).astype(int)
    return [
        "".join(missing if bad else shades[step] for step, bad in zip(line, unknown, strict=True))
        for line, unknown in zip(steps, np.isnan(cells), strict=True)
    ]


def contrast(values: NDArray[np.float32], least_span: float) -> tuple[float, float]:
    """Bounds between which the picture has its contrast: all but the outermost hundredths, and no noise blown up."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, least_span
    low, high = (float(bound) for bound in np.percentile(known, (1, 99)))
    missing = max(0.0, least_span - (high - low))
    return low - missing / 2, high + missing / 2


def _cells(values: NDArray[np.float32], high: int, wide: int) -> Floats:
    """Means of (rows, columns) over a grid of cells, NaN where nothing is known; a small image is spread."""
    tall, broad = max(high, values.shape[0]), max(wide, values.shape[1])
    spread = (np.arange(tall) * values.shape[0] // tall)[:, None], np.arange(broad) * values.shape[1] // broad
    values = values[spread]
    place = ((np.arange(tall) * high // tall)[:, None] * wide + np.arange(broad) * wide // broad).ravel()
    known = np.isfinite(values)
    total = np.bincount(place, np.where(known, values, 0).ravel(), high * wide)
    count = np.bincount(place, known.ravel(), high * wide)
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.asarray(means.reshape(high, wide), np.float64)
