"""A cargo radiograph of a lorry: Beer and Lambert, scatter, photons (SCIENCE 5). Every range is assumed there.

``T = exp(-mu x)`` for an areal density x in g/cm2 of water-like mass, plus a scatter pedestal, blurred by the spot,
with Poisson noise; the open beam at both ends. Row 0 at the top. Pure numpy; all chance is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hil.world.radiometry import silhouette

Floats = NDArray[np.float64]
FLOOR_M, TOP_M = 1.2, 3.9


@dataclass(frozen=True, slots=True)
class Stowed:
    """A person in the beam: place as in `radiometry.Hidden`, and areal density through the middle."""

    along_m: float
    up_m: float
    pose: str
    mass_g_cm2: float


@dataclass(frozen=True, slots=True)
class Beam:
    """The scanner. ``mu`` in cm2/g at its effective energy: 0.049 at 2 MeV, 0.071 at 1 MeV."""

    pixel_m: float
    mu_cm2_g: float
    photons: float  # an open pixel
    scatter: float
    air: float  # share of full scale with nothing in the beam
    spread_m: float  # blur


@dataclass(frozen=True, slots=True)
class Load:
    """A load space. ``density_g_cm2`` is the middle of what its pallets hold; voids are (from, to) along it."""

    length_m: float
    density_g_cm2: float
    filled: float
    voids: tuple[tuple[float, float], ...]
    people: tuple[Stowed, ...]
    seed: int


def draw_load(random: Generator, people: int) -> Load:
    """Loads from empty to dense."""
    length = float(random.uniform(7, 13.6))
    voids = tuple((float(at), float(at + random.uniform(0.5, 1.2))) for at in random.uniform(0.5, length - 2, 3))
    density = float(np.exp(random.uniform(np.log(5), np.log(110))))
    load = Load(length, density, float(random.uniform(0, 1)), voids, (), int(random.integers(1 << 31)))
    return with_people(load, people, random)


def with_people(load: Load, people: int, random: Generator) -> Load:
    """The same load with people: who hides does so in a void, behind the load, or on it."""
    stowed = []
    for index in range(people):
        at = load.voids[index % len(load.voids)]
        inside = random.random() < 0.6
        along = random.uniform(at[0] + 0.2, at[1] - 0.2) if inside else random.uniform(0.4, load.length_m - 0.4)
        pose = str(random.choice(["sitting", "lying", "standing"], p=[0.6, 0.2, 0.2]))
        up = FLOOR_M + {"sitting": 0.5, "lying": 0.25, "standing": 0.8}[pose] + (0 if inside else random.uniform(0, 1))
        stowed.append(Stowed(float(along), float(min(up, 3.2)), pose, float(random.uniform(20, 40))))
    return replace(load, people=tuple(stowed))


def draw_beam(random: Generator, pixel_m: float | None = None) -> Beam:
    """A scanner between a small source and a 6 MV linac."""
    return Beam(
        pixel_m=float(random.uniform(0.008, 0.016)) if pixel_m is None else pixel_m,
        mu_cm2_g=float(random.uniform(0.045, 0.075)),
        photons=float(np.exp(random.uniform(np.log(3e3), np.log(1e5)))),
        scatter=float(random.uniform(0.01, 0.05)),
        air=float(random.uniform(0.75, 0.95)),
        spread_m=float(random.uniform(0.004, 0.012)),
    )


def areal_density(load: Load, along: Floats, up: Floats) -> Floats:
    """What the beam meets, g/cm2 of water-like mass: (n,) along, (m,) up -> (m, n); the cab is at the far end."""
    chance = np.random.default_rng(load.seed)
    x, y = along[None, :], up[:, None]
    on = (x > 0) & (x < load.length_m)
    mass = np.where(on & (y > FLOOR_M) & (y < TOP_M), chance.uniform(0.3, 3.0), 0.0)  # two walls
    mass = (
        mass + np.where(on & (np.abs(y - TOP_M) < 0.04), 8.0, 0.0) + np.where(on & (y > 0.9) & (y < FLOOR_M), 45.0, 0)
    )
    for at in (1.2, 2.5, 3.8, load.length_m + 0.5):
        mass = mass + np.where((x - at) ** 2 + (y - 0.5) ** 2 < 0.25, 120.0, 0.0)
    cab = (x > load.length_m + 0.3) & (x < load.length_m + 2.2)
    mass = mass + np.where(cab & (y > 0.6) & (y < 3.2), 6.0, 0.0) + np.where(cab & (y > 0.6) & (y < 1.5), 90.0, 0.0)
    mass = mass + _pallets(load, along, up, chance)
    for person in load.people:
        filled = silhouette(along - person.along_m, up - person.up_m, person.pose)
        mass = mass + person.mass_g_cm2 * np.sqrt(filled) * filled  # thickest in the middle
    return np.asarray(mass, np.float64)


def _pallets(load: Load, along: Floats, up: Floats, chance: Generator) -> Floats:
    """Pallets with boxes of their own density, texture in each, and lost space between."""
    mass = np.zeros((len(up), len(along)))
    at = 0.1
    while at < load.length_m - 0.9:
        wide, high = chance.uniform(0.8, 1.25), chance.uniform(0.5, 2.4)
        middle = at + wide / 2
        empty = chance.random() > load.filled or any(a - 0.4 < middle < b + 0.4 for a, b in load.voids)
        density = load.density_g_cm2 * np.exp(chance.normal(0, 0.4))
        if not empty:
            _pallet(mass, along - at, up - FLOOR_M, (wide, high, density), chance)
        at += wide + chance.exponential(0.06)
    return mass


def _pallet(mass: Floats, x: Floats, y: Floats, size: tuple[float, float, float], chance: Generator) -> None:
    wide, high, density = size
    columns, rows = np.flatnonzero((x > 0) & (x < wide)), np.flatnonzero((y > 0) & (y < high))
    if not len(columns) or not len(rows):
        return
    box_x, box_y = chance.uniform(0.2, 0.6), chance.uniform(0.15, 0.5)
    i, j = (x[columns] / box_x).astype(int), (y[rows] / box_y).astype(int)
    boxes = density * np.exp(chance.normal(0, chance.uniform(0.02, 0.25), (int(j.max()) + 1, int(i.max()) + 1)))
    texture = 1 + chance.uniform(0, 0.06) * chance.normal(size=(len(rows), len(columns)))
    mass[np.ix_(rows, columns)] += boxes[np.ix_(j, i)] * texture


def radiograph(load: Load, beam: Beam, random: Generator, mirrored: bool = False) -> Floats:
    """Share of full scale, (rows, columns) float64, air at both ends and above."""
    along = np.arange(-1.2, load.length_m + 3.4, beam.pixel_m)
    up = np.arange(4.4, 0.1, -beam.pixel_m)
    share = np.exp(-beam.mu_cm2_g * areal_density(load, along, up))
    share = share + beam.scatter * (1 - share)
    share = _blurred(share, beam.spread_m / beam.pixel_m)
    share = random.poisson(np.maximum(share, 0.0) * beam.photons) / beam.photons
    share = np.clip(share * beam.air, 0.0, 1.0)
    return np.asarray(share[:, ::-1] if mirrored else share, np.float64)


def _blurred(picture: Floats, sigma: float) -> Floats:
    """A Gaussian spot, by the transform of it."""
    fy, fx = np.fft.fftfreq(picture.shape[0])[:, None], np.fft.rfftfreq(picture.shape[1])[None, :]
    spot = np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(picture) * spot, picture.shape), np.float64)
