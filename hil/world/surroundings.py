"""What shakes a parked lorry that nobody hides in: ground, traffic, neighbours, wind, rain (SCIENCE 2.4).

Spectra here are as of ``numpy.fft.rfft`` over n samples; velocities in m/s, forces in N. Ranges assumed there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
# Peterson high-noise model as velocity ASD (SCIENCE 2.4): Hz -> m/s/rtHz; flat outside.
_GROUND_HZ = np.array([0.5, 1.0, 3.0, 5.0, 8.0, 20.0, 40.0])
_GROUND_ASD = np.array([300e-9, 229e-9, 151e-9, 466e-9, 437e-9, 200e-9, 100e-9])
_TILT_HZ = np.array([0.5, 1.5, 4.0, 10.0, 40.0])  # where a site's ground departs from the model
AREA_M2, AIR_KG_M3 = 13.6 * 2.7, 1.2  # SCIENCE 2.4


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Outdoor wind, ground against the high-noise model, and what the neighbours do.

    ``reaches`` is the share of the wind that a shed or its neighbours let through; ``tilt_db`` departs from the model
    at five frequencies; ``wheels`` is how much of the incoherent ground the axles feel, each its own.
    """

    wind_m_s: float
    sheltered: bool
    ground_gain: float
    ground_coherence: float
    trucks_per_s: float
    neighbour_rpm: float | None
    reaches: float | None = None
    drag: float = 1.2
    turbulence: float = 0.2
    scale_m: float = 20.0
    tilt_db: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    wheels: float = 0.0
    swell_db: float = 0.0
    rain_m_s: float = 0.0
    creaks_per_s: float = 0.0
    creak_m_s: float = 0.0

    @property
    def at_vehicle_m_s(self) -> float:
        """The wind that reaches the vehicle."""
        usual = 0.08 if self.sheltered else 0.85
        return self.wind_m_s * (usual if self.reaches is None else self.reaches)


def draw_surroundings(random: Generator) -> Surroundings:
    """Sheds and open lanes, ports quieter and louder than the high-noise model."""
    sheltered = bool(random.random() < 0.6)
    return Surroundings(
        wind_m_s=float(random.weibull(2.0) * random.uniform(2.0, 5.0)),
        sheltered=sheltered,
        ground_gain=float(10 ** random.uniform(-1.0, 0.4)),
        ground_coherence=float(random.uniform(0.75, 0.995)),
        trucks_per_s=float(random.choice([0.0, 1 / 60, 1 / 20], p=[0.4, 0.4, 0.2])),
        neighbour_rpm=float(random.uniform(450, 900)) if random.random() < 0.25 else None,
        reaches=float(random.uniform(0.0, 0.15) if sheltered else random.uniform(0.6, 1.0)),
        drag=float(random.uniform(0.8, 1.6)),
        turbulence=float(random.uniform(0.1, 0.3)),
        scale_m=float(random.uniform(8, 40)),
        tilt_db=tuple(float(db) for db in random.normal(0, 2.5, len(_TILT_HZ))),
        wheels=float(random.uniform(0.3, 1.2)),
        swell_db=float(random.uniform(0, 2.5)),
        rain_m_s=float(10 ** random.uniform(-8, -6.3)) if not sheltered and random.random() < 0.12 else 0.0,
        creaks_per_s=float(random.choice([0.0, 1 / 30, 1 / 6], p=[0.6, 0.3, 0.1])),
        creak_m_s=float(10 ** random.uniform(-7.5, -5.5)),
    )


def coloured(asd: Floats, n: int, rate_hz: float, random: Generator) -> Complexes:
    """Gaussian noise with one-sided amplitude density ``asd``."""
    scale = asd * np.sqrt(n * rate_hz / 4)
    draws = random.normal(size=(2, len(asd)))
    spectrum = np.asarray(scale * (draws[0] + 1j * draws[1]), np.complex128)
    spectrum[0] = 0.0
    return spectrum


def ground_asd(around: Surroundings, hz: Floats) -> Floats:
    """Amplitude density of the ground here, m/s/rtHz."""
    safe = np.maximum(hz, 0.1)
    tilt = np.interp(np.log(safe), np.log(_TILT_HZ), around.tilt_db)
    model = np.exp(np.interp(safe, _GROUND_HZ, np.log(_GROUND_ASD)))
    return np.asarray(around.ground_gain * model * 10 ** (tilt / 20), np.float64)


def loudness(around: Surroundings, n: int, rate_hz: float, random: Generator) -> Floats:
    """How loud the ground is over time against its usual level: traffic that passes, and a slow swell; (n,)."""
    at = np.arange(n)
    knots = random.normal(0, 1, max(2, int(n / rate_hz / 8) + 2))
    swell = np.interp(at, np.linspace(0, n, len(knots)), knots) * around.swell_db
    passing = np.zeros(n)
    for moment in np.flatnonzero(random.random(n) < around.trucks_per_s / rate_hz):
        width = random.uniform(1.0, 2.5) * rate_hz  # a heavy vehicle at 10 m: 2-5 s, 10-100 times (unverified)
        passing += np.exp(random.uniform(np.log(2), np.log(50))) * np.exp(-0.5 * ((at - moment) / width) ** 2)
    return np.asarray(10 ** (swell / 20) + passing, np.float64)


def neighbour(around: Surroundings, n: int, rate_hz: float, random: Generator) -> Floats:
    """A neighbour's idling engine in the ground, m/s (n,); zeros where there is none."""
    made = np.zeros(n)
    if around.neighbour_rpm is None:
        return made
    t = np.arange(n) / rate_hz
    for order in (0.5, 1.0, 1.5, 3.0):
        f = around.neighbour_rpm / 60 * order * (1 + 0.003 * np.sin(2 * np.pi * 0.1 * t))
        level = random.uniform(0.02, 0.5) * 1e-6
        made += level * np.sin(2 * np.pi * np.cumsum(f) / rate_hz + random.uniform(0, 6))
    return made


def wind_force(around: Surroundings, hz: Floats, n: int, rate_hz: float, random: Generator) -> Complexes:
    """Force of gusts on the side, N: Kaimal's spectrum, averaged over a big side (SCIENCE 2.4), in gusts."""
    u = max(around.at_vehicle_m_s, 0.02)
    f = np.maximum(hz, 0.05)
    length = around.scale_m
    kaimal = (around.turbulence * u) ** 2 * 4 * length / u / (1 + 6 * f * length / u) ** (5 / 3)
    admittance = 1 / (1 + (2 * f * np.sqrt(AREA_M2) / u) ** (4 / 3)) ** 2
    density = AIR_KG_M3 * around.drag * AREA_M2 * u * np.sqrt(kaimal * admittance)
    knots = random.normal(0, around.turbulence, max(2, int(n / rate_hz / 5) + 2))
    gust = np.clip(1 + np.interp(np.arange(n), np.linspace(0, n, len(knots)), knots), 0.3, 2.0) ** 2
    return np.fft.rfft(np.fft.irfft(coloured(density, n, rate_hz, random), n) * gust)
