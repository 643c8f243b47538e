"""The air of a load space: a pocket near the people and a zone that the probe reaches (SCIENCE 3.2).

``V_R dC_R/dt = G - q (C_R - C_P) - lam V_R (C_R - C_0)``, ``V_P dC_P/dt = E + q (C_R - C_P) - lam V_P (C_P - C_0)``,
and the probe lags behind its line: ``tau dC_m/dt = C_P(t - t_d) - C_m``. A vehicle that drives changes its air faster
than one that stands. Volumes in m3, flows in m3/h, C in ppm. All ranges assumed there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hil.world.lorry import Scene

Floats = NDArray[np.float64]
AIR_CHANGES_PER_H = {"soft_sided": (1, 10), "hard_sided": (0.2, 1), "refrigerated": (0.02, 0.2), "tanker": (0.01, 0.05)}
VOLUMES_M3 = (22.0, 100.0)  # a 7.5 t body to a mega trailer (SCIENCE 3.1, 3.4)
WIND_PER_M_S = 0.3  # assumed: SCIENCE 3.1, lambda = a + b U for curtains
PPM_PER_HOUR = 60e-3 * 1e6  # of one litre a minute in one cubic metre
FULL_MASS_KG = 40e3


@dataclass(frozen=True, slots=True)
class Air:
    """One load space and one probe; ``cargo_l_min`` is CO2 from the load, ``cargo`` what is truly on board.

    ``aboard_s`` is how long the people are in it, ``stood_s`` how long it stands; before that its air changed
    ``driven_times`` faster. None: since it was sealed.
    """

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
    delay_s: float = 0.0
    aboard_s: float | None = None
    stood_s: float | None = None
    driven_times: float = 1.0
    inside_c: float = 15.0
    exhaust_ppm: float = 0.0
    exhaust_s: float = 60.0
    digit_ppm: float = 0.0


def draw_air(scene: Scene, random: Generator) -> Air:
    """A load space that fits the scene's body; produce now and then, dry ice, and loads that breathe unknown to all."""
    low, high = AIR_CHANGES_PER_H[scene.lorry.body_type]
    cargo, cargo_l_min = draw_cargo(scene.lorry.body_type, random)
    changes = float(np.exp(random.uniform(np.log(low), np.log(high))))
    if scene.lorry.body_type == "soft_sided":
        changes *= 1 + WIND_PER_M_S * scene.around.at_vehicle_m_s
    if scene.lorry.body_type == "refrigerated" and random.random() < 0.15:
        changes *= 6  # SCIENCE 3.1: open drains
    fill = random.uniform(0.0, 0.8)
    sealed_s = float(np.exp(random.uniform(np.log(120), np.log(12 * 3600))))
    stood_s = float(min(sealed_s, np.exp(random.uniform(np.log(60), np.log(7200)))))
    fresh = random.random() < 0.2
    pumped = random.random() < 0.4
    return Air(
        free_m3=float(random.uniform(*VOLUMES_M3) * (1 - fill)),
        pocket_share=float(random.uniform(0.2, 0.6)),
        exchange_m3_h=float(random.uniform(5, 60)),
        air_changes_per_h=changes,
        outside_ppm=float(random.uniform(412, 520)),
        cargo=cargo,
        cargo_l_min=cargo_l_min,
        sealed_for_s=sealed_s,
        lag_s=float(random.uniform(2, 5) if pumped else random.uniform(5, 30)),
        noise_ppm=float(random.uniform(0.5, 5)),
        offset_ppm=float(random.normal(0, 12)),
        gain=float(random.normal(1, 0.02)),
        delay_s=float(random.uniform(0, 6)) if pumped else 0.0,
        aboard_s=sealed_s * float(random.uniform(0.02, 1.0)) if fresh else sealed_s,
        stood_s=stood_s,
        driven_times=float(random.uniform(5, 20)),
        inside_c=float(random.uniform(0, 12) if cargo != "general" else random.uniform(-2, 30)),
        exhaust_ppm=float(random.uniform(5, 100)) if random.random() < 0.1 else 0.0,  # SCIENCE 3.2
        exhaust_s=float(random.uniform(15, 120)),
        digit_ppm=float(random.choice([0.0, 1.0])),
    )


