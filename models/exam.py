"""``python -m models.exam``: what the released model is worth on simulated passages that nothing was learned from.

The figures of a model card: Pd and Pfa with exact 95 % intervals at thresholds that other cases gave, the decided share
of lorries, calibration, by wind, body, number of people and modality. The seed must not be the training's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nextafter
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fusion.classifier import LR_DECIMALS
from fusion.evaluation.exact_share import exact_share
from fusion.evaluation.metrics import merit
from fusion.policy import Policy
from fusion.verdict import MODALITIES
from models.features import Table, Want, collect
from models.manifest import Manifest, Tails, read_manifest

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
WIND_BANDS_M_S = ((0.0, 1.0), (1.0, 3.0), (3.0, 6.0), (6.0, 99.0))
BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Exam:
    """A model, what it was made from, and cases; ``allowed`` (4,) says which modalities may speak."""

    session: ort.InferenceSession
    manifest: Manifest
    cases: Table

    def ratios(self, look: int, allowed: Sequence[str]) -> tuple[Floats, Flags]:
        """Contributions (n, 4) as the classifier rounds them, and which spoke (n, 4)."""
        may = np.array([modality in allowed for modality in MODALITIES])
        spoke = self.cases.spoke[:, look] & may
        found = []
        for begin in range(0, len(self.cases), BATCH):
            rows = slice(begin, begin + BATCH)
            feed = {m: self.cases.of(m)[rows, look] for m in MODALITIES}
            n = len(spoke[rows])
            feed |= {"measured": spoke[rows], "context": self.cases.context[rows, look]}
            feed |= {"look": np.full(n, look, np.int64), "prior_log10_odds": np.full(n, -3.1)}
            found.append(self.session.run(["log10_lr"], feed)[0])
        return np.round(np.concatenate(found), LR_DECIMALS), spoke

    def tail(self, spoke: Flags, look: int) -> Tails | None:
        """What was kept of the pattern's calibration scores."""
        name = "+".join(m for m, said in zip(MODALITIES, spoke, strict=True) if said)
        return next((tail for tail in self.manifest.tails if (tail.pattern, tail.look) == (name, look)), None)

    def alarms(self, look: int, allowed: Sequence[str], pfa: float) -> tuple[Floats, Flags, Flags]:
        """At one look that has the whole budget: totals, whether each alarms, and whether any modality spoke."""
        ratios, spoke = self.ratios(look, allowed)
        total, over = ratios.sum(axis=1), np.zeros(len(ratios), np.bool_)
        for pattern in np.unique(spoke, axis=0):
            tail = self.tail(pattern, look)
            mine = (spoke == pattern).all(axis=1)
            if tail is not None and 0 < (count := int(pfa * tail.empty)) < len(tail.empty_highest):
                over[mine] = total[mine] >= nextafter(tail.empty_highest[count], np.inf)
        return total, over, np.asarray(spoke.any(axis=1), np.bool_)

    def levels(self, allowed: Sequence[str], policy: Policy, looks: int) -> NDArray[np.str_]:
        """The final level of each by the policy's bounds over the first ``looks`` looks, life safety aside."""
        found = np.full(len(self.cases), "recheck", dtype="<U9")
        open_yet = np.ones(len(self.cases), np.bool_)
        for look in range(looks):
            ratios, spoke = self.ratios(look, allowed)
            total = ratios.sum(axis=1)
            for pattern in np.unique(spoke, axis=0):
                names = [m for m, said in zip(MODALITIES, pattern, strict=True) if said]
                bounds = self.manifest.thresholds(names, look, policy.alpha, policy.delta, policy.pfa)
                mine = (spoke == pattern).all(axis=1) & open_yet
                if not names:
                    continue
                if bounds.search_log10_lr is not None:
                    found[mine & (total >= bounds.search_log10_lr)] = "search"
                if bounds.no_search_log10_lr is not None:
                    found[mine & (total < bounds.no_search_log10_lr) & (found == "recheck")] = "no_search"
            open_yet = found == "recheck"
        return found


