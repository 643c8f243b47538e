"""Intervals that are honest with few cases. Every rate of the record is printed with one of these and its denominator.

Counts of cases out of n are binomial (Clopper-Pearson; Korn-Graubard where days differ), counts over time are Poisson
(Garwood), sums weighted by the inverse of a probability are Fay and Feuer's. All are exact or conservative: they cover
at least what they promise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, sqrt

from scipy.special import bdtr, betaincinv, gammaincinv, ndtri, stdtrit

from fusion.evaluation.exact_share import CONFIDENCE, UNKNOWN, Estimate, exact_share

TOO_FEW = 10  # assumed: under ten cases a rate says more of chance than of the lane, and the cell says so


@dataclass(frozen=True, slots=True)
class Rate:
    """``cases`` out of ``of``, with its exact interval."""

    cases: int
    of: int
    estimate: Estimate

    @property
    def too_few(self) -> bool:
        """The denominator is too small for the share to mean much."""
        return self.of < TOO_FEW

    def document(self) -> dict[str, float | int | bool | None]:
        """For JSON."""
        return {"cases": self.cases, "of": self.of, "too_few": self.too_few, **self.estimate.document()}


def share(cases: int, of: int, confidence: float = CONFIDENCE) -> Rate:
    """``cases / of`` with the Clopper-Pearson interval; nothing out of nothing is unknown.

    Raises:
        ValueError: more cases than there are, or a negative count.
    """
    return Rate(cases, of, exact_share(cases, of, confidence))


@dataclass(frozen=True, slots=True)
class Blocks:
    """How cases and denominators spread over blocks of time (days): of x cases out of n in each, the sums of x x, x n
    and n n, and the number of blocks with any n."""

    xx: int
    xn: int
    nn: int
    count: int


def block_share(cases: int, of: int, blocks: Blocks, confidence: float = CONFIDENCE) -> Rate:
    """``cases / of`` where vehicles of one day are more alike than those of two: wind, or a device that is down.

    Korn and Graubard's interval (Survey Methodology 1998, 24, 193): Clopper and Pearson's for as many vehicles as would
    tell as much if they were independent, never more than there are.
    """
    if of == 0 or not 0 <= cases <= of:
        return share(cases, of, confidence)
    value = cases / of
    worth = float(of)
    if blocks.count > 1:
        spread = blocks.xx - 2 * value * blocks.xn + value * value * blocks.nn
        variance = spread / (of * of) * blocks.count / (blocks.count - 1)
        if variance > 0:
            tail = (1.0 + confidence) / 2.0
            fewer = (float(stdtrit(max(1, of - 1), tail)) / float(stdtrit(blocks.count - 1, tail))) ** 2
            worth = min(worth, value * (1 - value) / variance * fewer)
    elif cases not in (0, of):
        worth = 1.0  # one block: how much blocks differ is not known
    hits, tail = value * worth, (1.0 - confidence) / 2.0
    low = 0.0 if cases == 0 else float(betaincinv(hits, worth - hits + 1, tail))
    high = 1.0 if cases == of else float(betaincinv(hits + 1, worth - hits, 1.0 - tail))
    return Rate(cases, of, Estimate(value, low, high))


def per_exposure(cases: int, exposure: float, dispersion: float = 1.0, confidence: float = CONFIDENCE) -> Estimate:
    """Cases an hour (a lorry, a pound…) with Garwood's interval for a Poisson count.

    Args:
        cases: the count.
        exposure: hours, lorries, pounds.
        dispersion: variance over mean of the counts it is made of, where that is over 1: each case then tells less.
        confidence: of the interval.

    Raises:
        ValueError: a negative count, or an exposure that is not positive while there are cases.
    """
    if cases < 0 or exposure < 0 or (exposure == 0 and cases):
        raise ValueError(f"per_exposure: {cases} cases over {exposure}; give counts over a positive exposure")
    if exposure == 0:
        return UNKNOWN
    wider = max(1.0, dispersion)
    low, high = count_bounds(cases / wider, confidence)
    return Estimate(cases / exposure, wider * low / exposure, wider * high / exposure)


def per_find(effort: float, finds: int) -> Estimate:
    """Effort (minutes, pounds) a find: finds an effort upside down, with Garwood's bounds. No find: at least so much.

    Finds are taken as Poisson. That they are part of a fixed number of searches makes the interval too wide, that
    efforts differ makes it too narrow; the first outweighs while efforts spread less than their mean.
    """
    low, high = count_bounds(finds)
    if effort <= 0:
        return UNKNOWN
    return Estimate(effort / finds if finds else None, effort / high, effort / low if low > 0 else None)


def difference(now: Estimate, before: Estimate) -> Estimate:
    """How much more it is now, from two independent estimates with their intervals.

    MOVER: Zou and Donner, Statistics in Medicine 2008, 27, 1693.
    """
    if None in (now.value, now.low, now.high, before.value, before.low, before.high):
        return UNKNOWN
    a, b = now.value or 0.0, before.value or 0.0
    below = sqrt((a - (now.low or 0.0)) ** 2 + ((before.high or 0.0) - b) ** 2)
    above = sqrt(((now.high or 0.0) - a) ** 2 + (b - (before.low or 0.0)) ** 2)
    return Estimate(a - b, a - b - below, a - b + above)


def count_bounds(cases: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Garwood's interval for the mean of a Poisson count."""
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if cases == 0 else float(gammaincinv(cases, tail))
    return low, float(gammaincinv(cases + 1, 1.0 - tail))


