"""``python -m models.train``: simulate, fit, calibrate, write the model and its manifest.

Half of the cases fit a penalised logistic regression per modality and look (SCIENCE 6.3); with balanced classes its log
odds are log likelihood ratios. The other half, never seen by the fit, gives the tails from which thresholds come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from fusion.classifier import LR_DECIMALS
from fusion.evidence import co2, vibration
from fusion.evidence.context import CONTEXT
from fusion.verdict import MODALITIES, State
from models.graph import CAP_LOG10_LR, Weights, build, log10_lr
from models.manifest import TAIL, KnownCase, KnownRow, Manifest, PerModality, Tails
from models.simulated import Case, simulate

Floats = NDArray[np.float64]

NAME = "concealment-1"
LOOKS_S = (5.0, 10.0, 15.0, 30.0, 45.0)  # ARCHITECTURE: [policy] looks_s
LEARNED = ("vibration", "co2")
FEATURES = {"vibration": vibration.FEATURES, "co2": co2.FEATURES, "mmwave": ("unused",), "xray": ("unused",)}
SAYS = {"vibration": ("mass_log", "wind"), "co2": ("airy", "sealed_log", "emitter", "wind")}  # context with a cause
RISING = frozenset({"energy_log", "rhythm_log", "agreement", "excess_log", "slope_log"})  # more speaks for a person
CONTEXT_RANGE = {  # as fusion/evidence/context.py bounds them
    "mass_log": (-1.0, 1.0),
    "airy": (-1.0, 1.0),
    "sealed_log": (-1.5, 1.5),
    "emitter": (0.0, 1.0),
    "wind": (0.0, 2.0),
}
PENALTY_C = 0.1  # assumed: of scikit-learn, on standardised terms
LEAST_TO_FIT = 40  # assumed: fewer cases of a class give no fit
CHECKS = 8
PRIOR = -3.1  # of the check set alone; the lane's prior is configuration


def rows(cases: Sequence[Case], look: int, modality: str) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Features (n, F), context (n, C), measured (n,); rows of zeros where not measured."""
    names, place = FEATURES[modality], LEARNED.index(modality)
    x, c, spoke = np.zeros((len(cases), len(names))), np.zeros((len(cases), len(CONTEXT))), np.zeros(len(cases), bool)
    for i, case in enumerate(cases):
        evidence, context = case.looks[look][:2][place], case.looks[look][2]
        c[i] = [context[name] for name in CONTEXT]
        spoke[i] = evidence.state is State.MEASURED
        if spoke[i]:
            x[i] = [evidence.features[name] for name in names]
    return x, c, spoke


def fit(cases: Sequence[Case], modality: str) -> Weights:
    """Weights of every look.

    Raises:
        ValueError: too few measured cases of a class at some look.
    """
    occupied = np.array([case.occupied for case in cases])
    looks = []
    for look in range(len(LOOKS_S)):
        x, c, spoke = rows(cases, look, modality)
        if min(np.sum(spoke & occupied), np.sum(spoke & ~occupied)) < LEAST_TO_FIT:
            raise ValueError(
                f"{modality} at {LOOKS_S[look]:g} s: under {LEAST_TO_FIT} cases of a class; give more --cases"
            )
        heard = np.array([name in SAYS[modality] for name in CONTEXT])
        looks.append(_fit_one(x[spoke], c[spoke] * heard, occupied[spoke], modality))
    bias, features, context, pairs = (np.stack(part) for part in zip(*looks, strict=True))
    flag = co2.FEATURES.index("plateau") if modality == "co2" else None
    return Weights(bias, features, context, pairs, flag)


