"""Simulated passages with known truth: the rig's world, seen through the same evidence functions as on the lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from calibration.response import Response
from drivers.reading import ClockQuality, GasSample, Point, Stamp, WeatherSample
from fusion.evidence.co2 import co2_evidence
from fusion.evidence.context import context_values
from fusion.evidence.evidence import Evidence
from fusion.evidence.vibration import vibration_evidence
from fusion.passage import BodyType, Context, Passage, SensorSeries
from hil.world.air import Air, draw_air, probe_ppm
from hil.world.lorry import SENSORS, Scene, draw_scene, vibration

RATE_HZ = 100.0
NS = 1_000_000_000
BEGAN_NS = 1_767_225_600 * NS  # any date will do: nothing depends on it
COUNTS_PER_M_S = 1e10  # SCIENCE 2.3: gain 16 and more puts the last bit below the sensor's floor
PRESENTED_WITHIN_S = 3.0  # assumed: after stopping, somebody puts the probe in
_PASSAGE_ID = "00000000000000000000000000"


@dataclass(frozen=True, slots=True)
class Case:
    """One passage: the truth, and for each look (evidence of vibration and CO2, context)."""

    occupied: bool
    looks: tuple[tuple[Evidence, Evidence, dict[str, float]], ...]


def simulate(index: int, seed: int, looks_s: Sequence[float]) -> Case:
    """Case ``index`` of ``seed``; every second one holds people. The same arguments give the same case."""
    random = np.random.default_rng([seed, index])
    occupied = index % 2 == 1
    passage = draw_passage(random, occupied, max(looks_s))
    looks = []
    for look_s in looks_s:
        until = BEGAN_NS + round(look_s * NS)
        looks.append((vibration_evidence(passage, until), co2_evidence(passage, until), context_values(passage, until)))
    return Case(occupied, tuple(looks))


def draw_passage(random: Generator, occupied: bool, seconds: float) -> Passage:
    """A passage as the lane would hold it; what is declared is sometimes missing, and sometimes a sensor is."""
    scene = draw_scene(random, occupied)
    air = draw_air(scene, random)
    waves = vibration(scene, seconds, RATE_HZ, random)
    lost = set(random.choice(["B1", "B2", "B3", "G2"], size=int(random.choice([0, 1, 2], p=[0.7, 0.2, 0.1]))))
    response = Response(COUNTS_PER_M_S, 5.0)
    series = tuple(
        SensorSeries(name, "EHZ", BEGAN_NS, RATE_HZ, np.round(waves[name] * COUNTS_PER_M_S), response)
        for name in SENSORS
        if name not in lost
    )
    known = random.random(4) < (0.7, 0.9, 0.5, 0.9)
    return Passage(
        passage_id=_PASSAGE_ID,
        site="simulated",
        lane="1",
        began_utc_ns=BEGAN_NS,
        ended_utc_ns=None,
        body_type=BodyType(scene.lorry.body_type) if known[1] else BodyType.UNKNOWN,
        gross_mass_kg=scene.lorry.mass_kg if known[0] else None,
        context=_declared(scene, air, bool(known[2]), bool(known[3])),
        vibration=series,
        gas=_gas(scene, air, seconds, random),
        weather=(WeatherSample("mast", _stamp(0.0), scene.around.wind_m_s),),
    )


def _declared(scene: Scene, air: Air, sealed: bool, cargo: bool) -> Context:
    return Context(
        engine="off",
        refrigeration="off",
        driver="out",
        doors="closed",
        cargo=air.cargo if cargo else "unknown",
        shelter="shed" if scene.around.sheltered else "open",
        sealed_for_s=air.sealed_for_s if sealed else None,
    )


def _gas(scene: Scene, air: Air, seconds: float, random: Generator) -> tuple[GasSample, ...]:
    """A sample a second: outside air before the vehicle stops, inside from the moment that the probe is in."""
    presented = float(random.uniform(0, PRESENTED_WITHIN_S))
    at = np.arange(-10.0, seconds)
    shown = probe_ppm(scene, air, at, presented, random)
    outside = air.outside_ppm + random.normal(0, air.noise_ppm, 10)
    before = [GasSample("outside", _stamp(float(i - 10)), Point.AMBIENT, float(ppm)) for i, ppm in enumerate(outside)]
    inside = [
        GasSample("probe", _stamp(float(t)), Point.INSIDE, float(ppm))
        for t, ppm in zip(at, shown, strict=True)
        if t >= presented
    ]
    return (*before, *inside)


def _stamp(second: float) -> Stamp:
    at = BEGAN_NS + round(second * NS)
    return Stamp(at, at, at, ClockQuality(True, None))
