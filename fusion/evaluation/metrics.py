"""Figures of merit of log10 likelihood ratios (SCIENCE 6.4), with intervals at 95 %.

Shares (Pd, Pfa) have exact intervals (Clopper and Pearson 1934). AUC, Cllr and Cllr_min have bootstrap percentiles:
each class is resampled by itself, from a fixed seed, so that the same cases give the same interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import ndtri

from fusion.evaluation.exact_share import CONFIDENCE, UNKNOWN, Estimate

Floats = NDArray[np.float64]

TAIL = (1 - CONFIDENCE) / 2
REPLICATES = 1_000  # assumed: the ends then stand on 25 replicates each
SEED = 20_260_301  # any, but always this one
LEAST_TO_RESAMPLE = 5  # assumed: fewer cases of a class repeat themselves, and no interval is given
CELLS_AT_ONCE = 4_000_000  # of a block of replicates, 32 MB a table


@dataclass(frozen=True, slots=True)
class Grouped:
    """Scores of both classes, tied ones together: ``score`` (u,) rising, and how many of each class have it."""

    score: Floats
    occupied: Floats
    empty: Floats


@dataclass(frozen=True, slots=True)
class Merit:
    """What likelihood ratios are worth."""

    auc: Estimate
    cllr: Estimate
    cllr_min: Estimate


def merit(occupied: Floats, empty: Floats) -> Merit:
    """AUC, Cllr and Cllr_min of log10 likelihood ratios, (n,) of occupied and (m,) of empty cases.

    Raises:
        ValueError: a ratio is not finite.
    """
    if not (np.all(np.isfinite(occupied)) and np.all(np.isfinite(empty))):
        raise ValueError("a log10 likelihood ratio is not finite; a silent modality has none")
    if len(occupied) == 0 or len(empty) == 0:
        return Merit(UNKNOWN, UNKNOWN, UNKNOWN)
    cases = grouped(occupied, empty)
    values = _figures(cases.score, cases.occupied[None, :], cases.empty[None, :])[:, 0]
    if min(len(occupied), len(empty)) < LEAST_TO_RESAMPLE:
        return Merit(*(Estimate(float(value), None, None) for value in values))
    again = np.concatenate([_figures(cases.score, a, b) for a, b in _resampled(cases)], axis=1)
    ends = np.quantile(again, [TAIL, 1 - TAIL], axis=1)  # (2, 3)
    # PAV fits a resample, with its ties, more closely than the cases: the value may lie beyond the percentiles.
    low, high = np.minimum(ends[0], values), np.maximum(ends[1], values)
    auc, cllr, least = (Estimate(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True))
    if auc.value == 1.0:  # no replicate can order them worse: 0 in all of them tells nothing
        least = Estimate(least.value, None, None)
    return Merit(_not_surer_than_few_cases(auc, min(len(occupied), len(empty))), cllr, least)


def difference(hits: int, cases: int, other_hits: int, other_cases: int) -> Estimate:
    """A share less another, independent one: Newcombe 1998, method 10, from the two Wilson intervals."""
    if cases == 0 or other_cases == 0:
        return UNKNOWN
    one, other = hits / cases, other_hits / other_cases
    low, high = _wilson(hits, cases)
    other_low, other_high = _wilson(other_hits, other_cases)
    down, up = np.hypot(one - low, other_high - other), np.hypot(high - one, other - other_low)
    return Estimate(one - other, float(one - other - down), float(one - other + up))


def _wilson(hits: int, cases: int) -> tuple[float, float]:
    z = float(ndtri(1 - TAIL))
    middle = (hits + z * z / 2) / (cases + z * z)
    half = z / (cases + z * z) * float(np.sqrt(hits * (cases - hits) / cases + z * z / 4))
    return middle - half, middle + half


def grouped(occupied: Floats, empty: Floats) -> Grouped:
    """Both classes counted at each score that occurs."""
    score, place = np.unique(np.concatenate([occupied, empty]), return_inverse=True)
    first = np.bincount(place[: len(occupied)], minlength=len(score)).astype(np.float64)
    second = np.bincount(place[len(occupied) :], minlength=len(score)).astype(np.float64)
    return Grouped(score, first, second)


def _resampled(cases: Grouped) -> Iterator[tuple[Floats, Floats]]:
    """Counts (r, u) of both classes of all replicates, in blocks of bounded size."""
    random = np.random.default_rng(SEED)
    at_once = max(1, min(REPLICATES, CELLS_AT_ONCE // len(cases.score)))
    for begin in range(0, REPLICATES, at_once):
        rows = min(at_once, REPLICATES - begin)
        drawn = [
            random.multinomial(round(counts.sum()), counts / counts.sum(), rows).astype(np.float64)
            for counts in (cases.occupied, cases.empty)
        ]
        yield drawn[0], drawn[1]


def _figures(score: Floats, occupied: Floats, empty: Floats) -> Floats:
    """(3, r): AUC, Cllr, Cllr_min for counts (r, u) at the scores (u,)."""
    n, m = occupied[0].sum(), empty[0].sum()
    below = np.cumsum(empty, axis=1) - empty / 2  # ties count half: Mann and Whitney
    auc = np.sum(occupied * below, axis=1) / (n * m)
    misses, alarms = np.logaddexp(0, -score * log(10)) / log(2), np.logaddexp(0, score * log(10)) / log(2)
    cllr = 0.5 * (occupied @ misses / n + empty @ alarms / m)
    least = [_cllr_after_pav(a, b) for a, b in zip(occupied, empty, strict=True)]
    return np.stack([auc, cllr, np.array(least)])


def _cllr_after_pav(occupied: Floats, empty: Floats) -> float:
    """Cllr of the best calibration that keeps the order: pool adjacent violators, p -> p / (1 - p) over the share.

    A block of one class has a ratio of 0 or infinity, and costs that class nothing.
    """
    there = occupied + empty > 0
    a, b = occupied[there], empty[there]
    n, m = a.sum(), b.sum()
    p = isotonic_regression(a / (a + b), weights=a + b).x
    with np.errstate(divide="ignore"):
        misses = np.where(a > 0, np.log2(1 + (1 - p) / p * (n / m)), 0.0)
        alarms = np.where(b > 0, np.log2(1 + p / (1 - p) * (m / n)), 0.0)
    return float(0.5 * (np.sum(a * misses, where=a > 0) / n + np.sum(b * alarms, where=b > 0) / m))


def _not_surer_than_few_cases(auc: Estimate, fewer: int) -> Estimate:
    """Where the classes do not overlap every replicate says 1 (or 0): the bound is then that of ``fewer`` of ``fewer``.

    None of so many cases of the smaller class lay on the wrong side; more is not known.
    """
    bound = TAIL ** (1 / fewer)
    if auc.value == 1.0:
        return Estimate(1.0, bound, 1.0)
    if auc.value == 0.0:
        return Estimate(0.0, 0.0, 1 - bound)
    return auc
