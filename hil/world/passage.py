"""A whole passage: one truth (lorry, people, air, side, load), and what each device of the lane records of it.

``draw_truth`` decides everything that is so; ``record`` lets the devices measure it for some seconds. Both take all
chance from the generator that is handed in, so the same seed gives the same passage. What is declared is sometimes
missing and sometimes a sensor is, as on a lane. Every share and range here is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hil.world import radiography, radiometry
from hil.world.air import Air, draw_air, outside_ppm, probe_ppm
from hil.world.lorry import (
    Borrowed,
    Scene,
    draw_layout,
    draw_lorry,
    geophone,
    geophone_poles,
    vibration,
)
from hil.world.machines import draw_machine
from hil.world.people import draw_people
from hil.world.surroundings import draw_surroundings

Floats = NDArray[np.float64]
RATES_HZ, RATE_SHARES = (100.0, 200.0, 250.0), (0.8, 0.1, 0.1)
ELEMENTS_HZ = (4.5, 4.5, 2.0, 10.0)  # of coil sensors on the market
BEFORE_S = 25.0  # outside rows before the vehicle stops
FULL_SCALE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Geophones:
    """The lane's vibration sensors: one kind of element, counts per m/s, and each one's true gain against the sheet."""

    rate_hz: float
    f0_hz: float
    damping: float
    counts_per_m_s: float
    gains: Mapping[str, float]

    @property
    def poles(self) -> tuple[complex, complex]:
        """As the sheet has them, rad/s."""
        return geophone_poles(self.f0_hz, self.damping)


@dataclass(frozen=True, slots=True)
class Declared:
    """What the lane is told; words as in the passage bundle."""

    body_type: str
    gross_mass_kg: float | None
    engine: str
    refrigeration: str
    cargo: str
    doors: str
    driver: str
    shelter: str
    sealed_for_s: float | None


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything that is so. ``people`` of the scene are those hidden; a driver in the cab is not one of them."""

    scene: Scene
    air: Air
    side: radiometry.Side
    view: radiometry.View
    drive: radiometry.Drive
    load: radiography.Load
    beam: radiography.Beam
    geophones: Geophones
    declared: Declared
    driver_in: bool = False
    probe: bool = True
    imager: bool = True
    scanned: bool = False

    @property
    def occupied(self) -> bool:
        """Whether somebody hides in it."""
        return bool(self.scene.people)


