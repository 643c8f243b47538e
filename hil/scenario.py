"""One lorry of the demo, from a short file whose name says what happens; its signals come from the simulated world."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hil.world import radiography, radiometry
from hil.world.air import Air, draw_air, probe_ppm
from hil.world.lorry import SENSORS, Scene, draw_lorry, geophone, vibration
from hil.world.machines import IDLE_M_S, IDLE_ORDERS
from hil.world.people import Person, draw_people
from hil.world.surroundings import draw_surroundings

SENSITIVITY_COUNTS_PER_M_S = (
    28.8 * 4e5 * 100
)  # geophone V/(m/s), counts/V at gain 100 (DEVICES-serial 1.6, assumed gain)
FULL_SCALE = 2**31 - 1
PROBE_IN_S = 2.0  # the officer puts the probe through the seal
INSIDE_K, OUTSIDE_K = 284.0, 281.0  # a spring morning
FRAMES_HZ, STOPS_S = 10.0, 6.0  # an imager's rate; a lorry takes that long to roll into its place
SCAN_PIXEL_M = 0.01


class Event(BaseModel):
    """Something that happens to a device while the lorry is measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    at_s: float = Field(ge=0)
    device: str
    command: dict[str, Any]


class Scenario(BaseModel):
    """What the file says."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    expected: tuple[str, ...] = ()  # levels that are right for it; empty where nothing is claimed
    why: str = ""  # of what is expected
    seed: int
    body_type: str
    mass_kg: float = Field(gt=0)
    people: int = Field(ge=0, le=12)
    sealed_for_s: float = Field(3600.0, gt=0)
    wind_m_s: float = Field(1.0, ge=0)
    sheltered: bool = True
    cargo: str = "general"
    cargo_l_min: float = Field(0.0, ge=0, description="CO2 that the load gives off")
    idle_rpm: float | None = Field(None, ge=300, le=3000, description="The lorry's own engine was left running")
    plate: str | None = Field(None, description="As the officer reads it; the scanner down the road reads it too")
    radiograph: Literal["", "here", "down the road"] = Field("", description="Where it is scanned, if at all")
    load_g_cm2: float = Field(25.0, gt=0, description="Areal density of the load, for the scanner")
    probe_out_s: float | None = Field(None, gt=PROBE_IN_S, description="The officer pulls the probe out again")
    context: dict[str, str] = {}
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Signals:
    """What the wires carry: counts (n,) int64 per sensor at ``rate_hz``, and the probe's ppm each second."""

    rate_hz: float
    counts: dict[str, NDArray[np.int64]]
    inside_ppm: NDArray[np.float64]
    outside_ppm: float
    wind_m_s: float = 0.0  # on the mast, whatever the shelter


def read(path: Path) -> Scenario:
    """Raises ValueError: the file does not fit."""
    return Scenario.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def play(scenario: Scenario, duration_s: float, rate_hz: float) -> Signals:
    """All signals of the passage, the same for the same file."""
    random = np.random.default_rng(scenario.seed)
    lorry = replace(draw_lorry(random), mass_kg=scenario.mass_kg, body_type=scenario.body_type, ratchet_m_s=1e-8)
    around = replace(
        draw_surroundings(random),
        wind_m_s=scenario.wind_m_s,
        sheltered=scenario.sheltered,
        ground_gain=0.3,
        ground_coherence=0.97,
        trucks_per_s=0.0,
        neighbour_rpm=None,
        rain_m_s=0.0,
        creaks_per_s=0.0,
    )
    people: tuple[Person, ...] = ()
    while len(people) < scenario.people:  # draws until there are as many as the file says
        people = (*people, *draw_people(random))
    people = tuple(replace(person, coupling=max(person.coupling, 0.5)) for person in people[: scenario.people])
    scene = Scene(lorry, people, around)
    waves = vibration(scene, duration_s, rate_hz, random)
    if scenario.idle_rpm is not None:
        _idle(waves, scenario.idle_rpm, rate_hz, random)
    counts = {name: _counts(waves[name], rate_hz) for name in SENSORS}
    air: Air = replace(
        draw_air(scene, random),
        sealed_for_s=scenario.sealed_for_s,
        cargo=scenario.cargo,
        cargo_l_min=scenario.cargo_l_min,
        offset_ppm=0.0,
        aboard_s=None,
        stood_s=None,
        exhaust_ppm=0.0,
    )
    seconds = np.arange(round(duration_s), dtype=np.float64)
    inside_ppm = probe_ppm(scene, air, seconds, PROBE_IN_S, random)
    if scenario.probe_out_s is not None:
        after_s = np.maximum(seconds - scenario.probe_out_s, 0.0)
        falling = air.outside_ppm + (inside_ppm - air.outside_ppm) * np.exp(-after_s / air.lag_s)
        inside_ppm = np.where(after_s > 0, falling, inside_ppm)
    return Signals(rate_hz, counts, inside_ppm, air.outside_ppm, scenario.wind_m_s)


def side_view(scenario: Scenario, duration_s: float, view: radiometry.View) -> NDArray[np.float32]:
    """Kelvin, (frames, rows, columns) float32: what the lane's imager sees of the side while the lorry rolls in."""
    random = np.random.default_rng([scenario.seed, 1])
    side = radiometry.draw_side(random, scenario.body_type, scenario.people)
    people = tuple(replace(person, uncovered=1.0, emissivity=max(person.emissivity, 0.7)) for person in side.people)
    side = replace(side, inside_k=INSIDE_K, air_k=OUTSIDE_K, people=people, sun_k=0.0, wet=0.0)
    drive = radiometry.Drive(speed_m_s=side.length_m / STOPS_S, stops_s=STOPS_S, way=1)
    at_s = np.arange(0, duration_s, 1 / FRAMES_HZ)
    return np.stack(radiometry.film(side, view, drive, at_s.tolist(), random).frames)


def radiograph(scenario: Scenario) -> NDArray[np.float32]:
    """Share of full scale, (rows, columns) float32, a pixel each `SCAN_PIXEL_M`: what a cargo scanner makes of it."""
    random = np.random.default_rng([scenario.seed, 2])
    load = replace(radiography.draw_load(random, scenario.people), density_g_cm2=scenario.load_g_cm2)
    beam = radiography.draw_beam(random, SCAN_PIXEL_M)
    return radiography.radiograph(load, beam, random).astype(np.float32)


def _idle(waves: dict[str, NDArray[np.float64]], rpm: float, rate_hz: float, random: np.random.Generator) -> None:
    """The engine shakes the body, and hardly the ground beside it."""
    n = len(waves["B1"])
    t = np.arange(n) / rate_hz
    hunting = 1 + 0.004 * np.sin(2 * np.pi * 0.15 * t)  # assumed: a governor's slow swing
    for order, share in IDLE_ORDERS:
        phase = 2 * np.pi * np.cumsum(rpm / 60 * order * hunting) / rate_hz + random.uniform(0, 2 * np.pi)
        for sensor, wave in waves.items():
            coupling = 1.0 if sensor.startswith("B") else 0.01  # assumed
            wave += share * coupling * random.uniform(0.6, 1.4) * IDLE_M_S * np.sin(phase)


def _counts(velocity: NDArray[np.float64], rate_hz: float) -> NDArray[np.int64]:
    shown = geophone(velocity, rate_hz) * SENSITIVITY_COUNTS_PER_M_S
    return np.clip(np.rint(shown), -FULL_SCALE, FULL_SCALE).astype(np.int64)
