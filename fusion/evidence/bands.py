"""Bands of waves on the grid, by their spectra. What depends on the length alone is computed once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fusion.evidence.conditioning import GRID_HZ

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


def band(waves: Floats, low_hz: float, high_hz: float) -> Floats:
    """The band alone, along the last axis."""
    return in_band(scipy.fft.rfft(waves), waves.shape[-1], low_hz, high_hz)


def in_band(spectra: Complexes, n: int, low_hz: float, high_hz: float) -> Floats:
    """The band alone of waves of ``n`` points whose spectra are known."""
    kept = _bins(n, low_hz, high_hz)
    alone = np.zeros(spectra.shape, np.complex128)
    alone[..., kept] = spectra[..., kept]
    return np.asarray(scipy.fft.irfft(alone, n), np.float64)


def analytic(spectra: Complexes, n: int, low_hz: float, high_hz: float) -> Complexes:
    """The band's analytic signal: its real part is the wave, its magnitude the envelope. Neither end is in the band."""
    kept = _bins(n, low_hz, high_hz)
    alone = np.zeros((*spectra.shape[:-1], n), np.complex128)
    np.multiply(spectra[..., kept], 2.0, out=alone[..., kept])
    return np.asarray(scipy.fft.ifft(alone, overwrite_x=True), np.complex128)


@lru_cache(maxsize=64)
def _bins(n: int, low_hz: float, high_hz: float) -> slice:
    hz = scipy.fft.rfftfreq(n, 1 / GRID_HZ)
    return slice(int(np.searchsorted(hz, low_hz)), int(np.searchsorted(hz, high_hz, side="right")))


@lru_cache(maxsize=32)
def hann(n: int) -> Floats:
    """The window of ``n`` points, not to be written to."""
    window = np.asarray(np.hanning(n), np.float64)
    window.flags.writeable = False
    return window
