"""An imager's receivers with their own truth: gain and offset of each row, a baseline across, noise, dead pixels.

``shown = (true - offset) / gain + baseline + noise``, rows being what one receiver paints (DEVICES-imaging 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Receivers:
    """What turns the scene into what is shown. ``gain`` and ``offset_k`` are (rows,), the correction that is due."""

    gain: Floats
    offset_k: Floats
    baseline_k: Floats  # (columns,)
    netd_k: float = 0.4
    drift_k_per_s: float = 0.0
    stuck: tuple[tuple[int, int], ...] = ()
    noisy: tuple[tuple[int, int], ...] = ()
    deaf: tuple[tuple[int, int], ...] = ()  # answer a fifth of what the others do

    @classmethod
    def tuned(cls, rows: int, columns: int) -> Receivers:
        """As they should be."""
        return cls(np.ones(rows), np.zeros(rows), np.zeros(columns))

    def shown(self, truth_k: Floats, at_s: float, random: Generator) -> Floats:
        """One picture, (rows, columns) K."""
        image = (truth_k - self.offset_k[:, None]) / self.gain[:, None] + self.baseline_k + self.drift_k_per_s * at_s
        for row, column in self.deaf:
            image[row, column] = 290.0 + 0.2 * (image[row, column] - 290.0)
        noise = random.normal(0.0, self.netd_k, image.shape)
        for row, column in self.noisy:
            noise[row, column] *= 6.0
        image = image + noise
        for row, column in self.stuck:
            image[row, column] = 301.0
        return image


def detuned(rows: int, columns: int, order: dict[str, Any]) -> Receivers:
    """Receivers by an order: numbers are for all of them, lists for each; ``baseline_k`` is an amplitude.

    Raises:
        ValueError, TypeError: it is no such order.
    """

    def each(name: str, usual: float, count: int) -> Floats:
        return np.broadcast_to(np.asarray(order.get(name, usual), np.float64), (count,)).copy()

    wave = float(order.get("baseline_k", 0.0)) * np.sin(np.linspace(0.0, 4 * np.pi, columns, endpoint=False))
    names = ("stuck", "noisy", "deaf")
    lists = {name: tuple((int(row), int(column)) for row, column in order.get(name, ())) for name in names}
    return Receivers(
        each("gain", 1.0, rows), each("offset_k", 0.0, rows), wave, float(order.get("netd_k", 0.4)),
        float(order.get("drift_k_per_s", 0.0)), **lists,
    )  # fmt: skip


def with_target(rows: int, columns: int, background_k: float, at: tuple[float, float], size: float = 2.5) -> Floats:
    """A warm round thing 12 K over the background at (row, column), ``size`` pixels across its half."""
    row, column = np.mgrid[0:rows, 0:columns]
    return np.asarray(background_k + 12.0 * np.exp(-(((row - at[0]) ** 2 + (column - at[1]) ** 2) / size**2)), float)
