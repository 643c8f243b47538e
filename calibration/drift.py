"""Does a device drift: its results over time, watched by an exponentially weighted mean with control limits.

EWMA ``z_i = l x_i + (1 - l) z_(i-1)`` about the first values' mean; limits
``+- L sigma sqrt(l / (2 - l) (1 - (1 - l)^2i))`` with l = 0.2 and L = 3 (ISO 7870-6:2016, about one false alarm in
560 points).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WEIGHT, LIMIT = 0.2, 3.0  # ISO 7870-6
LEARNED = 5  # first points that say where the device stands and how it scatters; assumed
LEAST = 3


@dataclass(frozen=True, slots=True)
class Point:
    """One result; ``standard`` is its standard uncertainty, in the same unit."""

    utc: str
    value: float
    standard: float
    record: int
    procedure: str


@dataclass(frozen=True, slots=True)
class Charted:
    """A point on the chart; ``inside`` is whether the mean is within its limits."""

    point: Point
    mean: float
    low: float
    high: float
    inside: bool


def chart(points: Sequence[Point]) -> list[Charted]:
    """EWMA of the points in their order; nothing for fewer than three.

    Sigma is the larger of the first points' scatter and their own stated uncertainty: a device that repeats better than
    its reference must not alarm on the reference.
    """
    if len(points) < LEAST:
        return []
    values = np.array([point.value for point in points])
    learned = values[: max(LEAST, min(LEARNED, len(values) - 1))]
    centre = float(learned.mean())
    stated = float(np.median([point.standard for point in points]))
    sigma = max(float(learned.std(ddof=1)), stated, 1e-12)
    found, mean = [], centre
    for index, point in enumerate(points, 1):
        mean = WEIGHT * point.value + (1 - WEIGHT) * mean
        width = LIMIT * sigma * float(np.sqrt(WEIGHT / (2 - WEIGHT) * (1 - (1 - WEIGHT) ** (2 * index))))
        low, high = centre - width, centre + width
        found.append(Charted(point, mean, low, high, low <= mean <= high))
    return found
