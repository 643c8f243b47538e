"""What a passive millimetre-wave imager sees of a lorry's side, in kelvin (SCIENCE 4, DEVICES-imaging 1).

Per pixel ``T = tau T_inside + (1 - tau - rho) T_curtain + rho T_outside``, where a person shows
``e T_skin + (1 - e) T_in`` against a load at ``T_in``; then the lorry rolls through the field of view, and the imager
adds channel offsets, a fixed baseline, drift and noise. Every range is assumed there. Pure numpy; all chance is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SKIN_K = 306.0  # DEVICES-imaging 1
OPAQUE = frozenset({"hard_sided", "refrigerated", "tanker"})


@dataclass(frozen=True, slots=True)
class Hidden:
    """One person: middle (m from the rear end, m above the ground), pose, share that the load does not cover."""

    along_m: float
    up_m: float
    pose: str  # sitting, lying, standing
    emissivity: float
    uncovered: float


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a load space and what is round it. Temperatures in K; ``rho`` is the curtain's reflectivity."""

    body_type: str
    length_m: float
    inside_k: float
    air_k: float
    sky_k: float
    tau: float
    rho: float
    sun_k: float  # what the sun adds to the curtain
    wet: float  # 0 dry to 1 a film of water
    people: tuple[Hidden, ...]
    seed: int  # of everything that is just there: load, patches, folds


@dataclass(frozen=True, slots=True)
class View:
    """The imager. ``height_m`` is what its rows span, from 0.4 m above the ground."""

    rows: int
    columns: int
    height_m: float
    netd_k: float
    channels_k: float  # offsets of its receivers
    baseline_k: float  # standing wave over the field of view
    drift_k_per_s: float


@dataclass(frozen=True, slots=True)
class Drive:
    """The lorry's motion along the columns: its first speed, and when it stands (None: it drives through)."""

    speed_m_s: float
    stops_s: float | None
    way: int  # +1 or -1

    def travelled_m(self, at_s: Floats) -> Floats:
        """Way since the beginning, (n,) -> (n,); it brakes evenly."""
        if self.stops_s is None:
            return self.speed_m_s * at_s
        t = np.minimum(at_s, self.stops_s)
        return np.asarray(self.speed_m_s * (t - t**2 / (2 * self.stops_s)) if self.stops_s > 0 else 0.0 * t, np.float64)


def draw_side(random: Generator, body_type: str, people: int) -> Side:
    """A side of the ranges of SCIENCE 4."""
    air = float(random.uniform(265, 303))
    warmer = float(random.uniform(-2, 6))
    length = float(random.uniform(7, 13.6))
    side = Side(
        body_type=body_type,
        length_m=length,
        inside_k=air + warmer,
        air_k=air,
        sky_k=float(random.uniform(60, 130) if random.random() < 0.6 else random.uniform(130, 265)),
        tau=float(random.uniform(0.5, 0.9)) if body_type not in OPAQUE else 0.0,
        rho=float(random.uniform(0.01, 0.05)) if body_type not in OPAQUE else 0.9,
        sun_k=float(random.uniform(4, 15)) if random.random() < 0.15 else 0.0,
        wet=float(random.uniform(0.3, 1.0)) if random.random() < 0.1 else 0.0,
        people=(),
        seed=int(random.integers(1 << 31)),
    )
    return with_people(side, people, random)


def with_people(side: Side, people: int, random: Generator) -> Side:
    """The same side with people behind it; half of those who hide sit where the load covers them (v = 0.5)."""
    hidden = tuple(
        Hidden(
            along_m=float(random.uniform(0.5, side.length_m - 0.5)),
            up_m=float(random.uniform(1.7, 2.3)),
            pose=str(random.choice(["sitting", "lying", "standing"], p=[0.6, 0.2, 0.2])),
            emissivity=float(random.uniform(0.5, 0.9)),
            uncovered=1.0 if random.random() < 0.5 else 0.0,
        )
        for _ in range(people)
    )
    return replace(side, people=hidden)


