"""Instrument response of a velocity sensor: from counts to metres per second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Response:
    """Overall sensitivity at a frequency, with poles and zeros where known (rad/s, Laplace).

    Raises:
        ValueError: the sensitivity is zero, negative-frequency, or not finite.
    """

    sensitivity_counts_per_m_s: float
    frequency_hz: float
    zeros: tuple[complex, ...] = ()
    poles: tuple[complex, ...] = ()

    def __post_init__(self) -> None:
        if not np.isfinite(self.sensitivity_counts_per_m_s) or self.sensitivity_counts_per_m_s == 0:
            raise ValueError(f"sensitivity {self.sensitivity_counts_per_m_s} counts/(m/s) cannot be divided by")
        if not np.isfinite(self.frequency_hz) or self.frequency_hz < 0:
            raise ValueError(f"sensitivity frequency {self.frequency_hz} Hz is not a frequency")

    def at(self, frequency_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
        """H(f), counts per m/s, same shape as ``frequency_hz``; flat where no poles and zeros are known."""
        if not self.poles:
            return np.full(frequency_hz.shape, self.sensitivity_counts_per_m_s, dtype=np.complex128)
        shape = self._shape(frequency_hz)
        reference = abs(self._shape(np.array([self.frequency_hz]))[0])
        return np.asarray(shape * (self.sensitivity_counts_per_m_s / reference), dtype=np.complex128)

    def _shape(self, frequency_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
        s = 2j * np.pi * frequency_hz
        shape = np.ones(s.shape, dtype=np.complex128)
        for zero in self.zeros:
            shape = shape * (s - zero)
        for pole in self.poles:
            shape = shape / (s - pole)
        return shape