def _fit_one(x: Floats, c: Floats, occupied: NDArray[np.bool_], modality: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Logistic regression on features, context and their products, as log10 likelihood ratio.

    More of what speaks for a person must never lower the ratio, in any context: terms that would let it are dropped
    one by one, the worst first, and the rest is fitted again.
    """
    n, wide = x.shape
    design = np.hstack([x, c, (x[:, :, None] * c[:, None, :]).reshape(n, -1)])
    kept = design.std(axis=0) > 1e-9  # what never varies has no say
    first, second = wide, wide + c.shape[1]
    while True:
        bias, slope = _regress(design, kept, occupied)
        pairs = slope[second:].reshape(wide, -1)
        worst = _falling(slope[:first], pairs, modality)
        if worst is None:
            return np.array(bias), slope[:first], slope[first:second], pairs
        feature, context = worst
        kept[feature if context is None else second + feature * c.shape[1] + context] = False


def _regress(design: Floats, kept: NDArray[np.bool_], occupied: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Bias and slopes on the raw columns, 0 for those not kept."""
    mean, spread = design.mean(axis=0), design.std(axis=0)
    model = LogisticRegression(C=PENALTY_C, max_iter=2000, tol=1e-8)
    model.fit(((design - mean) / np.where(kept, spread, 1.0))[:, kept], occupied)
    slope = np.zeros(design.shape[1])
    slope[kept] = model.coef_[0] / spread[kept] / np.log(10)
    odds_of_sample = np.log10(occupied.sum() / (~occupied).sum())
    return float(model.intercept_[0]) / np.log(10) - float(odds_of_sample) - float(slope @ mean), slope


def _falling(slope: Floats, pairs: Floats, modality: str) -> tuple[int, int | None] | None:
    """(feature, context or None for its own slope) of the term to drop where a rising feature could lower the ratio."""
    bounds = np.array([CONTEXT_RANGE[name] for name in CONTEXT])
    for feature, name in enumerate(FEATURES[modality]):
        if name not in RISING:
            continue
        least = np.minimum(pairs[feature] * bounds[:, 0], pairs[feature] * bounds[:, 1])
        if slope[feature] + least.sum() < 0:
            return (feature, int(np.argmin(least))) if least.min() < 0 else (feature, None)
    return None


def scores(weights: dict[str, Weights], cases: Sequence[Case], look: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Contributions (n, 2) as the classifier rounds them, and which modalities spoke (n, 2)."""
    ratios, spoken = [], []
    for modality in LEARNED:
        x, c, spoke = rows(cases, look, modality)
        ratios.append(np.where(spoke, np.round(log10_lr(weights[modality], x, c, look), LR_DECIMALS), 0.0))
        spoken.append(spoke)
    return np.stack(ratios, axis=1), np.stack(spoken, axis=1)


def cllr(occupied: Floats, empty: Floats) -> float:
    """Cost of log10 likelihood ratios: 0 perfect, 1 says nothing (SCIENCE 6.4)."""
    misses = np.mean(np.log2(1 + 10.0**-occupied))
    alarms = np.mean(np.log2(1 + 10.0**empty))
    return float(0.5 * (misses + alarms))


def tails(weights: dict[str, Weights], cases: Sequence[Case]) -> tuple[Tails, ...]:
    """For every pattern of learned modalities and every look: the tails of the cases in which all of it spoke."""
    occupied = np.array([case.occupied for case in cases])
    found = []
    for look in range(len(LOOKS_S)):
        ratios, spoken = scores(weights, cases, look)
        for size in range(1, len(LEARNED) + 1):
            for chosen in combinations(range(len(LEARNED)), size):
                all_spoke = spoken[:, chosen].all(axis=1)
                total = ratios[:, chosen].sum(axis=1)
                yes, no = np.sort(total[all_spoke & occupied]), np.sort(total[all_spoke & ~occupied])[::-1]
                if not len(yes) or not len(no):
                    continue
                found.append(
                    Tails(
                        pattern="+".join(LEARNED[i] for i in chosen),
                        look=look,
                        occupied=len(yes),
                        empty=len(no),
                        occupied_lowest=tuple(float(s) for s in yes[:TAIL]),
                        empty_highest=tuple(float(s) for s in no[:TAIL]),
                        cllr=round(cllr(yes, no), 4),
                    )
                )
    return tuple(found)


def known_cases(weights: dict[str, Weights], cases: Sequence[Case]) -> tuple[KnownCase, ...]:
    """The check set: real rows of the calibration half, spread over looks."""
    found = []
    for i, case in enumerate(cases[:CHECKS]):
        look = i % len(LOOKS_S)
        ratio, spoken, values = dict.fromkeys(MODALITIES, 0.0), dict.fromkeys(MODALITIES, True), {}
        for modality in MODALITIES:
            values[modality] = (0.0,) * len(FEATURES[modality])
            if modality in LEARNED:
                x, c, spoke = rows([case], look, modality)
                values[modality], spoken[modality] = tuple(float(v) for v in x[0]), bool(spoke[0])
                ratio[modality] = float(log10_lr(weights[modality], x, c, look)[0]) if spoke[0] else 0.0
        first, second, third, fourth = (ratio[m] for m in MODALITIES)
        measured = (spoken["vibration"], spoken["co2"], spoken["mmwave"], spoken["xray"])
        context = tuple(case.looks[look][2][name] for name in CONTEXT)
        found.append(
            KnownCase(
                features=KnownRow(**values),
                measured=measured,
                context=context,
                look=look,
                prior_log10_odds=PRIOR,
                log10_lr=(first, second, third, fourth),
            )
        )
    return tuple(found)


def train(cases: int, seed: int) -> tuple[bytes, Manifest]:
    """The model's bytes and its manifest; the same arguments give the same bytes on the same machine."""
    every = [simulate(index, seed, LOOKS_S) for index in range(cases)]
    half = cases // 4 * 2  # even, so that both halves hold as many occupied as empty
    weights = {modality: fit(every[:half], modality) for modality in LEARNED}
    graph = build(NAME, weights, {m: len(FEATURES[m]) for m in MODALITIES}, len(CONTEXT))
    content = graph.SerializeToString(deterministic=True)
    manifest = Manifest(
        schema="lanepulse.model/1",
        name=NAME,
        sha256=hashlib.sha256(content).hexdigest(),
        trained_on="simulated",
        calibration=f"{cases - half} simulated passages, seed {seed}; {half} others fitted it",
        learned=LEARNED,
        features=PerModality(**FEATURES),
        context=CONTEXT,
        looks_s=LOOKS_S,
        cap_log10_lr=CAP_LOG10_LR,
        checks=known_cases(weights, every[half:]),
        tails=tails(weights, every[half:]),
    )
    return content, manifest


@click.command()
@click.option("--cases", default=6000, show_default=True, type=click.IntRange(200, 1_000_000))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option("--out", default="models/released", show_default=True, type=click.Path(path_type=Path, file_okay=False))
def main(cases: int, seed: int, out: Path) -> None:
    """Train on simulated passages and write the model with its manifest.

    Example: python -m models.train --cases 6000 --seed 1 --out models/released
    """
    content, manifest = train(cases, seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.onnx").write_bytes(content)
    (out / f"{NAME}.json").write_text(manifest.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    for tail in manifest.tails:
        bounds = manifest.thresholds(tail.pattern.split("+"), tail.look, 0.05, 0.05, 0.01)
        click.echo(
            f"{tail.pattern:14} {LOOKS_S[tail.look]:4.0f} s  {tail.occupied} occupied, {tail.empty} empty  "
            f"Cllr {tail.cllr:.3f}  no_search < {bounds.no_search_log10_lr}  search >= {bounds.search_log10_lr}"
        )


if __name__ == "__main__":
    main()
