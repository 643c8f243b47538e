from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drivers.reading import ClockQuality, GasSample, Point, Stamp, WeatherSample
from fusion.bundle.co2_csv import read_co2
from fusion.evidence.co2 import co2_evidence, robust_slope
from fusion.passage import BodyType, Context, Passage
from fusion.verdict import State

SECOND = 1_000_000_000
QUALITY = ClockQuality(True, None)


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
    assert evidence.features["settled"] == 1.0


def test_a_rising_probe_is_no_plateau_and_says_its_dwell() -> None:
    # Steadily rising: no step response, so nobody can tell where it ends.
    rising = [sample(i, 430 + 6.0 * i + 0.4 * math.sin(7.1 * i)) for i in range(41)]
    evidence = co2_evidence(passage(*outside(), *rising), 40 * SECOND)
    assert evidence.features["settled"] == 0.0
    assert evidence.cause == "40 of 90 s, still settling: a lower bound"


def test_a_lagging_probe_is_read_where_it_is_going_with_its_t90_stated() -> None:
    evidence = co2_evidence(passage(*outside(), *inside(900, 100, 20.0)), 40 * SECOND)
    assert evidence.features["excess_ppm"] == pytest.approx(470, abs=15)
    assert evidence.features["t90_s"] == pytest.approx(20 * math.log(10), rel=0.2)
    assert evidence.features["settled"] == 1.0
    assert evidence.cause is not None and evidence.cause.startswith("40 of 90 s, level read ahead of the probe, T90 4")


def test_a_probe_of_its_own_offset_is_compared_with_its_own_outside_air() -> None:
    own = [replace(s, device="other") for s in outside()] + [
        sample(-9 + i, 560 + 0.3 * (i % 3), Point.AMBIENT) for i in range(6)
    ]
    found = co2_evidence(passage(*own, *(sample(i, 560 + 0.4 * math.sin(i)) for i in range(60))), 99 * SECOND)
    assert found.features["excess_ppm"] == pytest.approx(0, abs=2)


def test_an_outside_sample_of_another_minute_is_not_compared() -> None:
    old = [sample(-100 + i, 430.0 + 0.3 * (i % 3), Point.AMBIENT) for i in range(6)]
    found = co2_evidence(passage(*old, *inside(900, 30)), 99 * SECOND)
    assert found.state is State.OUT_OF_LIMITS and "95 s away" in str(found.cause)


def test_a_probe_that_reads_far_below_outside_air_is_distrusted() -> None:
    low = [sample(i, 300 + 0.4 * math.sin(i)) for i in range(60)]
    found = co2_evidence(passage(*(replace(s, device="other") for s in outside()), *low), 99 * SECOND)
    assert found.state is State.FAULTY and "130 ppm below outside air" in str(found.cause)
    shifted = [replace(s, device="other", co2_ppm=310.0 + 0.1 * i) for i, s in enumerate(outside())]
    found = co2_evidence(passage(*shifted, *inside(900, 60)), 99 * SECOND)
    assert found.state is State.FAULTY and "calibrates itself" in str(found.cause)


def test_an_open_body_live_animals_and_water_on_the_probe_say_nothing() -> None:
    whole = passage(*outside(), *inside(900, 100))
    assert co2_evidence(replace(whole, body_type=BodyType.OPEN), 200 * SECOND).state is State.OUT_OF_LIMITS
    animals = replace(whole, context=Context(cargo="live_animals"))
    assert co2_evidence(animals, 200 * SECOND).state is State.OUT_OF_LIMITS
    wet = replace(whole, gas=tuple(replace(s, humidity_pct=100.0) for s in whole.gas))
    assert co2_evidence(wet, 200 * SECOND).state is State.FAULTY


def test_open_doors_make_a_reading_a_lower_bound() -> None:
    opened = replace(passage(*outside(), *inside(431, 100)), context=Context(doors="open"))
    found = co2_evidence(opened, 200 * SECOND)
    assert found.features["settled"] == 0.0 and "doors open" in str(found.cause)


