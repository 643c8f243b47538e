"""From a raw score to a calibrated log10 likelihood ratio: a monotone curve through knots, then a soft cap.

The curve comes from scores that the fit never saw, in one of two ways, whichever costs less (Cllr) on further such
scores: bi-Gaussian (Law, Probability and Risk 23(1), mgae004: the score's distribution is moved onto the one that
perfectly calibrated Gaussian ratios of that strength would have) or isotonic (pool adjacent violators).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.isotonic import IsotonicRegression

Floats = NDArray[np.float64]
KNOTS = 24  # assumed: enough for a curve that is nearly straight; few enough for the tails to be smooth
TAIL_SHARE = 0.005  # assumed: what lies outside is followed by a straight line
KNEE = 0.75  # of a cap: from there on it bends, so that cases near the cap keep their order
LEAST_SLOPE = 0.02  # assumed: log10 LR per log10 LR; no two scores may tie, or thresholds would


@dataclass(frozen=True, slots=True)
class Curve:
    """Knots (K,) rising and values (K,) rising; ``way`` says how it was made."""

    knots: Floats
    values: Floats
    way: str

    def at(self, raw: Floats) -> Floats:
        """Values at raw scores (n,), straight beyond the ends."""
        return follow(raw, self.knots, self.values)


def identity() -> Curve:
    """What leaves a score as it is."""
    return Curve(np.linspace(-2.0, 2.0, KNOTS), np.linspace(-2.0, 2.0, KNOTS), "identity")


def follow(raw: Floats, knots: Floats, values: Floats) -> Floats:
    """``v_0 + s_0 min(x - k_0, 0) + sum_i s_i clip(x - k_i, 0, w_i)``, the last one open: (n,) -> (n,)."""
    start, slopes, widths = segments(knots, values)
    steps = np.minimum(np.maximum(raw[:, None] - knots[None, :-1], 0.0), widths[None, :])
    before = slopes[0] * np.minimum(raw - knots[0], 0.0)
    return np.asarray(start + before + (steps * slopes[None, :]).sum(axis=1), np.float64)


def segments(knots: Floats, values: Floats) -> tuple[float, Floats, Floats]:
    """First value, slopes (K - 1,) and widths (K - 1,), the last of them endless."""
    widths = np.diff(knots)
    slopes = np.diff(values) / widths
    widths = widths.copy()
    widths[-1] = 1e6
    return float(values[0]), slopes, widths


def soft_cap(value: Floats, low: float, high: float) -> Floats:
    """Between ``-low`` and ``high``: unchanged within `KNEE` of either, bent beyond, never tied; (n,) -> (n,)."""
    inner = np.minimum(np.maximum(value, -KNEE * low), KNEE * high)
    over = value - inner
    up, down = (1 - KNEE) * high, (1 - KNEE) * low
    bent = up * np.tanh(np.maximum(over, 0.0) / up) + down * np.tanh(np.minimum(over, 0.0) / down)
    return np.asarray(inner + bent, np.float64)


def cllr(occupied: Floats, empty: Floats) -> float:
    """Cost of log10 likelihood ratios: 0 perfect, 1 says nothing (SCIENCE 6.4)."""
    misses = np.mean(np.log2(1 + 10.0**-occupied))
    alarms = np.mean(np.log2(1 + 10.0**empty))
    return float(0.5 * (misses + alarms))


def fit(raw: Floats, occupied: NDArray[np.bool_], random: np.random.Generator) -> Curve:
    """The better of the two ways, chosen on a half that did not make it, made again from all; raw (n,) log10."""
    half = random.permutation(len(raw)) < len(raw) // 2
    costs = {}
    for way, make in WAYS.items():
        curve = make(raw[half], occupied[half])
        value = soft_cap(curve.at(raw[~half]), 1.5, 1.5)
        costs[way] = cllr(value[occupied[~half]], value[~occupied[~half]])
    return WAYS[min(costs, key=lambda way: costs[way])](raw, occupied)


def _places(raw: Floats) -> Floats:
    """Knots by rank, without ties."""
    quantiles = np.quantile(raw, np.linspace(TAIL_SHARE, 1 - TAIL_SHARE, KNOTS))
    least = 1e-3 * max(float(np.ptp(quantiles)), 1e-9)
    for index in range(1, KNOTS):
        quantiles[index] = max(quantiles[index], quantiles[index - 1] + least)
    return np.asarray(quantiles, np.float64)


def _rising(knots: Floats, values: Floats, way: str) -> Curve:
    values = values.copy()
    for index in range(1, len(knots)):
        values[index] = max(values[index], values[index - 1] + LEAST_SLOPE * (knots[index] - knots[index - 1]))
    return Curve(knots, values, way)


def bi_gaussian(raw: Floats, occupied: NDArray[np.bool_]) -> Curve:
    """Each knot's rank in both classes weighed alike, and the ratio that has this rank where all is bi-Gaussian."""
    knots = _places(raw)
    ranks = 0.5 * (_below(raw[occupied], knots) + _below(raw[~occupied], knots))
    spread = _spread(raw, occupied)
    grid = np.linspace(-(spread**2) / 2 - 5 * spread, spread**2 / 2 + 5 * spread, 4001)  # natural log
    mixed = 0.5 * (ndtr((grid - spread**2 / 2) / spread) + ndtr((grid + spread**2 / 2) / spread))
    return _rising(knots, np.interp(ranks, mixed, grid) / log(10.0), "bi-Gaussian")


