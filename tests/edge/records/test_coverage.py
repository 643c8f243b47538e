"""Do the printed 95 % intervals hold the truth? Generated years whose truth is known, each with another seed.

``make coverage-record`` runs 200 years and prints how wide the intervals are; the tests run a few.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import pytest
from scipy import stats

from edge.records.analysis_misses import alarms, all_missed
from edge.records.answers import answers
from edge.records.asked import Asked, ask
from edge.records.changes import FALSE_ALARMS_PER_DAY
from edge.records.intervals import Rate, chapman
from edge.records.local_time import zone
from edge.records.relations import Record
from edge.records.sections import Section
from fusion.evaluation.exact_share import Estimate
from hil.record_lake import write
from hil.record_lorries import World, draw, weather
from hil.record_truth import Key, Truth, let_pass

YEARS = int(os.environ.get("YEARS", "3"))
TRUTH_YEARS = max(40, 2 * YEARS)
LANES = (("calais", "1"), ("dunkirk", "1"))
NAMES = [f"{site}/{lane}" for site, lane in LANES]
DAYS, EACH_DAY = 365, 40
QUANTILES = {"bay median s": 0.5, "bay p95 s": 0.95}
PARTS = (
    "misses",
    "covert",
    "advice",
    "technique",
    "contractors",
    "overrides",
    "modalities",
    "availability",
    "times",
    "queue",
    "hours",
    "factors",
)


@dataclass
class Held:
    """Of each interval: whether it held the truth, year by year, and how wide it was beside its value."""

    held: dict[Key, list[bool]] = field(default_factory=lambda: defaultdict(list))
    width: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    each_year: list[float] = field(default_factory=list)
    alarms: int = 0

    def add(self, key: Key, estimate: Estimate, truth: float) -> bool:
        low, high = (-np.inf if estimate.low is None else estimate.low), estimate.high
        inside = low - 1e-12 <= truth <= (np.inf if high is None else high) + 1e-12
        self.held[key].append(inside)
        if estimate.value and high is not None and estimate.low is not None:
            self.width[key].append((high - estimate.low) / estimate.value)
        return inside


@pytest.fixture(scope="module")
def truth() -> Truth:
    known = Truth()
    for seed in range(TRUTH_YEARS):
        random = np.random.default_rng([77, seed])
        known.add(draw(random, weather(random, DAYS, World()), EACH_DAY, World()), NAMES, DAYS)
    return known


@pytest.fixture(scope="module")
def held(truth: Truth, tmp_path_factory: pytest.TempPathFactory) -> Held:
    found = Held()
    for seed in range(YEARS):
        lake = tmp_path_factory.mktemp("year")
        written = list(write(lake, LANES, DAYS, EACH_DAY, seed, file_a_day=False))
        with Record(lake) as record:
            asked = ask(record, zone("UTC"))
            inside = [found.add(*one) for one in (*_cells(asked, truth), *_missed(asked, truth, written))]
            found.alarms += len(alarms(asked))
        found.each_year.append(sum(inside) / len(inside))
        for path in lake.rglob("*.parquet"):
            path.unlink()
    return found


def _cells(asked: Asked, truth: Truth) -> Iterator[tuple[Key, Estimate, float]]:
    for section in answers(asked, PARTS):
        for key, estimate in _intervals(section):
            expected = truth.stay_s(QUANTILES[key[2]]) if key[2] in QUANTILES else truth.share(key)
            if key[2].startswith("verdict"):
                expected = 15.0
            if key[2] == "minutes a find" and expected is None:
                expected = float("inf")  # nobody found in all of the truth's years
            assert expected is not None, f"{key}: nobody knows its truth"
            yield key, estimate, expected


def _intervals(section: Section) -> Iterator[tuple[Key, Estimate]]:
    for row in section.rows:
        words = []
        for cell in row:
            if not isinstance(cell, str):
                break
            words.append(cell)
        for name, cell in zip(section.columns, row, strict=True):
            estimate = cell.estimate if isinstance(cell, Rate) else cell
            if isinstance(estimate, Estimate) and (estimate.low is not None or estimate.high is not None):
                yield (section.code, tuple(words), name), estimate


def _missed(asked: Asked, truth: Truth, written: list) -> Iterator[tuple[Key, Estimate, float]]:
    """The statement: about the lorries of this very year, but for the covert tests, which are about any."""
    told = all_missed(asked)
    lorries = [found for _site, _lane, found in written]
    missed = sum(map(let_pass, lorries))
    real = [found.of(~found.covert) for found in lorries]
    stopped = sum(int((found.found & (found.level >= 2)).sum()) for found in real)
    everyone = truth.share(("covert", ("all", ""), "prompted"))
    assert told.audit is not None and everyone is not None
    yield ("misses", (), "missed"), told.audit.missed, float(missed)
    yield ("misses", (), "detected"), told.audit_pd, stopped / (stopped + missed)
    yield ("misses", (), "together"), told.together, everyone
    if told.recapture is not None:
        r = told.recapture
        floor = Estimate(None, chapman(r.first, r.second, r.both, 0.9).estimate.low, None)
        both = sum(int((f.occupied & (f.state[:, 0] == 0) & (f.state[:, 1] == 0)).sum()) for f in real)
        yield ("misses", (), "floor"), floor, float(both)


def test_no_interval_holds_the_truth_less_often_than_it_says(held: Held) -> None:
    tried = {key: each for key, each in held.held.items() if len(each) >= min(YEARS, 20)}
    _print(held)
    p = {key: stats.binomtest(sum(each), len(each), 0.95, alternative="less").pvalue for key, each in tried.items()}
    failed = {key: (sum(tried[key]), len(tried[key])) for key, value in p.items() if value * len(p) < 0.001}
    assert len(tried) > 200
    assert failed == {}


def test_all_together_hold_it_as_often_as_they_say(held: Held) -> None:
    wanted = stats.ttest_1samp(held.each_year, 0.95, alternative="less")
    assert np.mean(held.each_year) >= 0.95 or wanted.pvalue > 0.001


def test_a_steady_year_hardly_ever_alarms(held: Held) -> None:
    allowed = YEARS * 275 * FALSE_ALARMS_PER_DAY
    assert stats.poisson.sf(held.alarms - 1, allowed) > 0.001


def _print(held: Held) -> None:
    """Coverage and width, worst first: seen with ``pytest -rP``."""
    print(f"{YEARS} years, {len(held.held)} intervals, all together {100 * np.mean(held.each_year):.2f} %")
    print(f"alarms in steady years: {held.alarms}")
    parts: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in held.held:
        parts[key[0], key[2]].append(key)
    print(f"{'section':14} {'interval':22} {'cells':>5} {'held':>7} {'least':>7} {'width / value':>13}")
    for (code, column), keys in sorted(parts.items()):
        shares = [sum(held.held[key]) / len(held.held[key]) for key in keys]
        tries = sum(len(held.held[key]) for key in keys)
        inside = sum(sum(held.held[key]) for key in keys)
        widths = [median(held.width[key]) for key in keys if held.width[key]]
        width = f"{median(widths):.2f}" if widths else "-"
        print(f"{code:14} {column:22} {len(keys):5} {100 * inside / tries:6.1f}% {100 * min(shares):6.1f}% {width:>13}")
