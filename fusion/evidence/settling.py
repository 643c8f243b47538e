"""Where a lagging probe is going: its step response fitted, so that the level is known before it is reached.

``y(t) = level + (start - level) exp(-max(0, t - delay) / lag)`` (SCIENCE 3.2: lag 2-30 s, delay of a sampling line
some seconds). Lags and delays are tried on a grid and averaged by likelihood, so the spread says how well the level is
known.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from fusion.evidence.median import median, medians

Floats = NDArray[np.float64]

LAGS_S = np.geomspace(2.0, 45.0, 40)  # SCIENCE 3.2, with some room; neighbours differ by 8 %
DELAYS_S = (0.0, 2.0, 4.0, 6.0)  # SCIENCE 3.2: 4.5 s for 3 m of 4 mm line at 0.5 L/min
_DELAY_S, _LAG_S = (grid.reshape(-1, 1) for grid in np.meshgrid(DELAYS_S, LAGS_S))  # the candidates, each of (160, 1)
T90_LAGS = log(10.0)  # of a first-order probe: T90 = 2.3 lags
LEAST_NOISE_PPM, LEAST_NOISE_SHARE = 1.0, 0.01  # assumed: no probe is quieter, nor its response truer to one lag
MOST_ROWS = 240  # bound on work; evenly chosen
LEAST_ROWS = 6  # assumed: fewer cannot bear three numbers
WORSE = 2.0  # assumed: residuals this many times the noise are no step response


@dataclass(frozen=True, slots=True)
class Settling:
    """Level at the end and its standard deviation, reading at the start, both ppm; lag in seconds."""

    level_ppm: float
    level_sd_ppm: float
    start_ppm: float
    lag_s: float


def settle(time_s: Floats, ppm: Floats) -> Settling:
    """Fit the step response to readings (n,) at times (n,) since the first; ``level_sd_ppm`` is inf where none fits."""
    first = median(ppm[:3])
    if len(ppm) < LEAST_ROWS:
        return Settling(median(ppm[-3:]), np.inf, first, float(LAGS_S[-1]))
    at = evenly(len(ppm), MOST_ROWS)
    t, y = time_s[at], _without_spikes(ppm[at])
    second = np.abs(y[2:] - 2 * y[1:-1] + y[:-2])
    noise = max(LEAST_NOISE_PPM, LEAST_NOISE_SHARE * float(y.max() - y.min()), median(second) / 0.6745 / 6**0.5)
    shape = np.exp(-np.maximum(0.0, t - _DELAY_S) / _LAG_S)  # (candidates, n)
    mean_shape, mean_y = np.add.reduce(shape, axis=1) / len(t), float(y.mean())
    apart = shape - mean_shape[:, None]
    spread = np.maximum(np.einsum("ct,ct->c", apart, apart), 1e-12)
    slope = apart @ (y - mean_y) / spread
    level = mean_y - slope * mean_shape
    off = y - level[:, None] - slope[:, None] * shape
    misfit = np.einsum("ct,ct->c", off, off)
    if float(misfit.min()) > (WORSE * noise) ** 2 * len(y):
        return Settling(median(ppm[-3:]), np.inf, first, float(LAGS_S[-1]))
    weight = np.exp(-0.5 * (misfit - misfit.min()) / noise**2)
    weight /= weight.sum()
    best = float(weight @ level)
    own = noise**2 * (1 / len(y) + mean_shape**2 / spread)
    variance = float(weight @ (own + (level - best) ** 2))
    return Settling(best, float(np.sqrt(variance)), float(weight @ (level + slope)), float(weight @ _LAG_S[:, 0]))


def _without_spikes(y: Floats) -> Floats:
    """The median of each reading and its neighbours."""
    inner = medians(np.stack((y[:-2], y[1:-1], y[2:]), axis=1))
    return np.concatenate((y[:1], inner, y[-1:]))


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """Indices of all of ``n``, or of ``most`` of them, evenly chosen."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)