def test_a_declared_emitter_is_said() -> None:
    produce = replace(passage(*outside(), *inside(900, 60)), context=Context(cargo="produce"))
    assert "produce declared" in str(co2_evidence(produce, 99 * SECOND).cause)


def weather(pressure_hpa: float) -> WeatherSample:
    return WeatherSample("mast", Stamp(0, 0, 0, ClockQuality(True, None)), 1.0, pressure_hpa=pressure_hpa)


def test_pressure_is_compensated_once_by_the_probe_or_by_us() -> None:
    rows = [*outside(), *inside(900, 100)]
    high_up = replace(passage(*rows), weather=(weather(911.925),))  # 0.9 of sea level: a cell reads 10 % low
    ours = co2_evidence(high_up, 200 * SECOND).features["excess_ppm"]
    assert ours == pytest.approx(470 / 0.9, abs=6)
    told = replace(high_up, gas=tuple(replace(s, pressure_hpa=911.925) for s in rows))
    assert co2_evidence(told, 200 * SECOND).features["excess_ppm"] == pytest.approx(470, abs=5)


def test_of_two_probes_the_one_that_found_more_speaks() -> None:
    second = [replace(s, device="rear") for s in inside(1500, 100)]
    found = co2_evidence(passage(*outside(), *inside(600, 100), *second), 200 * SECOND)
    assert found.features["excess_ppm"] == pytest.approx(1070, abs=10)


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


@pytest.mark.parametrize("rows", [5, 12, 15, 20])
def test_no_part_of_a_start_up_is_ever_measured(cases: Path, rows: int) -> None:
    table = read_co2((cases / "07-co2-warm-up-zero" / "co2.csv").read_bytes().replace(b"rear-door", b"inside"), QUALITY)
    until = table.rows[rows - 1].reading.stamp.time_utc_ns
    ambient = [replace(s, stamp=Stamp(until, until, 0, QUALITY)) for s in outside()]
    found = co2_evidence(passage(*ambient, *(kept.reading for kept in table.rows)), until)
    assert found.state is State.OUT_OF_LIMITS and "warming up" in str(found.cause) and "status 16" in str(found.cause)


def test_true_values_after_the_start_up_are_measured_and_the_constant_is_not(cases: Path) -> None:
    with (cases / "07-co2-warm-up-zero" / "co2.csv").open() as file:
        rows = list(csv.DictReader(file))
    spoken = [
        sample(2 * i, float(r["co2_ppm"])) if r["status"] == "0" else sample(2 * i, None, status=r["status"])
        for i, r in enumerate(rows)
    ]
    found = co2_evidence(passage(*outside(), *spoken[:15]), 999 * SECOND)
    assert found.state is State.OUT_OF_LIMITS
    found = co2_evidence(
        passage(*(sample(30 + i, 430.0 + i % 2, Point.AMBIENT) for i in range(4)), *spoken), 999 * SECOND
    )
    assert found.state is State.MEASURED and abs(found.features["excess_ppm"]) < 5


@pytest.mark.parametrize(("session", "people"), [("A_20250914_150134", False), ("B_20250914_153851", True)])
def test_a_room_with_two_people_rises_and_an_empty_one_does_not(recordings: Path, session: str, people: bool) -> None:
    lines = (recordings / "co2" / "airscout_room" / f"session_{session}.csv").read_text().splitlines()
    room = [line.split(",") for line in lines if line[:1].isdigit()]
    first = int(room[0][0])
    inside = [sample((int(row[0]) - first) / 1e3, float(row[5])) for row in room]
    slopes = []
    for minute in range(5, 30, 5):
        now = [replace(s, stamp=sample(60 * minute - 9 + i, 0).stamp) for i, s in enumerate(outside())]
        until = 60 * (minute + 2) * SECOND
        part = [s for s in inside if 60 * minute * SECOND <= s.stamp.time_utc_ns]
        found = co2_evidence(passage(*now, *part), until)
        assert found.state is State.MEASURED and found.features["excess_ppm"] > 400
        slopes.append(found.features["slope_ppm_per_min"])
    assert (float(np.median(slopes)) > 10) == people  # the set says +26 a minute for two people
