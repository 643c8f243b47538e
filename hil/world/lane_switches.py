"""What two switches across a lane say while a lorry goes by: when each is on, with the gaps that it has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lane:
    """Two switches ``spacing_m`` apart; ``gap`` is (from, to) along the lorry where the second sees nothing, m."""

    spacing_m: float
    gap_m: tuple[float, float] | None = None


def on(lane: Lane, length_m: float, at_s: Floats, speed_m_s: float, brakes_m_s2: float = 0.0) -> Floats:
    """(n, 2) of 0 and 1 for times since the front reached the first switch; it slows down evenly."""
    found = []
    for place, gap in ((0.0, None), (lane.spacing_m, lane.gap_m)):
        front = speed_m_s * at_s - brakes_m_s2 * at_s**2 / 2 - place
        lit = (front >= 0) & (front <= length_m)
        if gap is not None:
            lit &= ~((front > gap[0]) & (front < gap[1]))
        found.append(lit)
    return np.asarray(np.stack(found, axis=1), np.float64)
