"""A CO2 cell that is off: the air comes late through its line, it answers with a lag, and its scale is wrong.

``shown = gain x lagged(truth delayed) + offset``; the lag is first order, followed exactly between changes of the air.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any


class Cell:
    """``take`` what an order says, ``shown`` at a time (s, any clock that only goes on)."""

    def __init__(self, co2_ppm: float = 420.0) -> None:
        self.gain, self.offset_ppm, self.lag_s, self.delay_s = 1.0, 0.0, 0.0, 0.0
        self._level = self._air = co2_ppm
        self._at_s: float | None = None
        self._coming: deque[tuple[float, float]] = deque()

    def take(self, order: dict[str, Any], now_s: float) -> None:
        """``co2_ppm`` of the air from now on; ``gain``, ``offset_ppm``, ``lag_s`` (1/e) and ``delay_s`` of the cell."""
        self._advance(now_s)
        for name in ("gain", "offset_ppm", "lag_s", "delay_s"):
            if name in order:
                setattr(self, name, float(order[name]))
        if "co2_ppm" in order:
            self._coming.append((now_s + self.delay_s, float(order["co2_ppm"])))
            self._advance(now_s)

    def shown(self, now_s: float) -> float:
        """ppm."""
        self._advance(now_s)
        return self.gain * self._level + self.offset_ppm

    def _advance(self, now_s: float) -> None:
        while self._coming and self._coming[0][0] <= now_s:
            at_s, ppm = self._coming.popleft()
            self._relax(at_s)
            self._air = ppm
        self._relax(now_s)

    def _relax(self, to_s: float) -> None:
        passed_s = 0.0 if self._at_s is None else to_s - self._at_s
        share = 0.0 if self.lag_s <= 0 else math.exp(-max(0.0, passed_s) / self.lag_s)
        self._level = self._air + (self._level - self._air) * share
        self._at_s = to_s if self._at_s is None else max(self._at_s, to_s)