def draw_view(random: Generator, rows: int = 48, columns: int = 64) -> View:
    """An imager: NETD 0.24-0.7 K (DEVICES-imaging 1)."""
    return View(
        rows, columns, float(random.uniform(3.0, 4.2)), float(random.uniform(0.24, 0.7)), float(random.uniform(0, 0.4)),
        float(random.uniform(0, 0.5)), float(random.normal(0, 0.004)),
    )  # fmt: skip


def draw_drive(random: Generator) -> Drive:
    """Walking pace; most stop, some drive through."""
    stops = None if random.random() < 0.3 else float(random.uniform(0, 6))
    return Drive(float(random.uniform(0.4, 2.0)), stops, int(random.choice([-1, 1])))


def panorama(side: Side, view: View, start_m: float, width: int) -> Floats:
    """The side as it is, (rows, width) in K; column 0 is ``start_m`` from the rear end, behind it where negative."""
    pixel_m = view.height_m / view.rows
    along: Floats = np.asarray(start_m + (np.arange(width) + 0.5) * pixel_m, np.float64)
    up: Floats = np.asarray(0.4 + view.height_m - (np.arange(view.rows) + 0.5) * pixel_m, np.float64)
    chance = np.random.default_rng(side.seed)
    on_side = (along > 0) & (along < side.length_m)
    above = np.where(up[:, None] > 2.0, side.sky_k, 0.5 * (side.sky_k + side.air_k)) + 0.0 * along
    picture = np.where(up[:, None] > 1.2, above, side.air_k - 3.0)  # sky behind, ground before
    wheels = sum(np.exp(-(((along - at) / 0.4) ** 4)) for at in (1.5, 2.8, side.length_m - 1.5))
    picture = np.where(up[:, None] < 1.1, picture + 4.0 * wheels, picture)
    load = _inside(side, along, up, chance)
    tau, rho = _curtain(side, along, up, chance)
    outside = 0.6 * side.sky_k + 0.4 * side.air_k  # assumed: half of what a wall mirrors is sky
    curtain_k = side.air_k + side.sun_k * (1 - 0.6 * _shadows(along, chance))
    seen = tau * load + (1 - tau - rho) * curtain_k + rho * outside
    here = on_side[None, :] & (up[:, None] > 1.1) & (up[:, None] < 3.8)
    return np.where(here, seen, picture)


def _inside(side: Side, along: Floats, up: Floats, chance: Generator) -> Floats:
    """Load and people behind the curtain, (rows, width)."""
    load = np.full((len(up), len(along)), side.inside_k)
    at = 0.2
    while at < side.length_m:
        wide, high = chance.uniform(0.8, 1.3), chance.uniform(0.8, 2.4)
        block = (along > at) & (along < at + wide)
        load += np.where(block[None, :] & (up[:, None] < 1.2 + high), chance.normal(0, 0.7), 0.0)
        at += wide + chance.exponential(0.2)
    for person in side.people:
        shape = silhouette(along - person.along_m, up - person.up_m, person.pose) * person.uncovered
        skin = person.emissivity * SKIN_K + (1 - person.emissivity) * side.inside_k
        load += shape * (skin - load)
    return load


def silhouette(x: Floats, y: Floats, pose: str) -> Floats:
    """How much of each pixel a body fills: (n,) along and (m,) up from its middle, m -> (m, n), 0..1."""
    parts = {
        "sitting": ((0.0, -0.1, 0.24, 0.38), (0.0, 0.42, 0.12, 0.14)),
        "standing": ((0.0, -0.05, 0.2, 0.7), (0.0, 0.78, 0.11, 0.13)),
        "lying": ((0.0, 0.0, 0.65, 0.17), (0.78, 0.0, 0.13, 0.12)),
    }[pose]
    filled = np.zeros((len(y), len(x)))
    for cx, cy, wide, high in parts:
        inside = ((x[None, :] - cx) / wide) ** 2 + ((y[:, None] - cy) / high) ** 2
        filled = np.maximum(filled, 1 / (1 + np.minimum(inside, 1e6) ** 4))  # round, with a soft rim
    return filled


