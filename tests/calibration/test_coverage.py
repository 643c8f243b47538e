"""Does the stated 95 % interval hold the truth 95 times in 100? ``make coverage`` asks 100 detunings of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from calibration.procedures import vibration
from calibration.raw import Raw
from calibration.uncertainty import Quantity
from hil.world import geophones as world
from hil.world.geophones import Element

DETUNINGS = int(os.environ.get("DETUNINGS", "12"))
NOMINAL, P = 0.95, 0.001
RATE_HZ = 250.0
Random = np.random.Generator
RawOf = Callable[..., Raw]
Pair = tuple[Quantity, float]  # what was found, and the truth


def drawn(random: Random, given: dict[str, Any]) -> float:
    """The true value of a reference, as its certificate lets it be."""
    return float(given["value"] + random.normal() * given["expanded_uncertainty"] / 2)


def step(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    one = Element(float(random.uniform(3.8, 5.2)), float(random.uniform(0.5, 0.8)), float(random.uniform(0.8, 1.2)))
    counts = world.releases({"B1": one}, 24, RATE_HZ, random)["B1"]
    share = drawn(random, coil["current"]) / coil["current"]["value"]
    share *= coil["moving_mass"]["value"] / drawn(random, coil["moving_mass"])
    digitizer = drawn(random, coil["digitizer"]) / coil["digitizer"]["value"]
    # the emulated swing is that of the sheet's current, mass and digitizer: the drawn ones scale it
    swing = counts * share * digitizer
    truth = one.counts_per_m_s * digitizer
    found = vibration.step(raw_of({"release": {"B1": swing}}))
    return [
        (found.result("sensitivity B1"), truth),
        (found.result("f0 B1"), one.f0_hz * (1 + random.normal() * vibration.SAMPLE_CLOCK)),
        (found.result("damping B1"), one.damping),
    ]


def huddle(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    gain = float(random.uniform(0.8, 1.25))
    on_plate = gain * (1 + random.normal() * vibration.HUDDLE_MAKES)
    elements = {"B1": Element(), "B2": Element(gain=on_plate), "B3": Element(gain=0.97)}
    level = float(random.uniform(0.002, 0.3))
    found = vibration.huddle(raw_of({"plate": world.on_a_plate(elements, 60, RATE_HZ, random, level)}))
    return [(found.result("gain B2/B1"), gain)]


def noise(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    asd = float(10 ** random.uniform(-8.5, -6.5))
    level = 1 + random.normal() * 0.01
    wave = Element().counts(
        random.normal(size=round(60 * RATE_HZ)) * asd * level * np.sqrt(RATE_HZ / 2), RATE_HZ, random
    )
    found = vibration.noise(raw_of({"quiet": {"B1": wave}}))
    return [(found.result("rms B1"), asd * np.sqrt(8.25) * 1e9)]  # 33 bins of 0.25 Hz from 2 to 10 Hz


def background(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    n, sigma = int(random.integers(20, 120)), float(random.uniform(0.5, 2.5))
    ground, wind = random.uniform(-10, 10, n), random.uniform(0, 4, n)
    body = 2.0 + 0.8 * ground + wind + random.normal(0, sigma, n)
    raw = Raw({"empties/body_db": body, "empties/ground_db": ground, "empties/wind_m_s": wind})
    return [(vibration.background(raw).result("sigma"), sigma)]


PROCEDURES = [step, huddle, noise, background]


@pytest.mark.parametrize("procedure", PROCEDURES, ids=lambda one: one.__name__)
def test_the_stated_interval_holds_the_truth_as_often_as_it_says(
    procedure: Any, raw_of: RawOf, coil: dict[str, Any], record_property: Any
) -> None:
    random = np.random.default_rng(20260101)
    drawn_pairs = [procedure(random, raw_of, coil) for _ in range(DETUNINGS)]
    for index, (quantity, _) in enumerate(drawn_pairs[0]):
        pairs = [pairs[index] for pairs in drawn_pairs]
        covered = sum(found.covers(truth) for found, truth in pairs)
        chance = float(binom.cdf(covered, len(pairs), NOMINAL))
        width = float(np.median([found.expanded / abs(truth) for found, truth in pairs]))
        said = f"{quantity.name}: {covered} of {len(pairs)} held, half width {width:.2%} (median), p = {chance:.3f}"
        record_property(quantity.name, said)
        print(said)
        assert chance >= P / len(PROCEDURES), said
