"""Person-like shapes in a picture, for both kinds of imager: matched filters, their own clutter, and likeness.

A shape is brighter (by ``sign``) than what surrounds it, at the sizes of a sitting, lying or standing body. How far it
stands out is counted in the picture's own clutter, so that a busy picture does not make people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

# Half height and half width of a body's core, m: sitting, lying, standing (SCIENCE 5: 0.5 x 0.9 m seated).
POSES_M = ((0.30, 0.20), (0.16, 0.45), (0.55, 0.20))
SURROUND = 1.8  # assumed: the ring that a body is compared with, against its core
CORE = 0.6  # of a half size: a Gaussian of this sigma is best matched to an ellipse of that size
MAD_TO_SIGMA = 1.4826
LEAST_SHARE = 0.5  # of a core that must have been measured
TRUNCATE = 2.5  # sigmas: what lies beyond weighs one per cent
MOST_SHAPES = 24  # assumed: some pallets stand out more than a body in the void between them


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of a picture. ``row`` and ``column`` are its middle, with its half sizes, in pixels.

    ``stands_out`` in robust standard deviations of the filtered picture; ``contrast`` is core against ring, in the
    picture's unit, times the sign looked for; ``likeness`` -1..1 to a round body.
    """

    row: int
    column: int
    half_rows: float
    half_columns: float
    stands_out: float
    contrast: float
    likeness: float


def shapes(picture: Floats, there: Flags, pixel_m: float, sign: float, floor: float) -> list[Shape]:
    """The shapes of a body's size, most standing out first; none where there is no place for a body.

    Args:
        picture: (rows, columns); what is not ``there`` does not count.
        there: (rows, columns), where a body may be looked for.
        pixel_m: size of a pixel.
        sign: +1 where a body is higher than its surroundings, -1 where it is lower.
        floor: least standard deviation of the filtered picture: what the receiver's noise makes.
    """
    weight = there.astype(np.float32)
    filled = np.where(there, picture, np.float32(0)) * np.float32(sign)
    means: dict[tuple[float, float], tuple[Floats, Floats]] = {}
    peaks: list[tuple[float, int, int, tuple[float, float]]] = []
    for half in _fitting(picture.shape, pixel_m):
        peaks += _peaks(_response(filled, weight, half, means), half, floor)
    peaks.sort(key=lambda one: (-one[0], one[1:]))
    kept: list[tuple[float, int, int, tuple[float, float]]] = []
    for peak in peaks:
        if len(kept) < MOST_SHAPES and not any(_same_place(peak, other) for other in kept):
            kept.append(peak)
    return [_shape(filled, there, peak) for peak in kept]


def region(shape: Shape, rows: int, columns: int) -> dict[str, float]:
    """The shape's box as shares of the picture, for the officer's screen."""
    return {
        "region_top": _share(shape.row - 1.5 * shape.half_rows, rows),
        "region_bottom": _share(shape.row + 1.5 * shape.half_rows, rows),
        "region_left": _share(shape.column - 1.5 * shape.half_columns, columns),
        "region_right": _share(shape.column + 1.5 * shape.half_columns, columns),
    }


def _share(pixel: float, of: int) -> float:
    return min(1.0, max(0.0, pixel / of))


def _fitting(shape: tuple[int, ...], pixel_m: float) -> Sequence[tuple[float, float]]:
    """Half sizes in pixels of the poses that fit into the picture with some surround."""
    sizes = [(high / pixel_m, wide / pixel_m) for high, wide in POSES_M]
    return [(h, w) for h, w in sizes if 2.2 * h < shape[0] and 2.2 * w < shape[1] and min(h, w) > 0.8]


def _response(
    filled: Floats, weight: Floats, half: tuple[float, float], means: dict[tuple[float, float], tuple[Floats, Floats]]
) -> Floats:
    """Mean of a core less mean of its surround; NaN where too little of the core was measured."""
    for scale in (CORE, CORE * SURROUND):
        sigma = (scale * half[0], scale * half[1])
        if sigma not in means:
            means[sigma] = _mean(filled, weight, sigma)
    (core, share), (near, _) = (means[scale * half[0], scale * half[1]] for scale in (CORE, CORE * SURROUND))
    return np.where(share < LEAST_SHARE, np.float32(np.nan), core - near)


def _mean(filled: Floats, weight: Floats, sigma: tuple[float, float]) -> tuple[Floats, Floats]:
    share = gaussian_filter(weight, sigma, mode="constant", truncate=TRUNCATE)
    total = gaussian_filter(filled, sigma, mode="constant", truncate=TRUNCATE)
    return np.asarray(total / np.maximum(share, np.float32(1e-6)), np.float32), share


def _peaks(
    response: Floats, half: tuple[float, float], floor: float
) -> list[tuple[float, int, int, tuple[float, float]]]:
    """Highest places of a filtered picture: (robust deviations over its middle, row, column, half sizes)."""
    values = response[np.isfinite(response)]
    if not len(values):
        return []
    middle = float(np.median(values))
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(values - middle))), floor, 1e-9)
    height = np.nan_to_num((response - middle) / spread, nan=-np.inf, neginf=-np.inf)
    high, wide = max(1, int(half[0])), max(1, int(half[1]))
    top = (height == maximum_filter(height, (2 * high + 1, 2 * wide + 1), mode="nearest")) & (height > 0)
    rows, columns = np.nonzero(top)
    order = np.argsort(-height[rows, columns], kind="stable")[:MOST_SHAPES]
    return [(float(height[rows[i], columns[i]]), int(rows[i]), int(columns[i]), half) for i in order]


def _same_place(
    one: tuple[float, int, int, tuple[float, float]], other: tuple[float, int, int, tuple[float, float]]
) -> bool:
    """Within a body's half of one another: two sizes of one thing."""
    return abs(one[1] - other[1]) <= other[3][0] and abs(one[2] - other[2]) <= other[3][1]


def _shape(filled: Floats, there: Flags, peak: tuple[float, int, int, tuple[float, float]]) -> Shape:
    height, row, column, half = peak
    contrast, likeness = _judge(filled, there, row, column, half)
    return Shape(row, column, half[0], half[1], height, contrast, likeness)


def _judge(filled: Floats, there: Flags, row: int, column: int, half: tuple[float, float]) -> tuple[float, float]:
    """Contrast of core and ring, and correlation with a round body of that size."""
    high, wide = int(2.0 * half[0]) + 1, int(2.0 * half[1]) + 1
    top, left = max(0, row - high), max(0, column - wide)
    patch = filled[top : row + high + 1, left : column + wide + 1]
    known = there[top : row + high + 1, left : column + wide + 1]
    y = (np.arange(patch.shape[0])[:, None] + top - row) / half[0]
    x = (np.arange(patch.shape[1])[None, :] + left - column) / half[1]
    distance = y**2 + x**2
    core, ring = known & (distance < 0.5), known & (distance > 1.7) & (distance < 4.0)
    if core.sum() < 2 or ring.sum() < 4:
        return 0.0, 0.0
    body = np.exp(-(distance**2))[known]
    values = patch[known].astype(np.float64)
    body, values = body - body.mean(), values - values.mean()
    spread = float(np.sqrt((body**2).sum() * (values**2).sum()))
    likeness = float((body * values).sum()) / spread if spread > 0 else 0.0
    return float(patch[core].mean() - patch[ring].mean()), likeness