def draw_cargo(body_type: str, random: Generator) -> tuple[str, float]:
    """What is on board and the CO2 that it gives off, L/min (SCIENCE 3.3: 4 to 77 persons for 20 t of produce)."""
    chance = random.random()
    if chance < (0.25 if body_type == "refrigerated" else 0.03) and body_type != "tanker":
        return "produce", float(np.exp(random.uniform(np.log(0.5), np.log(20))))
    if chance > 0.98 and body_type != "tanker":
        return "dry_ice", float(np.exp(random.uniform(np.log(0.3), np.log(10))))
    if random.random() < 0.03:  # assumed: wood, bread, flowers that nobody declares
        return "general", float(np.exp(random.uniform(np.log(0.02), np.log(0.5))))
    return "general", 0.0


def zone_ppm(scene: Scene, air: Air, after_s: Floats) -> Floats:
    """CO2 in the probe's zone at times since the load space was sealed; (n,) -> (n,) ppm, by exact exponentials.

    Times up to ``sealed_for_s`` are before the passage's beginning, later ones within it.
    """
    after = np.asarray(after_s, np.float64)
    aboard = air.sealed_for_s if air.aboard_s is None else min(air.aboard_s, air.sealed_for_s)
    stood = air.sealed_for_s if air.stood_s is None else min(air.stood_s, air.sealed_for_s)
    entered, stopped = air.sealed_for_s - aboard, air.sealed_for_s - stood
    edges = sorted({0.0, entered, stopped})
    state, found = np.zeros(2), np.zeros(len(after))
    for begin, end in zip(edges, [*edges[1:], np.inf], strict=True):
        people = sum(person.co2_l_min for person in scene.people) if begin >= entered else 0.0
        times = air.driven_times if begin < stopped else 1.0
        step = _Step(air, people, air.air_changes_per_h * times)
        here = (after >= begin) & (after < end)
        found[here] = step.after(state, after[here] - begin)[:, 1]
        if np.isfinite(end):
            state = step.after(state, np.array([end - begin]))[0]
    return air.outside_ppm + found


class _Step:
    """Pocket and zone over outside air while nothing changes."""

    def __init__(self, air: Air, people_l_min: float, lam: float) -> None:
        pocket, zone, q = air.free_m3 * air.pocket_share, air.free_m3 * (1 - air.pocket_share), air.exchange_m3_h
        self._source = np.array([people_l_min / pocket, air.cargo_l_min / zone]) * PPM_PER_HOUR
        matrix = np.array([[-q / pocket - lam, q / pocket], [q / zone, -q / zone - lam]])
        self._values, self._vectors = np.linalg.eig(matrix)

    def after(self, state: Floats, seconds: Floats) -> Floats:
        """(n, 2) ppm over outside, these times after ``state`` (2,)."""
        hours = seconds[:, None] / 3600
        start, source = (np.linalg.solve(self._vectors, part) for part in (state, self._source))
        decayed = start * np.exp(self._values * hours)
        grown = source * np.expm1(self._values * hours) / self._values
        return np.asarray(((decayed + grown) @ self._vectors.T).real, np.float64)


def outside_ppm(air: Air, at_s: Floats) -> Floats:
    """Outside air at these times of the passage, (n,) ppm: an exhaust drifts by now and then."""
    return air.outside_ppm + air.exhaust_ppm * np.exp(-0.5 * ((at_s - 10.0) / air.exhaust_s) ** 2)


def probe_ppm(scene: Scene, air: Air, at_s: Floats, inserted_s: float, random: Generator) -> Floats:
    """What the probe shows at evenly spaced ``at_s`` (n,) of the passage: outside air before ``inserted_s``."""
    late = at_s - air.delay_s
    inside = zone_ppm(scene, air, air.sealed_for_s + np.maximum(late, 0))
    truth = np.where(late < inserted_s, outside_ppm(air, at_s), inside)
    step = at_s[1] - at_s[0] if len(at_s) > 1 else 1.0
    share, level, shown = 1 - np.exp(-step / air.lag_s), float(truth[0]), np.empty(len(at_s))
    for index, value in enumerate(truth):
        level += (value - level) * share
        shown[index] = level
    read = np.maximum(air.gain * shown + air.offset_ppm + random.normal(0, air.noise_ppm, len(at_s)), 1.0)
    return np.round(read / air.digit_ppm) * air.digit_ppm if air.digit_ppm else read
