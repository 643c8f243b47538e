"""The fit: penalised logistic regression in pieces, in which more of what speaks for a person never lowers the ratio.

With both classes weighed alike its log odds are log likelihood ratios (SCIENCE 6.3). Each feature is cut into pieces,
so that its weight may change along it. The weight of a rising feature is a sum of straight lines in the context, none
of them negative anywhere in its range, so that no context turns evidence for a person into evidence against one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from fusion.evidence import co2
from fusion.evidence.context import CONTEXT
from fusion.verdict import MODALITIES
from models import curve
from models.features import FEATURES, Table
from models.graph import CAP_LOG10_LR, Weights, pieces, raw_score

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
PIECES = 4  # assumed: of each feature; trees with all freedom were no better on what they had not seen
PENALTY = 10.0  # assumed: of squared weights on scaled columns, against a sum over cases
LEAST_TO_FIT = 20  # assumed: fewer cases of a class give no fit
LEAST_TO_CALIBRATE, TIMID = 40, 0.3  # assumed: with fewer there is no curve, and the ratio stays below two to one
RISING = frozenset(  # more of these speaks for a person
    {
        *("force_log", "explained_log", "apart_log", "beat_log", "each_beat_log"),
        *(
            "repeat_log",
            "breath_log",
            "agreement",
            "shift_log",
            "level_log",
            "step_log",
            "slope_log",
            "shape_log",
            "skin_share",
            "likeness",
            "persistence",
        ),
        *("travels", "alone", "fit"),
    }
)
SAYS = {  # context with a cause
    "vibration": ("wind",),
    "co2": ("airy", "sealed_log", "emitter", "wind"),
    "mmwave": (),
    "xray": (),
}
CONTEXT_RANGE = {  # as fusion/evidence/context.py bounds them
    "mass_log": (-1.0, 1.0),
    "airy": (-1.0, 1.0),
    "sealed_log": (-1.5, 1.5),
    "emitter": (0.0, 1.0),
    "wind": (0.0, 2.0),
}


@dataclass(frozen=True, slots=True)
class Line:
    """The linear part of one modality at one look: bias, features (B,), context (C,), pairs (B, C)."""

    bias: float
    features: Floats
    context: Floats
    pairs: Floats


def fit(cases: Table, calibration: Table, modality: str, random: np.random.Generator) -> Weights:
    """Weights of every look from ``cases``; the curve and its caps from ``calibration``, which the fit never saw.

    Raises:
        ValueError: too few measured cases of a class at some look.
    """
    index, looks = MODALITIES.index(modality), cases.spoke.shape[1]
    place, low, width = cut(cases.of(modality)[cases.spoke[:, :, index]])
    lines, curves, caps = list[Line](), list[curve.Curve](), list[tuple[float, float]]()
    for look in range(looks):
        spoke = cases.spoke[:, look, index]
        occupied = cases.occupied[spoke]
        if min(np.sum(occupied), np.sum(~occupied)) < LEAST_TO_FIT:
            raise ValueError(f"{modality} at look {look}: under {LEAST_TO_FIT} cases of a class; give more --cases")
        z = pieces(cases.of(modality)[spoke, look], place, low, width)
        lines.append(line(z, cases.context[spoke, look], occupied, modality, place))
        linear = _weights(modality, (place, low, width), lines[-1:], [curve.identity()], [(9.0, 9.0)])
        made, cap = _curve(linear, calibration, modality, look, random)
        curves.append(made)
        caps.append(cap)
    return _weights(modality, (place, low, width), lines, curves, caps)


def cut(measured: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Pieces of each feature by rank, from measured rows (n, F): place, low and width, each (B,)."""
    found: list[tuple[int, float, float]] = []
    for index in range(measured.shape[1]):
        edges = np.unique(np.quantile(measured[:, index], np.linspace(0.002, 0.998, PIECES + 1)).round(6))
        if len(edges) < 3:
            edges = np.array([measured[:, index].min(), measured[:, index].max()])
        found += [(index, a, b - a) for a, b in pairwise(edges.tolist()) if b > a]
    place, low, width = zip(*found, strict=True)
    return np.array(place, np.int64), np.array(low), np.array(width)


