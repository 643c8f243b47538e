"""The air of a load space: a pocket near the people and a zone that the probe reaches (SCIENCE 3.2).

``V_R dC_R/dt = G - q (C_R - C_P) - lam V_R (C_R - C_0)``, ``V_P dC_P/dt = E + q (C_R - C_P) - lam V_P (C_P - C_0)``,
and the probe lags: ``tau dC_m/dt = C_P - C_m``. Volumes in m3, flows in m3/h, C in ppm. All ranges assumed there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hil.world.lorry import Scene

Floats = NDArray[np.float64]
AIR_CHANGES_PER_H = {"soft_sided": (1, 10), "hard_sided": (0.2, 1), "refrigerated": (0.02, 0.2), "tanker": (0.01, 0.05)}


@dataclass(frozen=True, slots=True)
class Air:
    """One load space and one probe; ``cargo_l_min`` is CO2 from the load."""

    free_m3: float
    pocket_share: float
    exchange_m3_h: float
    air_changes_per_h: float
    outside_ppm: float
    cargo: str
    cargo_l_min: float
    sealed_for_s: float
    lag_s: float
    noise_ppm: float
    offset_ppm: float  # of the inside probe against the outside one
    gain: float


def draw_air(scene: Scene, random: Generator) -> Air:
    """A load space that fits the scene's body; produce now and then."""
    low, high = AIR_CHANGES_PER_H[scene.lorry.body_type]
    cargo = "produce" if random.random() < (0.3 if scene.lorry.body_type == "refrigerated" else 0.03) else "general"
    return Air(
        free_m3=float(random.uniform(67, 100) * (1 - random.uniform(0.0, 0.8))),
        pocket_share=float(random.uniform(0.2, 0.6)),
        exchange_m3_h=float(random.uniform(5, 60)),
        air_changes_per_h=float(np.exp(random.uniform(np.log(low), np.log(high)))),
        outside_ppm=float(random.uniform(415, 520)),
        cargo=cargo,
        cargo_l_min=float(random.uniform(1, 10)) if cargo == "produce" else 0.0,
        sealed_for_s=float(np.exp(random.uniform(np.log(120), np.log(6 * 3600)))),
        lag_s=float(random.uniform(3, 30)),
        noise_ppm=float(random.uniform(1, 4)),
        offset_ppm=float(random.normal(0, 12)),
        gain=float(random.normal(1, 0.02)),
    )


def zone_ppm(scene: Scene, air: Air, after_s: Floats) -> Floats:
    """CO2 in the probe's zone at times since the load space was sealed; (n,) -> (n,) ppm, by exact exponentials."""
    pocket, zone = air.free_m3 * air.pocket_share, air.free_m3 * (1 - air.pocket_share)
    q, lam = air.exchange_m3_h, air.air_changes_per_h
    people = sum(person.co2_l_min for person in scene.people)
    source = np.array([people / pocket, air.cargo_l_min / zone]) * 60e-3 * 1e6  # L/min to ppm per hour
    matrix = np.array([[-q / pocket - lam, q / pocket], [q / zone, -q / zone - lam]])
    values, vectors = np.linalg.eig(matrix)
    start = np.linalg.solve(vectors, source)
    hours = np.asarray(after_s, np.float64)[:, None] / 3600
    grown = start * np.expm1(values * hours) / values
    return np.asarray(air.outside_ppm + (grown @ vectors.T)[:, 1].real, np.float64)


def probe_ppm(scene: Scene, air: Air, at_s: Floats, inserted_s: float, random: Generator) -> Floats:
    """What the probe shows at evenly spaced ``at_s`` (n,) of the passage: outside air before ``inserted_s``."""
    truth = np.where(at_s < inserted_s, air.outside_ppm, zone_ppm(scene, air, air.sealed_for_s + np.maximum(at_s, 0)))
    shown = np.empty(len(at_s))
    level = air.outside_ppm
    for index, value in enumerate(truth):
        step = at_s[1] - at_s[0] if len(at_s) > 1 else 1.0
        level += (value - level) * (1 - np.exp(-step / air.lag_s))
        shown[index] = level
    return np.maximum(air.gain * shown + air.offset_ppm + random.normal(0, air.noise_ppm, len(at_s)), 1.0)
