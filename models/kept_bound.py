"""``make miss-bound``: is the miss bound kept when the calibration is done again and again with other lorries?

The occupied cases of a large simulated set stand for the world. Each calibration draws some of them anew, takes its
thresholds as the manifest does, with the error budget spent over the looks, and is held against the whole set: it
breaks the bound where more than alpha of the occupied would have been let go at any look.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from models.exam import open_exam
from models.features import Want, collect
from models.manifest import read_manifest
from models.miss_bound import order

Floats = NDArray[np.float64]
MOST_BROKEN_SHARE = 0.1  # 20 of 200: delta is 0.05, and 200 tries are few


def broken(
    scores: Floats, calibrations: int, cases: int, alpha: float, delta: float, spent: Sequence[float], seed: int
) -> int:
    """How many of so many calibrations break the bound; ``scores`` (n, L) of all occupied cases at all looks."""
    random = np.random.default_rng(seed)
    count = 0
    for _ in range(calibrations):
        chosen = np.sort(scores[random.integers(len(scores), size=cases)], axis=0)
        let_go = np.zeros(len(scores), np.bool_)
        for look, share in enumerate(spent):
            k = order(cases, alpha * share, delta * share)
            if k is not None:
                let_go |= scores[:, look] < chosen[k - 1, look]
        count += bool(let_go.mean() > alpha)
    return count


@click.command()
@click.option("--model", default="models/released/concealment-2.onnx", show_default=True,
              type=click.Path(exists=True, dir_okay=False, path_type=Path))  # fmt: skip
@click.option("--cases", default=6_000, show_default=True, type=click.IntRange(500, 1_000_000))
@click.option("--seed", default=2, show_default=True, type=click.IntRange(0))
@click.option("--calibrations", default=200, show_default=True, type=click.IntRange(20, 100_000))
@click.option("--keep", default="build/cases", show_default=True, type=click.Path(path_type=Path, file_okay=False))
def main(model: Path, cases: int, seed: int, calibrations: int, keep: Path) -> None:
    """Exit 1 where more calibrations break the bound than may."""
    manifest = read_manifest(model.with_suffix(".json").read_bytes())
    want = Want(cases, seed, manifest.looks_s, 0.2)
    made = collect(want, keep, len(os.sched_getaffinity(0)), lambda done, of: click.echo(f"{done} of {of}", err=True))
    exam = open_exam(model, made)
    spent = manifest.spent or (1 / len(manifest.looks_s),) * len(manifest.looks_s)
    worst = 0
    for allowed in (("vibration", "co2"), ("vibration", "co2", "mmwave")):
        looks = [exam.ratios(look, allowed) for look in range(len(spent))]
        wanted = [name in allowed for name in ("vibration", "co2", "mmwave", "xray")]
        all_spoke = np.logical_and.reduce([(spoke == wanted).all(axis=1) for _, spoke in looks])
        chosen = all_spoke & made.occupied
        scores = np.stack([ratios[chosen].sum(axis=1) for ratios, _ in looks], axis=1)
        for number in (500, 1_000, 2_000):
            count = broken(scores, calibrations, number, 0.05, 0.05, spent, seed)
            worst = max(worst, count)
            pattern = "+".join(allowed)
            click.echo(f"{pattern:26} {number:5} occupied a calibration: {count} of {calibrations} break 5 %")
    if worst > MOST_BROKEN_SHARE * calibrations:
        raise click.ClickException(f"{worst} of {calibrations} break it; at most {MOST_BROKEN_SHARE:.0%} may")


if __name__ == "__main__":
    main()
