from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivers.reading import ClockQuality, GasSample, Point, Stamp
from fusion.evidence.co2 import co2_evidence, robust_slope
from fusion.passage import Passage
from fusion.verdict import State

SECOND = 1_000_000_000


def sample(second: float, ppm: float | None, point: Point = Point.INSIDE, status: str = "ok") -> GasSample:
    at = round(second * SECOND)
    return GasSample("probe", Stamp(at, at, at, ClockQuality(True, None)), point, ppm, status)


def passage(*gas: GasSample) -> Passage:
    return Passage("01JQ0F7Y3W8V5R2M9K4T6B1N0D", "s", "1", 0, None, gas=gas)


def outside() -> list[GasSample]:
    return [sample(-9 + i, 430.0 + 0.3 * (i % 3), Point.AMBIENT) for i in range(6)]


def inside(level: float, seconds: int, lag_s: float = 15.0) -> list[GasSample]:
    return [
        sample(i, 430 + (level - 430) * (1 - math.exp(-i / lag_s)) + 0.4 * math.sin(7.1 * i)) for i in range(seconds)
    ]


def test_no_probe_is_absent_and_a_faulty_device_says_its_cause() -> None:
    assert co2_evidence(passage(*outside()), 99 * SECOND).cause == "no probe presented"
    down = replace(passage(), modality_of={"probe": "co2"}, states={"probe": "faulty: no reply for 5 s"})
    evidence = co2_evidence(down, 99 * SECOND)
    assert (evidence.state, evidence.cause) == (State.FAULTY, "probe: no reply for 5 s")


def test_a_settled_probe_is_read_as_inside_minus_outside() -> None:
    evidence = co2_evidence(passage(*outside(), *inside(900, 100)), 200 * SECOND)
    assert evidence.state is State.MEASURED
    assert evidence.features["excess_ppm"] == pytest.approx(470, abs=5)
    assert evidence.features["plateau"] == 1.0


def test_a_rising_probe_is_no_plateau_and_says_its_dwell() -> None:
    evidence = co2_evidence(passage(*outside(), *inside(900, 100, 30.0)), 40 * SECOND)
    assert evidence.features["plateau"] == 0.0
    assert evidence.cause is not None and evidence.cause.startswith("40 of 90 s")


def test_what_comes_after_the_look_and_in_which_order_rows_arrive_do_not_matter() -> None:
    rows = [*outside(), *inside(700, 60)]
    later = sample(61, 9_000)
    assert co2_evidence(passage(*rows), 60 * SECOND) == co2_evidence(passage(later, *rows[::-1]), 60 * SECOND)


def test_an_identical_value_is_frozen_and_faulty() -> None:
    evidence = co2_evidence(passage(*outside(), *(sample(i, 451.25) for i in range(40))), 99 * SECOND)
    assert evidence.state is State.FAULTY and "frozen at 451.25 ppm" in str(evidence.cause)


def test_over_range_counts_as_high() -> None:
    rows = [sample(i, None, status="over range") for i in range(40)]
    assert co2_evidence(passage(*outside(), *rows), 99 * SECOND).features["excess_ppm"] > 9_000


def test_without_an_outside_sample_nothing_is_said() -> None:
    assert co2_evidence(passage(*inside(900, 100)), 99 * SECOND).state is State.OUT_OF_LIMITS


def test_zero_with_healthy_status_is_not_air() -> None:
    assert co2_evidence(passage(*outside(), *(sample(i, 0.0) for i in range(40))), 99 * SECOND).state is State.FAULTY


def test_the_slope_survives_wild_samples() -> None:
    x = np.arange(40.0)
    y = 2.0 * x
    y[::8] = 5_000.0
    assert robust_slope(x, y) == pytest.approx(2.0)


def test_a_probe_that_warms_up_adds_nothing(cases: Path) -> None:
    with (cases / "07-co2-warm-up-zero" / "co2.csv").open() as file:
        rows = list(csv.DictReader(file))
    warm = [
        sample(2 * i, float(row["co2_ppm"]), status="ok")
        if row["status"] == "0"
        else sample(2 * i, None, status="0x0010")
        for i, row in enumerate(rows[:20])
    ]
    evidence = co2_evidence(passage(*outside(), *warm), 999 * SECOND)
    assert evidence.state is State.OUT_OF_LIMITS and "warming up" in str(evidence.cause)
    assert evidence.features == {}