def _below(scores: Floats, at: Floats) -> Floats:
    return (np.searchsorted(np.sort(scores), at) + 0.5) / (len(scores) + 1)


def _spread(raw: Floats, occupied: NDArray[np.bool_]) -> float:
    """Standard deviation (natural log) of bi-Gaussian ratios that separate as well as the scores do: by AUC."""
    order = np.argsort(raw, kind="stable")
    ranks = np.empty(len(raw))
    ranks[order] = np.arange(1, len(raw) + 1)
    yes, no = int(occupied.sum()), int((~occupied).sum())
    auc = (ranks[occupied].sum() - yes * (yes + 1) / 2) / (yes * no)
    auc = min(max(auc, 0.501), 1 - 1e-6)
    low, high = 0.0, 40.0
    for _ in range(60):  # of N(s^2/2, s) over N(-s^2/2, s) the AUC is ndtr(s / sqrt 2)
        middle = (low + high) / 2
        low, high = (middle, high) if ndtr(middle / sqrt(2.0)) < auc else (low, middle)
    return max(low, 0.05)


def isotonic(raw: Floats, occupied: NDArray[np.bool_]) -> Curve:
    """Pool adjacent violators with both classes weighed alike, read at the knots; no odds without a case against."""
    weight = np.where(occupied, 0.5 / occupied.sum(), 0.5 / (~occupied).sum())
    share = IsotonicRegression(out_of_bounds="clip").fit(raw, occupied.astype(np.float64), sample_weight=weight)
    knots = _places(raw)
    window = np.asarray(
        [share.predict(raw[np.argsort(np.abs(raw - k))[: max(5, len(raw) // 100)]]).mean() for k in knots]
    )
    least = 1.0 / (len(raw) + 2)
    window = np.clip(window, least, 1 - least)
    return _rising(knots, np.log10(window / (1 - window)), "isotonic")


WAYS = {"bi-Gaussian": bi_gaussian, "isotonic": isotonic}


def bounds(log10_lr: Floats, occupied: NDArray[np.bool_], most: float) -> tuple[float, float]:
    """How far down and up a ratio may go (both positive), by the empirical limits of Vergeer (Sci. & Justice 2016).

    A ratio of t is used to decide at odds 1/t. It serves while deciding by it costs less than deciding without: with
    one misleading case added to each class, ``miss(t) + t alarm(t)`` must stay under ``min(1, t)``.
    """
    grid = np.arange(0.0, most + 1e-9, 0.01)
    found = []
    for sign in (-1.0, 1.0):
        reached = 0.0
        for step in grid[1:]:
            t = 10.0 ** (sign * step)
            if _cost(log10_lr, occupied, t) >= min(1.0, t):
                break
            reached = float(step)
        found.append(max(reached, 0.05))
    return found[0], found[1]


def _cost(log10_lr: Floats, occupied: NDArray[np.bool_], t: float) -> float:
    yes, no = log10_lr[occupied], log10_lr[~occupied]
    miss = (np.count_nonzero(yes < np.log10(t)) + 1) / (len(yes) + 1)
    alarm = (np.count_nonzero(no > np.log10(t)) + 1) / (len(no) + 1)
    return float(miss + t * alarm)
