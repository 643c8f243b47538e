"""What moved, and since when: so that displacement is seen while it happens.

An e-detector (Shin, Ramdas, Rinaldo, "E-detectors", 2023): for each day a factor whose mean is at most 1 while
nothing has moved; the product since the best possible beginning is the evidence, and it raises an alarm when it
reaches ``1 / false_alarms_per_day``. However long one looks, an alarm comes without cause at most that often.

What "nothing has moved" means is taken from the reference days with their own uncertainty: an increase must beat the
upper end of the reference's interval, a decrease the lower end. So a short reference raises few alarms, not many.
Where days differ more than chance would have them (wind), each counts for as much less.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from edge.records.intervals import Blocks, block_share

Counts = NDArray[np.int64]
REFERENCE_DAYS = 90  # assumed: a season's first quarter; the first such days of the period are the reference
REFERENCE_CONFIDENCE = 0.99
FALSE_ALARMS_PER_DAY = 1 / 3_650  # assumed: one in ten years, of all series of a report together
FEWEST_DAYS = 3  # assumed: one strange day, or two, is no new level
FACTORS = (1.25, 1.5, 2.0, 3.0)  # sizes of a change that are looked for, all at once


class Direction(StrEnum):
    """Which way it moved."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Series:
    """``cases`` out of ``of`` for each day, in order; a day without any ``of`` says nothing."""

    name: str
    days: tuple[str, ...]
    cases: tuple[int, ...]
    of: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm. ``since`` is the likeliest first day of what is new, ``seen`` the day on which it was sure;
    ``before`` is the reference's share, ``after`` that of all days from ``since`` on."""

    name: str
    direction: Direction
    since: str
    seen: str
    before: float
    after: float


def changes(
    series: Series, false_alarms_per_day: float = FALSE_ALARMS_PER_DAY, reference_days: int = REFERENCE_DAYS
) -> list[Change]:
    """The alarms of a series: one each way at most, at its first. None while there are too few days."""
    reference = slice(0, reference_days)
    of, cases = sum(series.of[reference]), sum(series.cases[reference])
    if len(series.days) <= reference_days or of == 0:
        return []
    x, n = np.array(series.cases[reference]), np.array(series.of[reference])
    blocks = Blocks(int(x @ x), int(x @ n), int(n @ n), int((n > 0).sum()))
    found = block_share(cases, of, blocks, REFERENCE_CONFIDENCE).estimate
    wider = _dispersion(x, n)
    alarms = []
    for direction, null in ((Direction.UP, found.high), (Direction.DOWN, found.low)):
        if null is None or not 0.0 < null < 1.0:
            continue  # nothing can be less than never, or more than always
        alarm = _first_alarm(series, reference_days, null, direction, false_alarms_per_day / 2, wider)
        if alarm is not None:
            begin, seen = alarm
            after_of = sum(series.of[begin:])
            alarms.append(
                Change(
                    series.name,
                    direction,
                    series.days[begin],
                    series.days[seen],
                    cases / of,
                    sum(series.cases[begin:]) / after_of if after_of else 0.0,
                )
            )
    return alarms


def _first_alarm(
    series: Series, start: int, null: float, direction: Direction, false_alarms_per_day: float, wider: float
) -> tuple[int, int] | None:
    """Index of the likeliest beginning and of the first day of alarm.

    Each factor has its own product, which begins anew whenever it falls under 1 (so that a change late in a long
    quiet time is seen as fast as an early one); they share the bound among them. In logarithms: a running sum less its
    own least value so far.
    """
    bound = log(len(FACTORS) / false_alarms_per_day)
    shifts = np.array([_shifted(null, factor if direction is Direction.UP else 1 / factor) for factor in FACTORS])
    x, n = (np.array(counts[start:], dtype=np.float64)[:, None] for counts in (series.cases, series.of))
    steps = x * np.log(shifts / null) + (n - x) * np.log((1 - shifts) / (1 - null))  # (days, factors)
    steps = np.minimum(steps / wider, bound / FEWEST_DAYS)
    sums = np.vstack([np.zeros(len(shifts)), np.cumsum(steps, axis=0)])
    evidence = sums[1:] - np.minimum.accumulate(sums[:-1], axis=0)
    over = np.flatnonzero(evidence.max(axis=1) >= bound)
    if len(over) == 0:
        return None
    seen = int(over[0])
    before = sums[: seen + 1, int(np.argmax(evidence[seen]))]
    return start + len(before) - 1 - int(np.argmin(before[::-1])), start + seen


def _dispersion(x: Counts, n: Counts) -> float:
    """How much more days differ than chance alone would have them: Pearson's chi-square a degree of freedom, from 1."""
    there = n > 0
    value = x.sum() / n.sum()
    if not 0.0 < value < 1.0 or there.sum() < 2:
        return 1.0
    chi = (x[there] - value * n[there]) ** 2 / (n[there] * value * (1 - value))
    return max(1.0, float(chi.sum()) / (int(there.sum()) - 1))


def _shifted(share_before: float, factor: float) -> float:
    """A share whose odds are ``factor`` times as high: it stays a share."""
    odds = exp(log(share_before / (1 - share_before)) + log(factor))
    return odds / (1 + odds)
