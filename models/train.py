"""``make train``: simulate, fit, calibrate, write the model and its manifest.

Cases are cut by lorry into three parts that share nothing: one fits a penalised logistic regression per modality and
look (`models.fit`), one makes the calibration curves, the caps and the slopes per pattern, and one, seen by none of
that, gives the tails from which thresholds come.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from fusion.evidence.context import CONTEXT
from fusion.verdict import MODALITIES
from models import fit as fitting
from models import slopes as sloping
from models.curve import cllr
from models.features import FEATURES, Table, Want, collect, joined
from models.graph import CAP_LOG10_LR, Weights, build
from models.manifest import SPENT, TAIL, KnownCase, KnownRow, Manifest, PerModality, Tails

Floats = NDArray[np.float64]
Four = tuple[float, float, float, float]

NAME = "concealment-2"
LOOKS_S = (5.0, 10.0, 15.0, 30.0, 45.0)  # ARCHITECTURE: [policy] looks_s
SCANNED = 0.2  # of the cases have a radiograph: it costs most to make
ALL_SCANNED, OTHER_SEED = 1 / 9, 1_000_000  # and more that all have one, for the patterns that are rare without
PARTS = (0.45, 0.2, 0.35)  # fit, calibrate, thresholds
CHECKS = 10
PRIOR = -3.1  # of the check set alone; the lane's prior is configuration


@dataclass(frozen=True, slots=True)
class Parts:
    """Cases for the fit, for calibration, and for thresholds."""

    fitted: Table
    calibration: Table
    thresholds: Table


def cut(cases: Table, seed: int) -> Parts:
    """By chance, each case whole: it is one lorry at one site, with people of its own."""
    order = np.random.default_rng([seed, 0xC07]).permutation(len(cases))
    first, second = (round(share * len(cases)) for share in (PARTS[0], PARTS[0] + PARTS[1]))
    return Parts(cases.only(order[:first]), cases.only(order[first:second]), cases.only(order[second:]))


def wants(cases: int, seed: int) -> tuple[Want, Want]:
    """What to simulate: lorries as they come, and some more of which all are scanned."""
    scanned = round(ALL_SCANNED * cases)
    return (
        Want(cases - scanned, seed, LOOKS_S, SCANNED),
        Want(scanned, seed + OTHER_SEED, LOOKS_S, 1.0),
    )


def tails(weights: Mapping[str, Weights], slopes: Floats, cases: Table) -> tuple[Tails, ...]:
    """For every pattern of learned modalities and every look: the tails of the cases in which all of it spoke."""
    found = []
    for look in range(len(LOOKS_S)):
        for chosen in sloping.patterns(weights):
            spoke = cases.spoke[:, look][:, chosen].all(axis=1)
            total = sloping.contributions(weights, slopes, cases, look, chosen).sum(axis=1)
            yes, no = np.sort(total[spoke & cases.occupied]), np.sort(total[spoke & ~cases.occupied])[::-1]
            if len(yes) and len(no):
                found.append(
                    Tails(
                        pattern="+".join(MODALITIES[place] for place in chosen),
                        look=look,
                        occupied=len(yes),
                        empty=len(no),
                        occupied_lowest=tuple(round(float(s), 6) for s in yes[:TAIL]),
                        empty_highest=tuple(round(float(s), 6) for s in no[:TAIL]),
                        cllr=round(cllr(yes, no), 4),
                    )
                )
    return tuple(found)


def known_cases(weights: Mapping[str, Weights], slopes: Floats, cases: Table) -> tuple[KnownCase, ...]:
    """The check set: real rows, those in which most spoke, spread over looks."""
    found = []
    talkative = np.argsort(-cases.spoke.sum(axis=(1, 2)), kind="stable")
    for number, index in enumerate(talkative[:CHECKS].tolist()):
        look, one = number % len(LOOKS_S), cases.only(np.array([index]))
        values = {m: tuple(float(v) for v in one.of(m)[0, look]) for m in MODALITIES}
        spoke = [bool(value) for value in one.spoke[0, look]]
        slope = slopes[look, sum(1 << i for i, s in enumerate(spoke) if s)]
        ratios = sloping.sloped(sloping.alone(weights, one, look)[0], slope)
        found.append(
            KnownCase(
                features=KnownRow(**values),
                measured=(spoke[0], spoke[1], spoke[2], spoke[3]),
                context=tuple(float(v) for v in one.context[0, look]),
                look=look,
                prior_log10_odds=PRIOR,
                log10_lr=_four(ratios),
            )
        )
    return tuple(found)


def _four(values: Floats) -> Four:
    first, second, third, fourth = (float(value) for value in values)
    return first, second, third, fourth


def train(cases: Table, seed: int, what: str) -> tuple[bytes, Manifest]:
    """The model's bytes and its manifest; the same arguments give the same bytes on the same machine.

    Raises:
        ValueError: a modality has too few cases to be fitted.
    """
    parts = cut(cases, seed)
    random = np.random.default_rng([seed, 0xCA1])
    weights = {m: fitting.fit(parts.fitted, parts.calibration, m, random) for m in MODALITIES}
    slopes = sloping.fit(weights, parts.calibration)
    graph = build(NAME, weights, slopes, {m: len(FEATURES[m]) for m in MODALITIES}, len(CONTEXT))
    content = graph.SerializeToString(deterministic=True)
    sizes = [len(part) for part in (parts.fitted, parts.calibration, parts.thresholds)]
    manifest = Manifest(
        schema="lanepulse.model/1",
        name=NAME,
        sha256=hashlib.sha256(content).hexdigest(),
        trained_on="simulated",
        calibration=f"{what}; {sizes[0]} fit, {sizes[1]} calibrate, {sizes[2]} give thresholds",
        learned=MODALITIES,
        features=PerModality(**FEATURES),
        context=CONTEXT,
        looks_s=LOOKS_S,
        spent=SPENT,
        cap_log10_lr=CAP_LOG10_LR,
        checks=known_cases(weights, slopes, parts.thresholds),
        tails=tails(weights, slopes, parts.thresholds),
    )
    return content, manifest


@click.command()
@click.option("--cases", default=30_000, show_default=True, type=click.IntRange(200, 1_000_000))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option("--out", default="models/released", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", default="build/cases", show_default=True, type=click.Path(path_type=Path, file_okay=False),
              help="Folder for what was simulated; a training that was stopped goes on.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; as many as there are processors if not given.")
def main(cases: int, seed: int, out: Path, keep: Path, workers: int | None) -> None:
    """Train on simulated passages and write the model with its manifest.

    Example: python -m models.train --cases 30000 --seed 1 --out models/released
    """
    processes = workers or len(os.sched_getaffinity(0))
    made = joined([collect(want, keep, processes, _say) for want in wants(cases, seed)])
    try:
        content, manifest = train(made, seed, f"{cases} simulated passages, seed {seed}")
    except ValueError as fault:
        raise click.ClickException(str(fault)) from None
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{NAME}.onnx").write_bytes(content)
    (out / f"{NAME}.json").write_text(manifest.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    for tail in manifest.tails:
        bounds = manifest.thresholds(tail.pattern.split("+"), tail.look, 0.05, 0.05, 0.01)
        click.echo(
            f"{tail.pattern:26} {LOOKS_S[tail.look]:4.0f} s  {tail.occupied} occupied, {tail.empty} empty  "
            f"Cllr {tail.cllr:.3f}  no_search < {bounds.no_search_log10_lr}  search >= {bounds.search_log10_lr}"
        )


def _say(done: int, cases: int) -> None:
    click.echo(f"{done} of {cases} simulated", err=True)


if __name__ == "__main__":
    main()
