"""``python -m hil.world make --cases N --out DIR``: bundles of lorries whose truth is known.

Case i of a seed is always the same, whoever makes it and in what order; what is there already is not made again, so a
run that was stopped goes on. ``dataset.toml`` says what they are. ``incidents`` writes the three of SCIENCE 3.4.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import numpy as np

from hil.world import bundle, real
from hil.world.incidents import INCIDENTS, incident
from hil.world.make import BEGAN_NS, EVERY_NS, Order, make_all
from hil.world.passage import record


@click.group()
def main() -> None:
    """The simulated world."""


@main.command(epilog="\b\nExample:\n  python -m hil.world make --cases 1000 --out build/lorries --seed 7")
@click.option("--cases", required=True, type=click.IntRange(1, 10_000_000), help="How many passages.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the bundles.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**32 - 1))
@click.option("--seconds", default=47.0, show_default=True, type=click.FloatRange(1, 600), help="Length of each.")
@click.option("--occupied", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Share with people.")
@click.option("--people", type=click.IntRange(1, 40), help="So many in each; as found lorries hold if not given.")
@click.option("--images/--no-images", default=True, show_default=True, help="Imager frames and radiographs.")
@click.option("--scanned", default=0.3, show_default=True, type=click.FloatRange(0, 1), help="Share with a radiograph.")
@click.option(
    "--beyond", default=0.0, type=click.FloatRange(0, 1), help="Leave every range by this share of its width."
)
@click.option("--real", "recordings", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Recordings to mix in as hearts and ground.")  # fmt: skip
@click.option("--half", default="test", show_default=True, type=click.Choice(real.HALVES), help="Which persons.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; as many as there are processors if not given.")
def make(
    cases: int, out: Path, seed: int, seconds: float, occupied: float, people: int | None, images: bool,
    scanned: float, beyond: float, recordings: Path | None, half: str, workers: int | None,
) -> None:  # fmt: skip
    """Make bundles; a run that was stopped goes on."""
    order = Order(out, seed, seconds, occupied, people, images, scanned, beyond, recordings, half)
    try:
        make_all(order, cases, workers or len(os.sched_getaffinity(0)), _say)
    except (OSError, real.NoRecordings) as fault:
        raise click.ClickException(str(fault)) from None


def _say(done: int, cases: int, rate: float) -> None:
    click.echo(f"{done} of {cases}, {rate:.1f} made a second", err=True)


@main.command()
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**32 - 1))
def incidents(out: Path, seed: int) -> None:
    """The three incidents of SCIENCE 3.4, each met when the probe's zone has just passed the limit."""
    for index, which in enumerate(INCIDENTS):
        random = np.random.default_rng([seed, index])
        truth = incident(which, random)
        name = bundle.passage_id(BEGAN_NS + index * EVERY_NS, seed, index)
        if not (out / name).is_dir():
            bundle.write(out, record(truth, 47.0, random), name, BEGAN_NS + index * EVERY_NS)
        click.echo(f"{name}  {which.name}: {which.people} people, sealed for {truth.air.sealed_for_s / 60:.0f} min")


if __name__ == "__main__":
    sys.exit(main())