def open_exam(model: Path, cases: Table) -> Exam:
    """The model at ``model`` (.onnx) with its manifest beside it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    manifest = read_manifest(model.with_suffix(".json").read_bytes())
    session = ort.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    return Exam(session, manifest, cases)


def shares(exam: Exam, over: Flags, among: Flags) -> dict[str, Any]:
    """Pd and Pfa of those ``among``, exact intervals."""
    occupied = exam.cases.occupied
    yes, no = occupied & among, ~occupied & among
    return {"pd": _share(over[yes]), "pfa": _share(over[no])}


def _share(over: Flags) -> dict[str, Any]:
    found = exact_share(int(over.sum()), len(over))
    return {"value": found.value, "low": found.low, "high": found.high, "n": len(over)}


def fused(exam: Exam, look: int, allowed: Sequence[str], among: Flags) -> dict[str, Any]:
    """All that is asked of one choice of modalities at one look."""
    total, over, spoke = exam.alarms(look, allowed, 0.01)
    occupied = exam.cases.occupied
    found = shares(exam, over, among) | _cost(total[among & occupied], total[among & ~occupied])
    found["people"] = {str(count): _share(over[among & (exam.cases.people == count)]) for count in (1, 2, 3, 4, 5)}
    found["three_less_one"] = _difference(
        over[among & (exam.cases.people == 3)], over[among & (exam.cases.people == 1)]
    )
    found["body"] = {
        body: shares(exam, over, among & (exam.cases.body == body)) for body in np.unique(exam.cases.body).tolist()
    }
    found["nobody_spoke"] = int((~spoke & among).sum())
    return found


def _cost(yes: Floats, no: Floats) -> dict[str, Any]:
    found = merit(yes, no)
    cost = {
        name: vars_of(part) for name, part in (("auc", found.auc), ("cllr", found.cllr), ("cllr_min", found.cllr_min))
    }
    value, least = found.cllr.value, found.cllr_min.value
    return cost | {"calibration_loss": None if value is None or least is None else value - least}


def vars_of(part: Any) -> dict[str, Any]:
    """An estimate as JSON."""
    return {"value": part.value, "low": part.low, "high": part.high}


def _difference(three: Flags, one: Flags) -> dict[str, float]:
    """Difference of two shares, normal interval at 95 %."""
    a, b = float(three.mean()), float(one.mean())
    wide = 1.96 * float(np.sqrt(a * (1 - a) / len(three) + b * (1 - b) / len(one)))
    return {"value": a - b, "low": a - b - wide, "high": a - b + wide}


def decided(exam: Exam, allowed: Sequence[str], among: Flags, looks: int) -> dict[str, Any]:
    """How empty and occupied lorries end by the default policy."""
    levels = exam.levels(allowed, Policy(), looks)
    occupied = exam.cases.occupied
    return {
        name: {level: _share(levels[group & among] == level) for level in ("no_search", "recheck", "search")}
        for name, group in (("occupied", occupied), ("empty", ~occupied))
    }


def report(exam: Exam) -> dict[str, Any]:
    """The figures of the model card."""
    wind, spoke = exam.cases.wind_m_s, exam.cases.spoke
    calm, look = wind <= 3.0, 3
    three = ("vibration", "co2", "mmwave")
    heard = spoke[:, look, :2].all(axis=1)
    all_three = spoke[:, look, :3].all(axis=1)
    scanned = spoke[:, look, 3]
    bands = {f"{low:g}-{high:g}": (wind >= low) & (wind < high) for low, high in WIND_BANDS_M_S}
    return {
        "model": exam.manifest.name,
        "cases": len(exam.cases),
        "occupied": int(exam.cases.occupied.sum()),
        "30 s, calm, every lorry": fused(exam, look, three, calm),
        "30 s, calm, vibration and CO2 measured": fused(exam, look, three, calm & heard),
        "30 s, calm, all three measured": fused(exam, look, three, calm & all_three),
        "30 s, calm, scanned, with the radiograph": fused(exam, look, MODALITIES, calm & scanned),
        "30 s, scanned, radiograph alone": fused(exam, look, ("xray",), scanned),
        "vibration alone": {f"look {k}": fused(exam, k, ("vibration",), spoke[:, k, 0]) for k in range(5)},
        "CO2 alone": {f"look {k}": fused(exam, k, ("co2",), spoke[:, k, 1]) for k in range(5)},
        "mmwave alone": fused(exam, look, ("mmwave",), spoke[:, look, 2]),
        "decided in 45 s": {name: decided(exam, three, band, 5) for name, band in bands.items()},
        "decided in 45 s, calm, vibration and CO2": decided(exam, three, calm & heard, 5),
        "decided in 45 s, calm, all three": decided(exam, three, calm & all_three, 5),
        "decided in 45 s, with radiographs": decided(exam, MODALITIES, calm & scanned, 5),
        "every wind, 30 s": fused(exam, look, three, np.ones(len(wind), np.bool_)),
    }


@click.command()
@click.option("--model", default="models/released/concealment-2.onnx", show_default=True,
              type=click.Path(exists=True, dir_okay=False, path_type=Path))  # fmt: skip
@click.option("--cases", default=12_000, show_default=True, type=click.IntRange(200, 1_000_000))
@click.option("--seed", default=2, show_default=True, type=click.IntRange(0))
@click.option("--keep", default="build/cases", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--workers", type=click.IntRange(1, 256))
def main(model: Path, cases: int, seed: int, keep: Path, workers: int | None) -> None:
    """Examine a model on simulated passages of a seed that it has not seen; one JSON object."""
    looks = read_manifest(model.with_suffix(".json").read_bytes()).looks_s
    want = Want(cases, seed, looks, 0.2)
    made = collect(want, keep, workers or len(os.sched_getaffinity(0)), _say)
    click.echo(json.dumps(report(open_exam(model, made)), indent=1, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return float(value) if isinstance(value, np.floating) else str(value)


def _say(done: int, cases: int) -> None:
    click.echo(f"{done} of {cases} simulated", err=True)


if __name__ == "__main__":
    main()
