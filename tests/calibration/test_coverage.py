"""Does the stated 95 % interval hold the truth 95 times in 100? ``make coverage`` asks 100 detunings of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from calibration.procedures import co2, geometry, lane, mmwave, vibration, xray
from calibration.raw import Raw
from calibration.uncertainty import Component, Kind, Quantity
from hil.world import geophones as world
from hil.world.geophones import Element
from hil.world.lane_switches import Lane, on
from hil.world.receivers import Receivers, detuned, with_target
from hil.world.test_piece import Exposure, detector

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


def tap(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    """No interval: channels and polarities are right or not."""
    order = [str(name) for name in random.permutation(["B1", "B2", "G1"])]
    signs = {name: int(random.choice([-1, 1])) for name in order}
    elements = {name: Element(polarity=signs[name]) for name in order}
    steps = {}
    for at in ("B1", "B2", "G1"):
        waves = world.tapped(elements, at, 5, RATE_HZ, random)
        steps[f"tap-{at}"] = {channel: waves[name] for channel, name in zip(("B1", "B2", "G1"), order, strict=True)}
    found = vibration.tap(raw_of(steps, sensors=["B1", "B2", "G1"]))
    right = found.settings["channels"] == dict(zip(("B1", "B2", "G1"), order, strict=True)) and all(
        np.sign(found.settings[f"response.{name}"]["sensitivity_counts_per_m_s"]) == signs[name] for name in order
    )
    return [(Quantity("map and polarity", "1", float(right)), 1.0)]


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


def gas(level: float, noise: float, random: Random) -> dict[str, Any]:
    t = np.arange(0.0, 60.0, 0.5)
    return {"t_s": t, "ppm": level + random.normal(0, noise, len(t))}


def probe(random: Random) -> tuple[float, float, dict[str, Any]]:
    """Gain and offset that the correction must have, and the certificates."""
    gain, offset = float(random.uniform(0.85, 1.18)), float(random.uniform(-100, 100))
    zero = {"name": "nitrogen", "value": 0.5, "unit": "ppm", "expanded_uncertainty": 0.5}
    span = {"name": "mixture", "value": 2000.0, "unit": "ppm", "expanded_uncertainty": 20.0}
    return gain, offset, {"zero": zero, "span": span}


def two_point(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    gain, offset, given = probe(random)
    arrays = {}
    levels = {role: (drawn(random, given[role]) - offset) / gain for role in given}
    for step, role in (("zero", "zero"), ("span", "span"), ("check", "span")):
        for name, array in gas(levels[role], float(random.uniform(0.3, 3)), random).items():
            arrays[f"{step}/{name}"] = array
    found = co2.two_point(Raw(arrays, {"references": given}))
    return [(found.result("gain"), gain), (found.result("offset"), offset)]


def zero(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    _, offset, given = probe(random)
    arrays = {f"zero/{n}": a for n, a in gas(drawn(random, given["zero"]) - offset, 1.0, random).items()}
    return [(co2.zero(Raw(arrays, {"references": given})).result("offset"), offset)]


def span(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    gain, _, given = probe(random)
    arrays = {f"span/{n}": a for n, a in gas(drawn(random, given["span"]) / gain, 1.0, random).items()}
    return [(co2.span(Raw(arrays, {"references": given})).result("gain"), gain)]


def lag(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    delay, tau = float(random.uniform(1, 10)), float(random.uniform(3, 20))
    arrays = {}
    for n in range(4):
        low, high = (420.0, 2000.0) if n % 2 == 0 else (2000.0, 420.0)
        t = np.arange(0.0, 150.0, 1.0) + random.uniform(0, 1)
        late = delay + random.uniform(-1, 1) * co2.REACTION_S  # the valve, against the moment that was told
        shown = low + (high - low) * (1 - np.exp(-np.maximum(t - late, 0) / tau))
        arrays[f"switch-{n}/t_s"], arrays[f"switch-{n}/ppm"] = t, shown + random.normal(0, 2, len(t))
    found = co2.lag(Raw(arrays))
    return [(found.result("T90"), tau * np.log(10)), (found.result("delay"), delay)]


SIZE = (16, 20)


def pictures(imager: Receivers, scene_k: Any, n: int, random: Random) -> Any:
    whole = np.broadcast_to(np.asarray(scene_k, float), SIZE)
    return np.stack([imager.shown(whole, 0.0, random) for _ in range(n)])


def imager_of(random: Random) -> Receivers:
    rows, columns = SIZE
    gain, offset = random.normal(random.uniform(0.85, 1.2), 0.02, rows), random.normal(random.uniform(-9, 9), 1, rows)
    order = {"gain": gain, "offset_k": offset, "baseline_k": float(random.uniform(0.1, 0.5))}
    return detuned(rows, columns, order | {"netd_k": float(random.uniform(0.2, 0.7))})


def load(name: str, value: float, expanded: float) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": "K", "expanded_uncertainty": expanded}


def mmwave_two_point(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    imager = imager_of(random)
    given = {"ambient": load("ambient", 290.0, 0.4), "hot": load("hot", 335.0, 0.8)}
    cold, hot = drawn(random, given["ambient"]), drawn(random, given["hot"])
    drift = random.normal(0, 0.3)  # between the hot load and the ambient one again
    scenes = {"ambient": cold, "hot": hot, "again": cold + drift}
    raw = Raw({f"{name}/frames": pictures(imager, k, 64, random) for name, k in scenes.items()}, {"references": given})
    found = mmwave.two_point(raw)
    setting, n = found.settings["channels"], int(random.integers(SIZE[0]))
    budget = (Component("all", Kind.B, setting["gain_expanded"][n] / 1.96),)
    one = Quantity("gain of one channel", "1", setting["gain"][n], budget)
    gain = 1 / float(np.mean(1 / imager.gain))
    correction = cold - float(np.mean((cold - imager.offset_k) / imager.gain + imager.baseline_k.mean()))
    return [(found.result("gain"), gain), (one, float(imager.gain[n])),
            (found.result("correction at ambient"), correction)]  # fmt: skip


def flat(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    imager = replace(imager_of(random), gain=np.ones(SIZE[0]))
    slope = np.linspace(-1, 1, SIZE[1])
    slope = slope / np.sqrt(np.mean(slope**2)) * random.normal() * mmwave.UNIFORM_K
    found = mmwave.flat(Raw({"flat/frames": pictures(imager, 300.0 + slope, 64, random)}))
    return [(found.result("baseline rms"), float(np.sqrt(np.mean(imager.baseline_k**2))))]


def netd(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    imager = imager_of(random)
    found = mmwave.netd(Raw({"steady/frames": pictures(imager, 300.0, 64, random)}))
    return [(found.result("NETD"), imager.netd_k * float(1 + random.normal() * 0.01))]


def bad_pixels(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    places = [(int(n) // SIZE[1], int(n) % SIZE[1]) for n in random.choice(SIZE[0] * SIZE[1], 9, replace=False)]
    count = int(random.integers(0, 9))
    kinds = [("stuck", "noisy", "deaf")[n % 3] for n in range(count)]
    planted = {kind: tuple(place for place, k in zip(places, kinds, strict=False) if k == kind) for kind in kinds}
    imager = replace(imager_of(random), **planted)
    frames = {f"{name}/frames": pictures(imager, k, 100, random) for name, k in (("ambient", 290), ("hot", 330))}
    found = mmwave.bad_pixels(Raw(frames))
    assert found.settings["bad"] == sorted(map(list, places[:count]))
    return [(found.result("bad pixels beside them"), float(count))]


def metres(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    imager, (rows, columns) = imager_of(random), SIZE
    imager = replace(imager, gain=np.ones(rows))
    a, b = float(random.uniform(0.1, 0.3)), -float(random.uniform(0.1, 0.3))
    spots = [(3, 3), (3, 16), (12, 3), (12, 16), (8, 9), (5, 12)]
    places = [[a * column + 0.4, b * row + 5.0] for row, column in spots]
    arrays = {"empty/frames": pictures(imager, 288.0, 32, random)}
    for n, (row, column) in enumerate(spots, 1):
        held = (row + random.normal() * geometry.MARKS_M / b, column + random.normal() * geometry.MARKS_M / a)
        arrays[f"place-{n}/frames"] = pictures(imager, with_target(rows, columns, 288.0, held, 1.5), 32, random)
    found = geometry.geometry(Raw(arrays, {"places": places}))
    return [(found.result("metres of a column"), a), (found.result("metres of a row"), b)]


LINE, SQUARE = (64, 320), (96, 128)


def line_of(random: Random) -> dict[str, Any]:
    return {
        "dark": float(random.uniform(0.01, 0.08)), "air": float(random.uniform(0.6, 0.85)),
        "photons": float(np.exp(random.uniform(np.log(5e3), np.log(5e4)))),
        "mu_cm2_g": float(random.uniform(0.045, 0.07)),
        "scatter": float(random.uniform(0.01, 0.05)), "blur_pixels": float(random.uniform(0.8, 2.0)),
    }  # fmt: skip


def scan(piece: str, order: dict[str, Any], random: Random, shape: tuple[int, int] = LINE) -> Any:
    return np.rint(Exposure(piece, order).share(shape, random) * 65535) / 65535


def in_force(order: dict[str, Any], rows: int = LINE[0]) -> dict[str, Any]:
    one = detector(rows, order)
    return {"dark": one.dark.tolist(), "air": (one.dark + one.air).tolist()}


def xray_dark(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    order = line_of(random)
    found = xray.dark(Raw({f"dark/image-{n}": scan("dark", order, random) for n in range(2)}))
    return [(found.result("dark level"), float(detector(LINE[0], order).dark.mean()))]


def xray_air(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    order = line_of(random)
    one = detector(LINE[0], order)
    arrays = {f"air/image-{n}": scan("air", order, random) for n in range(2)}
    found = xray.air(Raw(arrays, {"known": in_force(order)}))
    return [(found.result("air level"), float((one.dark + one.air).mean()))]


def xray_bad_elements(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    planted = sorted(int(n) for n in random.choice(LINE[0], 3, replace=False))
    order = line_of(random) | {kind: [n] for kind, n in zip(("stuck", "deaf", "noisy"), planted, strict=True)}
    found = xray.bad_pixels(Raw({f"{one}/image-0": scan(one, order, random) for one in ("dark", "air")}))
    assert found.settings["bad"] == planted
    return [(found.result("bad elements"), 3.0)]


def xray_penetration(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    order, given = line_of(random), load("wedge", 120.0, 1.2)
    true_mass = drawn(random, given)
    raw = Raw(
        {"wedge/image-0": scan("wedge", order | {"thickest": true_mass}, random)},
        {"known": in_force(order), "references": {"piece": given}},
    )
    found = xray.penetration(raw)
    one = detector(LINE[0], order)
    reach = xray._reach(one.mu_cm2_g, one.scatter, float(np.mean((one.read_noise / one.air) ** 2)), 1 / one.photons)
    return [(found.result("penetration"), reach), (found.result("attenuation"), one.mu_cm2_g),
            (found.result("scatter"), one.scatter)]  # fmt: skip


def xray_resolution(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    order = line_of(random) | {"tilt_deg": float(random.uniform(2.5, 6.0))}
    spacing = [4.0 * (1 + random.normal() * xray.SPACING_RELATIVE), 5.0 * (1 + random.normal() * xray.SPACING_RELATIVE)]
    told = {"known": in_force(order, SQUARE[0]), "spacing_mm": [4.0, 5.0]}
    raw = Raw({"plate/image-0": scan("plate", order, random, SQUARE)}, told)
    found = xray.resolution(raw)
    width = xray.WIDTH_10_90 * order["blur_pixels"]
    return [(found.result("edge along the travel"), width * spacing[1]),
            (found.result("edge along the detector"), width * spacing[0])]  # fmt: skip


def switches(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    one, given = Lane(float(random.uniform(1.0, 6.0))), {**load("lorry", 13.6, 0.05), "unit": "m"}
    length, arrays = drawn(random, given), {}
    for n in range(1, 5):
        t = np.arange(0.0, 40.0, 0.05) + random.uniform(0, 0.05)
        speed, brakes = float(random.uniform(0.9, 1.6)), float(random.uniform(-0.01, 0.02))
        arrays |= {f"drive-{n}/t_s": t, f"drive-{n}/on": on(one, length, t - 2.0, speed, brakes)}
    told = {"inputs": [0, 1], "poll_s": 0.05, "debounce_s": 0.2, "references": {"lorry": given}}
    return [(lane.switches(Raw(arrays, told)).result("spacing"), one.spacing_m)]


def clock(random: Random, raw_of: RawOf, coil: dict[str, Any]) -> list[Pair]:
    offset, given = float(random.uniform(-0.8, 0.8)), {**load("receiver", 0.0, 0.04), "unit": "s"}
    utc = 1_770_000_000.0 - 4 + np.arange(0.0, 66.0, 0.05) + random.uniform(0, 0.05)
    lit, late = np.zeros(len(utc)), drawn(random, given)
    for full in range(0, 61, 10):
        start = 1_770_000_000.0 + full + offset + late + random.normal(0, 0.05)
        lit[(utc >= start) & (utc < start + 0.6)] = 1
    told = {"inputs": [0, 1], "poll_s": 0.05, "watch": "02:40", "references": {"time": given}}
    found = lane.clock(Raw({"pulses/utc_s": utc, "pulses/on": np.stack([lit, lit], axis=1)}, told))
    return [(found.result("offset"), offset)]


PROCEDURES = [
    two_point, zero, span, lag, step, huddle, tap, noise, background,
    mmwave_two_point, flat, netd, bad_pixels, metres,
    xray_dark, xray_air, xray_bad_elements, xray_penetration, xray_resolution,
    switches, clock,
]  # fmt: skip


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
        width = float(np.median([found.expanded / (abs(truth) or 1.0) for found, truth in pairs]))
        said = f"{quantity.name}: {covered} of {len(pairs)} held, half width {width:.2%} (median), p = {chance:.3f}"
        record_property(quantity.name, said)
        print(said)
        assert chance >= P / len(PROCEDURES), said
