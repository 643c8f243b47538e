"""Slopes per pattern: modalities that share a cause (load, time aboard, wind) must not count it twice (SCIENCE 6.3).

For each look and each pattern of modalities that spoke, the slopes minimise Cllr of the sloped sum on cases that no fit
saw, held towards 1. What speaks against a person has a slope of its own: silence of one modality says less beside
another that hears a heart, and its cap keeps that one from shouting it down. Slopes are never above 1: fusion does not
make a modality surer than it is alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fusion.classifier import LR_DECIMALS
from fusion.verdict import MODALITIES
from models.curve import cllr
from models.features import Table
from models.graph import AGAINST, FOR, Weights, log10_lr, no_slopes

Floats = NDArray[np.float64]
LEAST = 0.2  # assumed: below this a modality had better be left out
HELD = 20.0  # assumed: this many cases' worth of belief that the slope is 1
TOO_FEW, CAREFUL = 60, 0.8  # assumed: a pattern with fewer cases of a class is taken to share causes


def alone(weights: Mapping[str, Weights], cases: Table, look: int) -> Floats:
    """Calibrated ratios before slopes, (n, 4), 0 where silent."""
    found = np.zeros((len(cases), len(MODALITIES)))
    for place, modality in enumerate(MODALITIES):
        spoke = cases.spoke[:, look, place]
        if modality in weights and spoke.any():
            found[spoke, place] = log10_lr(
                weights[modality], cases.of(modality)[spoke, look], cases.context[spoke, look], look
            )
    return found


def patterns(learned: Mapping[str, Weights]) -> Iterator[tuple[int, ...]]:
    """Every set of learned modalities, as places, smallest first."""
    places = [place for place, modality in enumerate(MODALITIES) if modality in learned]
    for size in range(1, len(places) + 1):
        yield from combinations(places, size)


def fit(weights: Mapping[str, Weights], cases: Table) -> Floats:
    """Slopes (L, 16, 4, 2), by side."""
    looks = cases.spoke.shape[1]
    found = no_slopes(looks)
    for look in range(looks):
        ratios = alone(weights, cases, look)
        for chosen in patterns(weights):
            if len(chosen) > 1:
                spoke = cases.spoke[:, look][:, chosen].all(axis=1)
                number = sum(1 << place for place in chosen)
                found[look, number, list(chosen)] = _of(ratios[spoke][:, chosen], cases.occupied[spoke])
    return found


def _of(ratios: Floats, occupied: NDArray[np.bool_]) -> Floats:
    least = min(occupied.sum(), (~occupied).sum())
    if least < TOO_FEW:
        return np.full((ratios.shape[1], 2), CAREFUL)
    sides = np.hstack([np.minimum(ratios, 0.0), np.maximum(ratios, 0.0)])

    def cost(slopes: Floats) -> float:
        total = sides @ slopes
        return cllr(total[occupied], total[~occupied]) + HELD / len(ratios) * float(((slopes - 1) ** 2).sum())

    start = np.full(sides.shape[1], 0.9)
    found = minimize(cost, start, method="L-BFGS-B", bounds=[(LEAST, 1.0)] * sides.shape[1])
    return np.round(found.x.reshape(2, -1).T, 6)


def sloped(ratios: Floats, slopes: Floats) -> Floats:
    """Each ratio (n, 4) times the slope of its side; slopes (4, 2) or (n, 4, 2)."""
    return np.asarray(np.where(ratios < 0, ratios * slopes[..., AGAINST], ratios * slopes[..., FOR]), np.float64)


def contributions(
    weights: Mapping[str, Weights], slopes: Floats, cases: Table, look: int, chosen: tuple[int, ...] | None = None
) -> Floats:
    """What each modality adds, (n, 4), as the classifier rounds it: in the pattern ``chosen``, else in each case's own.

    With ``chosen`` only cases in which all of it spoke mean anything.
    """
    ratios = alone(weights, cases, look)
    if chosen is None:
        number = cases.spoke[:, look].astype(np.int64) @ (1 << np.arange(len(MODALITIES)))
        return np.asarray(np.round(sloped(ratios, slopes[look, number]), LR_DECIMALS), np.float64)
    among = np.isin(np.arange(len(MODALITIES)), chosen)
    made = sloped(ratios, slopes[look, sum(1 << place for place in chosen)])
    return np.asarray(np.where(among, np.round(made, LR_DECIMALS), 0.0), np.float64)