@dataclass(frozen=True, slots=True)
class Gas:
    """Rows of one probe: seconds since the beginning (n,) and ppm (n,); ``point`` inside or ambient."""

    device: str
    point: str
    at_s: Floats
    ppm: Floats
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the devices gave. ``counts`` by sensor, from second 0 on; ``frames`` (k, rows, columns) K at ``frames_s``.

    ``radiograph`` is share of full scale, (rows, columns), or None.
    """

    truth: Truth
    seconds: float
    counts: Mapping[str, NDArray[np.int32]]
    gas: tuple[Gas, ...]
    wind_s: Floats
    wind_m_s: Floats
    air_c: float
    frames_s: Floats
    frames: NDArray[np.float32]
    radiograph: NDArray[np.float64] | None


def draw_truth(random: Generator, people: int | None, scanned: float = 0.3) -> Truth:
    """A passage: ``people`` 0 is empty, None as many as found lorries hold; ``scanned`` is the share with a radiograph.

    The vehicle and all round it are drawn before the people, so they do not depend on them.
    """
    lorry, around, layout = draw_lorry(random), draw_surroundings(random), draw_layout(random)
    scene = Scene(lorry, (), around, layout=layout)
    geophones = draw_geophones(random, (*layout.body, *layout.ground))
    running = random.random()
    kind = "engine" if running < 0.03 else "" if running > 0.06 or lorry.body_type != "refrigerated" else "diesel"
    machines = (draw_machine(random, kind),) if kind else ()
    driver_in = bool(random.random() < 0.03)
    air = draw_air(scene, random)
    declared = _declared(random, scene, air, kind, driver_in)
    side = radiometry.draw_side(random, lorry.body_type, 0)
    view, drive = radiometry.draw_view(random), radiometry.draw_drive(random)
    load, beam = radiography.draw_load(random, 0), radiography.draw_beam(random)
    probe, imager, scan = (bool(value) for value in random.random(3) < (0.93, 0.8, scanned))
    truth = Truth(
        replace(scene, machines=machines), air, side, view, drive, load, beam, geophones, declared, driver_in,
        probe, imager, scan,
    )  # fmt: skip
    return truth if people == 0 else inhabited(truth, people, random)


def inhabited(truth: Truth, people: int | None, random: Generator) -> Truth:
    """The same passage with people in it, in all that devices can measure."""
    hidden = draw_people(random, people)
    side = radiometry.with_people(truth.side, len(hidden), random)
    load = radiography.with_people(truth.load, len(hidden), random)
    return replace(truth, scene=replace(truth.scene, people=hidden), side=side, load=load)


def draw_geophones(random: Generator, names: tuple[str, ...]) -> Geophones:
    """One kind of coil sensor on one digitizer, each some per cent off its sheet."""
    return Geophones(
        rate_hz=float(random.choice(RATES_HZ, p=RATE_SHARES)),
        f0_hz=float(random.choice(ELEMENTS_HZ)),
        damping=float(random.uniform(0.56, 0.75)),
        counts_per_m_s=float(10 ** random.uniform(8.0, 10.5)),  # SCIENCE 2.3: gain 1 has a last bit of 10 nm/s
        gains={name: float(random.normal(1, 0.04)) for name in names},
    )


def _declared(random: Generator, scene: Scene, air: Air, kind: str, driver_in: bool) -> Declared:
    """What is true, as far as somebody says it."""
    told = random.random(6)
    lorry = scene.lorry
    usual = {"engine": "off", "refrigeration": "off"}
    running = {"engine": "engine", "diesel": "refrigeration"}.get(kind)
    if running is not None:
        usual[running] = "on" if random.random() < 0.7 else "unknown"
    cargo = air.cargo if air.cargo != "general" else str(random.choice(["general", "dense", "unknown"]))
    return Declared(
        body_type=lorry.body_type if told[0] < 0.93 else "unknown",
        gross_mass_kg=lorry.mass_kg * float(random.normal(1, 0.05)) if told[1] < 0.7 else None,
        engine=usual["engine"],
        refrigeration=usual["refrigeration"],
        cargo=cargo if told[2] < 0.85 else "unknown",
        doors="closed" if told[3] < 0.9 else "unknown",
        driver="in" if driver_in else "out",
        shelter=("shed" if scene.around.sheltered else "open") if told[4] < 0.97 else "unknown",
        sealed_for_s=air.sealed_for_s if told[5] < 0.5 else None,
    )


def record(truth: Truth, seconds: float, random: Generator, borrowed: Borrowed | None = None) -> Recorded:
    """Let every device of the lane measure for ``seconds`` from the moment that the vehicle stands."""
    waves = vibration(_with_driver(truth, random), seconds, truth.geophones.rate_hz, random, borrowed)
    lost = set(random.choice(sorted(waves), int(random.choice([0, 1, 2], p=[0.85, 0.1, 0.05])), replace=False))
    counts = {name: _counts(truth.geophones, name, wave) for name, wave in waves.items() if name not in lost}
    wind_s, wind = _wind(truth, seconds, random)
    frames_s, frames = _frames(truth, seconds, random)
    picture = None
    if truth.scanned:
        mirrored = bool(random.random() < 0.5)
        picture = radiography.radiograph(truth.load, truth.beam, random, mirrored)
    gas = _gas(truth, seconds, random)
    air_c = truth.side.air_k - 273.15
    return Recorded(truth, seconds, counts, gas, wind_s, wind, air_c, frames_s, frames, picture)


def _with_driver(truth: Truth, random: Generator) -> Scene:
    if not truth.driver_in:
        return truth.scene
    driver = replace(draw_people(random, 1)[0], at=-0.6, across=-0.3, along_share=0.1)
    return replace(truth.scene, people=(*truth.scene.people, driver))


def _counts(geophones: Geophones, name: str, wave: Floats) -> NDArray[np.int32]:
    shown = geophone(wave, geophones.rate_hz, geophones.f0_hz, geophones.damping)
    scaled = np.rint(shown * geophones.counts_per_m_s * geophones.gains[name])
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE).astype(np.int32)


def _gas(truth: Truth, seconds: float, random: Generator) -> tuple[Gas, ...]:
    """Outside rows by the probe itself or by one of the lane; inside rows from the moment that the probe is in."""
    if not truth.probe:
        return ()
    every_s = float(random.choice([0.5, 1.0, 2.0, 4.0], p=[0.2, 0.5, 0.2, 0.1]))
    presented = float(random.uniform(-15, 5) if random.random() < 0.5 else random.uniform(0, 5))
    if random.random() < 0.15:
        presented -= float(random.uniform(30, 300))  # it has been in since the lorry queued
    at = np.arange(min(-BEFORE_S, presented - 10.0), seconds, every_s)
    shown = probe_ppm(truth.scene, truth.air, at, presented, random)
    own = bool(random.random() < 0.3)
    outside = at[at < min(presented, 0.0)] if own else np.arange(-BEFORE_S, seconds, every_s)
    if own:
        rows = shown[: len(outside)]
    else:
        rows = outside_ppm(truth.air, outside) + random.normal(0, truth.air.noise_ppm, len(outside))
    begins = max(presented, 0.0) if random.random() < 0.5 else presented
    keep = at >= begins
    told_c = truth.air.inside_c if random.random() < 0.5 else None
    return (
        Gas("probe" if own else "outside", "ambient", outside, rows, None),
        Gas("probe", "inside", at[keep], shown[keep], told_c),
    )


def _wind(truth: Truth, seconds: float, random: Generator) -> tuple[Floats, Floats]:
    """The mast: a value each second, outdoors."""
    at = np.arange(-5.0, seconds, 1.0)
    around = truth.scene.around
    noise = np.convolve(random.normal(0, 1, len(at) + 4), np.full(5, 0.45), "valid")
    return at, np.maximum(0.0, around.wind_m_s * (1 + 0.5 * around.turbulence * noise) * random.normal(1, 0.05))


def _frames(truth: Truth, seconds: float, random: Generator) -> tuple[Floats, NDArray[np.float32]]:
    if not truth.imager:
        return np.zeros(0), np.zeros((0, truth.view.rows, truth.view.columns), np.float32)
    first = float(random.uniform(-3.0, 0.0))
    at = np.concatenate((first + np.arange(16) * random.uniform(0.15, 0.35), np.linspace(4.0, seconds, 8)))
    at = at[at < seconds]
    film = radiometry.film(truth.side, truth.view, truth.drive, (at - first).tolist(), random)
    return at, np.stack(film.frames)