def weighted_count(cases: Sequence[int], weights: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """``sum x_i w_i`` with Fay and Feuer's interval (Statistics in Medicine 1997, 16, 791).

    Args:
        cases: Poisson counts, one a stratum.
        weights: one a stratum, > 0: the inverse of the probability that a case of it was looked for. The largest
            counts even where its stratum has no case: that is what keeps the upper bound honest.
        confidence: with no case at all the bound is one-sided at this confidence (3.0 times the largest weight at
            95 %), two-sided otherwise.

    Raises:
        ValueError: no stratum, unequal lengths, or a weight that is not positive.
    """
    if not cases or len(cases) != len(weights) or min(weights) <= 0:
        raise ValueError(f"weighted_count: {len(cases)} counts with {len(weights)} weights; give positive pairs")
    tail, largest = (1.0 - confidence) / 2.0, max(weights)
    total = sum(x * w for x, w in zip(cases, weights, strict=True))
    variance = sum(x * w * w for x, w in zip(cases, weights, strict=True))
    if total == 0:
        return Estimate(0.0, 0.0, largest * float(gammaincinv(1.0, confidence)))
    low = _gamma_quantile(tail, total, variance)
    high = _gamma_quantile(1.0 - tail, total + largest, variance + largest * largest)
    return Estimate(float(total), low, high)


def _gamma_quantile(probability: float, mean: float, variance: float) -> float:
    """Quantile of the gamma distribution with this mean and variance."""
    return float(gammaincinv(mean * mean / variance, probability)) * variance / mean


@dataclass(frozen=True, slots=True)
class Recapture:
    """How many there are, when two that do not know of one another saw ``first`` and ``second`` of them."""

    first: int
    second: int
    both: int
    estimate: Estimate
    standard_error: float

    @property
    def seen(self) -> int:
        """By either."""
        return self.first + self.second - self.both


def chapman(first: int, second: int, both: int, confidence: float = CONFIDENCE) -> Recapture:
    """Chapman's estimate, with Sadinle's transformed logit interval (Comm. Stat. Simulation 2009, 38, 1909).

    Positive dependence between the two makes it too low: it is a floor.

    Raises:
        ValueError: more seen by both than by one of them.
    """
    if not 0 <= both <= min(first, second):
        raise ValueError(f"chapman: {both} seen by both of {first} and {second}; both is part of each")
    value = (first + 1) * (second + 1) / (both + 1) - 1
    only_first, only_second, m = first - both + 0.5, second - both + 0.5, both + 0.5
    variance = (first + 1) * (second + 1) * (first - both) * (second - both) / ((both + 1) ** 2 * (both + 2))
    spread = sqrt(1 / m + 1 / only_first + 1 / only_second + m / (only_first * only_second))
    z = float(ndtri((1.0 + confidence) / 2.0))
    unseen = only_first * only_second / m
    base = first + second - both - 0.5
    return Recapture(
        first,
        second,
        both,
        Estimate(value, base + unseen * exp(-z * spread), base + unseen * exp(z * spread)),
        sqrt(variance),
    )


def quantile_ranks(quantile: float, of: int, confidence: float = CONFIDENCE) -> tuple[int | None, int | None]:
    """Ranks (from 1) of the sorted values between which a quantile lies, whatever the distribution; None: no bound.

    The number of values under the quantile is binomial: rank r is over it with probability P(Bin(of, q) < r).
    """
    tail = (1.0 - confidence) / 2.0
    low = _first(of, lambda rank: float(bdtr(rank, of, quantile)) > tail) if of else 0
    high = _first(of, lambda rank: float(bdtr(rank, of, quantile)) >= 1.0 - tail) + 1 if of else 1
    return (low if low >= 1 else None), (high if high <= of else None)


def _first(of: int, holds: Callable[[int], bool]) -> int:
    """Smallest number from 0 to ``of`` from which on it holds."""
    low, high = -1, of
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
