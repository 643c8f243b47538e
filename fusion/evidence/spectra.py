"""Short-time spectra of several waves side by side: the power that is there half of the time, by frequency.

A mean over a record belongs to its loudest seconds (a door, a thump, a lorry that passes), and a sum over frequencies
to the loudest line (a neighbour's engine). A median over time and a mean of logarithms over frequencies belong to
neither: they tell what lasts and is broad, as people are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fusion.evidence.conditioning import GRID_HZ
from fusion.evidence.median import medians

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FRAME, HOP = 32, 16  # points: 1.28 s, shorter than a shift of posture is apart from the next; half over one another
HZ_PER_BIN = GRID_HZ / FRAME


def lasting_power(waves: Floats, keep: Flags, asked: slice) -> Floats:
    """Of waves (sensors, n) on the grid in the bins ``asked``: mean of sensors, median over frames.

    Frames with a point that is not kept do not count, unless there is no other. A few bins of many frames are a
    product with their sines and cosines sooner than an FFT; a frame is two hops, and a hop is multiplied once.
    """
    hops = waves.shape[1] // HOP
    parts = waves[:, : hops * HOP].reshape(len(waves), hops, HOP) @ _waveforms(asked.start, asked.stop)
    half = parts.shape[2] // 2
    spectra = parts[:, :-1, :half] + parts[:, 1:, half:]
    power = np.einsum("sfb,sfb->bf", spectra, spectra) / len(waves)
    power = power[: half // 2] + power[half // 2 :]
    before = np.concatenate(([0], np.cumsum(~keep)))
    whole = (before[FRAME:] == before[:-FRAME])[::HOP]
    return medians(power[:, whole] if whole.any() else power)


@lru_cache(maxsize=4)
def _waveforms(first: int, stop: int) -> Floats:
    """Cosines, then sines, of the bins under the taper: (`HOP`, 2 x) for the first half of a frame, then the second."""
    turns = np.outer(np.arange(FRAME), np.arange(first, stop)) * (2 * np.pi / FRAME)
    tapered = np.concatenate((np.cos(turns), np.sin(turns)), axis=1) * np.hanning(FRAME + 1)[:FRAME, None]
    return np.concatenate((tapered[:HOP], tapered[HOP:]), axis=1)


def bins(low_hz: float, high_hz: float) -> slice:
    """Bins whose middles lie in the band."""
    return slice(int(np.ceil(low_hz / HZ_PER_BIN)), int(high_hz / HZ_PER_BIN) + 1)
