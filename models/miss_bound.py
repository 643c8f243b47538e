"""The miss bound: a threshold under which at most a stated share of occupied vehicles falls, with stated confidence.

Neyman-Pearson umbrella by an order statistic (Tong, Feng, Li, Science Advances 2018, eaao1659), with the occupied class
as the protected one. Scores must not have been used in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, isfinite, lgamma, log, log1p


def fewest_cases(alpha: float, delta: float) -> int:
    """Occupied cases below which no threshold can be promised: ``ln(delta) / ln(1 - alpha)``."""
    return ceil(log(delta) / log1p(-alpha))


def order(cases: int, alpha: float, delta: float) -> int | None:
    """The largest k with ``P(Bin(cases, alpha) <= k - 1) <= delta``; None where even k = 1 breaks it.

    Raises:
        ValueError: alpha or delta is not strictly between 0 and 1.
    """
    for name, share in (("alpha", alpha), ("delta", delta)):
        if not 0.0 < share < 1.0:
            raise ValueError(f"policy.{name}: {share}: give a share above 0 and below 1")
    cumulative, k = 0.0, 0
    while k < cases:
        cumulative += exp(_log_binomial(cases, k, alpha))
        if cumulative > delta:
            break
        k += 1
    return k or None


def no_search_threshold(occupied_log10_lr: Sequence[float], alpha: float, delta: float) -> float | None:
    """The k-th smallest score: `no_search` only strictly below it. None where the cases are too few.

    Raises:
        ValueError: a score is not finite, or a share is out of range.
    """
    if not all(isfinite(score) for score in occupied_log10_lr):
        raise ValueError("a calibration score is not finite; a silent case has no score and must be left out")
    k = order(len(occupied_log10_lr), alpha, delta)
    return None if k is None else sorted(occupied_log10_lr)[k - 1]


def spent_over_looks(budget: float, looks: int) -> tuple[float, ...]:
    """The error budget in equal shares, so that all looks together keep it (Bonferroni)."""
    if looks < 1:
        raise ValueError(f"policy.looks_s: {looks} looks; give at least one")
    return (budget / looks,) * looks


def _log_binomial(n: int, j: int, p: float) -> float:
    return lgamma(n + 1) - lgamma(j + 1) - lgamma(n - j + 1) + j * log(p) + (n - j) * log1p(-p)
