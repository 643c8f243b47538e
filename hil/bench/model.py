"""What a simulated passage costs, and what weighing one costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np

from fusion.evidence.conditioning import forget
from fusion.judge import gather
from hil.bench.measure import Row, paired_ms
from hil.world.passage import draw_truth, record
from models.simulated import BEGAN_NS, NS, passage_of

SECONDS, RUNS = 45.0, 15
REAL_TIME_SHARE = 1 / 1_000  # goal: a passage is weighed in a thousandth of its time


def rows() -> list[Row]:
    """Two rows."""
    return [_simulated(), _weighed()]


def _simulated() -> Row:
    """A passage without radiograph, all sensors, against the transforms of its sensors alone."""
    seeds = count()

    def make() -> None:
        random = np.random.default_rng(next(seeds))
        record(replace(draw_truth(random, None, 0.0), imager=False), SECONDS, random)

    waves = np.random.default_rng(1).normal(size=(5, 8192))
    measured, floor = paired_ms(make, lambda: np.fft.irfft(np.fft.rfft(waves, axis=1), axis=1), RUNS)
    return Row(f"a passage of {SECONDS:.0f} s simulated, no images", measured, floor, "ms", "an FFT pair a sensor")


def _weighed() -> Row:
    """Evidence of all modalities at the last look, nothing remembered, against a thousandth of the passage."""
    random = np.random.default_rng(7)
    passage = passage_of(record(replace(draw_truth(random, 2, 0.0), imager=True), SECONDS, random))

    def weigh() -> None:
        forget()
        gather(passage, BEGAN_NS + round(SECONDS * NS))

    measured, _ = paired_ms(weigh, lambda: None, RUNS)
    goal_ms = SECONDS * 1e3 * REAL_TIME_SHARE
    return Row("a passage weighed at its last look", measured, goal_ms, "ms", "a thousandth of its length (goal)")
