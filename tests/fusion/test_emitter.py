from __future__ import annotations

import pytest

from fusion.emitter import HEAR_S, agrees
from fusion.evidence.evidence import Evidence, silent
from fusion.passage import Context
from fusion.verdict import State

PRODUCE = Context(cargo="produce")
CO2 = Evidence("co2", State.MEASURED, features={"slope_ppm_per_min": 5.0})
VIBRATION = Evidence("vibration", State.MEASURED)
LONG_S = HEAR_S + 1.0


def test_a_cool_steady_quiet_load_agrees_with_produce() -> None:
    assert agrees(PRODUCE, (VIBRATION, CO2), {"vibration": -0.4}, 8.0, LONG_S)


@pytest.mark.parametrize(
    ("context", "evidence", "vibration_log10_lr", "temperature_c"),
    [
        (Context(cargo="general"), (VIBRATION, CO2), -0.4, 8.0),
        (PRODUCE, (VIBRATION, CO2), 0.6, 8.0),
        (PRODUCE, (VIBRATION, CO2), -0.4, 26.0),
        (PRODUCE, (VIBRATION, CO2), -0.4, None),
        (PRODUCE, (silent("vibration", State.ABSENT, "unplugged"), CO2), 0.0, 8.0),
        (PRODUCE, (VIBRATION, Evidence("co2", State.MEASURED, features={"slope_ppm_per_min": 90.0})), -0.4, 8.0),
    ],
    ids=["nothing declared", "a heart", "too warm", "no temperature", "no vibration", "rising fast"],
)
def test_whatever_speaks_against_it_or_says_nothing_does_not_agree(
    context: Context, evidence: tuple[Evidence, ...], vibration_log10_lr: float, temperature_c: float | None
) -> None:
    assert not agrees(context, evidence, {"vibration": vibration_log10_lr}, temperature_c, LONG_S)


@pytest.mark.parametrize(
    ("settled", "dwell_s", "steady"), [(0.0, 12.0, True), (0.0, 44.0, True), (1.0, 95.0, True), (0.0, 95.0, False)]
)
def test_a_probe_that_is_on_its_way_is_no_rise_of_the_air(settled: float, dwell_s: float, steady: bool) -> None:
    air = {"slope_ppm_per_min": 900.0, "settled": settled, "dwell_s": dwell_s}
    rising = Evidence("co2", State.MEASURED, features=air)
    assert agrees(PRODUCE, (VIBRATION, rising), {"vibration": -0.4}, 8.0, LONG_S) is steady


@pytest.mark.parametrize(
    ("vibration", "high_for_s", "awaited"),
    [
        (silent("vibration", State.ABSENT, "too little data: 1.0 of 4 s"), 1.0, True),
        (silent("vibration", State.ABSENT, "too little data: 1.0 of 4 s"), HEAR_S, False),
        (silent("vibration", State.FAULTY, "B1: flat at 0 counts"), 1.0, False),
        (silent("vibration", State.OUT_OF_LIMITS, "engine running"), 1.0, False),
    ],
    ids=["not long enough to hear", "long enough", "faulty", "out of limits"],
)
def test_what_needs_some_seconds_more_is_waited_for_and_nothing_else(
    vibration: Evidence, high_for_s: float, awaited: bool
) -> None:
    assert agrees(PRODUCE, (vibration, CO2), {}, 8.0, high_for_s) is awaited


def test_a_warm_load_is_not_waited_for() -> None:
    assert not agrees(PRODUCE, (silent("vibration", State.ABSENT, "too little data: 1.0 of 4 s"), CO2), {}, 26.0, 1.0)
