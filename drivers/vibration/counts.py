"""What a channel's counts say of the channel itself: at full scale, or not moving."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STUCK_S = 2.0  # assumed: a live converter's lowest bits never stand still for so long


class CountWatch:
    """One channel; ``full_scale`` is its largest count, ``rate_hz`` its samples a second."""

    def __init__(self, full_scale: int, rate_hz: float) -> None:
        self._full_scale, self._stuck_samples = full_scale, STUCK_S * rate_hz
        self._value: float | None = None
        self._same_samples = 0

    def judge(self, counts: NDArray[np.float64]) -> str:
        """What is wrong with the next (n,) float64 counts, n > 0; "" if nothing."""
        if np.ptp(counts) or counts[0] != self._value:
            self._same_samples = 0
        self._same_samples += len(counts)
        self._value = float(counts[-1])
        full = int(np.count_nonzero(np.abs(counts) >= self._full_scale))
        if full:
            return f"saturated: {full} of {len(counts)} samples at full scale"
        if self._same_samples > self._stuck_samples:
            return f"stuck at {self._value:.0f} counts for over {STUCK_S:g} s"
        return ""