def line(z: Floats, context: Floats, occupied: Flags, modality: str, place: NDArray[np.int64]) -> Line:
    """One fit; the columns of a rising piece are it alone, and it times each context's way from either end."""
    heard = [CONTEXT.index(name) for name in SAYS[modality]]
    rising = np.array([FEATURES[modality][p] in RISING for p in place.tolist()])
    ends = np.array([CONTEXT_RANGE[name] for name in CONTEXT])
    columns = [z, context[:, heard]]
    for k in heard:
        columns += [z * (context[:, k] - ends[k, 0])[:, None], z * (ends[k, 1] - context[:, k])[:, None]]
    least = np.concatenate([np.where(rising, 0.0, -np.inf), np.full(len(heard), -np.inf)])
    least = np.concatenate([least, *[np.where(rising, 0.0, -np.inf)] * (2 * len(heard))])
    bias, slope = _regress(np.hstack(columns), occupied, least)
    pairs, features = np.zeros((len(place), len(CONTEXT))), slope[: len(place)].copy()
    at = len(place) + len(heard)
    for k in heard:
        up, down = slope[at : at + len(place)], slope[at + len(place) : at + 2 * len(place)]
        pairs[:, k] = up - down
        features += down * ends[k, 1] - up * ends[k, 0]
        at += 2 * len(place)
    told = np.zeros(len(CONTEXT))
    told[heard] = slope[len(place) : len(place) + len(heard)]
    return Line(bias, features, told, pairs)


def _regress(columns: Floats, occupied: Flags, least: Floats) -> tuple[float, Floats]:
    """Bias and weights as log10 ratios, none under ``least``; both classes weigh alike."""
    spread = columns.std(axis=0)
    kept = spread > 1e-9  # what never varies has no say
    scaled = columns[:, kept] / spread[kept]
    n = len(occupied)
    weight = np.where(occupied, 0.5 * n / occupied.sum(), 0.5 * n / (~occupied).sum())
    sign = np.where(occupied, 1.0, -1.0)

    def cost(w: Floats) -> tuple[float, Floats]:
        margin = sign * (scaled @ w[1:] + w[0])
        pull = -weight * sign * expit(-margin)
        value = float(weight @ np.logaddexp(0.0, -margin)) + 0.5 * PENALTY * float(w[1:] @ w[1:])
        return value, np.concatenate(([pull.sum()], scaled.T @ pull + PENALTY * w[1:]))

    bounds = [(None, None), *((low if np.isfinite(low) else None, None) for low in least[kept])]
    found = minimize(cost, np.zeros(1 + scaled.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds,
                     options={"maxiter": 500})  # fmt: skip
    slope = np.zeros(columns.shape[1])
    slope[kept] = found.x[1:] / spread[kept] / log(10.0)
    return float(found.x[0]) / log(10.0), slope


def _curve(
    linear: Weights, calibration: Table, modality: str, look: int, random: np.random.Generator
) -> tuple[curve.Curve, tuple[float, float]]:
    """The curve of one look from cases the fit never saw, and how far the ratio may go by their number."""
    spoke = calibration.spoke[:, look, MODALITIES.index(modality)]
    occupied = calibration.occupied[spoke]
    raw = raw_score(linear, calibration.of(modality)[spoke, look], calibration.context[spoke, look], 0)
    if min(occupied.sum(), (~occupied).sum()) < LEAST_TO_CALIBRATE:
        return curve.identity(), (TIMID, TIMID)
    made = curve.fit(raw, occupied, random)
    return made, curve.bounds(made.at(raw), occupied, CAP_LOG10_LR)


def _weights(
    modality: str,
    cut_at: tuple[NDArray[np.int64], Floats, Floats],
    lines: Sequence[Line],
    curves: Sequence[curve.Curve],
    caps: Sequence[tuple[float, float]],
) -> Weights:
    return Weights(
        *cut_at,
        bias=np.array([one.bias for one in lines]),
        features=np.stack([one.features for one in lines]),
        context=np.stack([one.context for one in lines]),
        pairs=np.stack([one.pairs for one in lines]),
        knots=np.stack([one.knots for one in curves]),
        values=np.stack([one.values for one in curves]),
        caps=np.array(caps),
        only_raises_below=co2.FEATURES.index("settled") if modality == "co2" else None,
    )