def _curtain(side: Side, along: Floats, up: Floats, chance: Generator) -> tuple[Floats, Floats]:
    """tau and rho over the side, each (rows, width): straps, posts, patches, folds, and water."""
    tau = np.full((len(up), len(along)), side.tau)
    rho = np.full_like(tau, side.rho)
    for at in np.arange(0.3, side.length_m, 0.7):  # straps
        tau[:, np.abs(along - at) < 0.03] *= 0.5
    for at in chance.uniform(0, side.length_m, 4):  # posts: steel behind the curtain
        tau[:, np.abs(along - at) < 0.06] *= 0.1
    for _ in range(int(chance.integers(0, 8))):  # logos and patches: one per cent of the sky is two kelvin
        wide, high = chance.uniform(0.2, 1.5), chance.uniform(0.2, 1.2)
        x, y = chance.uniform(0, side.length_m), chance.uniform(1.3, 3.6)
        place = (np.abs(along - x) < wide / 2)[None, :] & (np.abs(up - y) < high / 2)[:, None]
        rho += np.where(place, chance.normal(0, 0.01), 0.0)
    rho += 0.004 * np.sin(2 * np.pi * along / chance.uniform(0.4, 1.2) + chance.uniform(0, 6))[None, :]  # folds
    if side.wet:
        streaks = side.wet * (0.6 + 0.4 * chance.random(len(along)))[None, :] * np.linspace(0.7, 1.0, len(up))[:, None]
        tau, rho = tau * (1 - 0.9 * streaks), rho + 0.25 * streaks
    return tau, np.clip(rho, 0.0, 1.0 - tau)


def _shadows(along: Floats, chance: Generator) -> Floats:
    """What a gantry or the neighbour keeps the sun from, (1, width)."""
    shade = np.zeros(len(along))
    for _ in range(int(chance.integers(0, 3))):
        shade = np.maximum(shade, np.abs(along - chance.uniform(0, 13)) < chance.uniform(0.2, 1.0))
    return np.asarray(shade[None, :], np.float64)


@dataclass(frozen=True, slots=True)
class Film:
    """Frames, each (rows, columns) float32 in K, and what of the side was in view, m from the rear end."""

    frames: tuple[NDArray[np.float32], ...]
    from_m: float
    to_m: float


def film(side: Side, view: View, drive: Drive, at_s: Sequence[float], random: Generator) -> Film:
    """Frames at these moments (at least one) while the lorry rolls in; most of what is in view at the end is side."""
    times = np.asarray(at_s, np.float64)
    pixel_m = view.height_m / view.rows
    shift = np.rint(drive.way * drive.travelled_m(times) / pixel_m).astype(int)
    quarter = view.columns // 4
    lead = int(random.integers(-quarter, max(1, round(side.length_m / pixel_m) - 3 * quarter)))
    first = lead + int(shift[-1]) - int(shift.max())
    width = view.columns + int(np.ptp(shift))
    whole = panorama(side, view, first * pixel_m, width)
    offsets = random.normal(0, view.channels_k, (view.rows, 1))
    wave = view.baseline_k * np.sin(np.linspace(0, random.uniform(3, 12), view.columns))[None, :]
    frames = []
    for at, moved in zip(times, shift, strict=True):
        begin = int(shift.max()) - int(moved)
        picture = whole[:, begin : begin + view.columns] + offsets + wave + view.drift_k_per_s * at
        frames.append((picture + random.normal(0, view.netd_k, picture.shape)).astype(np.float32))
    return Film(tuple(frames), first * pixel_m, (first + width) * pixel_m)
