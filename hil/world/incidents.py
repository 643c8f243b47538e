"""Three lorries in which people died, as far as it is known how (SCIENCE 3.4): the alarm must open them within seconds.

Essex 2019, 39 people, refrigerated, unit off, sealed for 12 h; Dover 2000, 60 people, vent shut; Parndorf 2015, 71
people in a 7.5 t body. Volumes and breath there; each is met when the probe's zone has just passed 5,000 ppm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hil.world.air import zone_ppm
from hil.world.passage import Truth, draw_truth, inhabited

Floats = NDArray[np.float64]
LIMIT_PPM = 5_000.0
ATMOSPHERE_PPM = 40_000.0


@dataclass(frozen=True, slots=True)
class Incident:
    """``free_m3`` is the range of air in it; ``litres_min`` what each breathes out."""

    name: str
    people: int
    free_m3: tuple[float, float]
    litres_min: tuple[float, float] = (0.25, 0.35)


INCIDENTS = (
    Incident("essex-2019", 39, (78.0, 82.0)),
    Incident("dover-2000", 60, (40.0, 60.0)),
    Incident("parndorf-2015", 71, (21.0, 23.0)),
)


def incident(which: Incident, random: Generator, reached_ppm: float = LIMIT_PPM) -> Truth:
    """The lorry on the lane, sealed for as long as its air took to ``reached_ppm`` at the probe."""
    truth = draw_truth(random, 0, 0.0)
    scene = replace(truth.scene, lorry=replace(truth.scene.lorry, body_type="refrigerated", slosh_m_s=0.0), machines=())
    people = inhabited(replace(truth, scene=scene), which.people, random)
    breath = [replace(person, co2_l_min=float(random.uniform(*which.litres_min))) for person in people.scene.people]
    scene = replace(people.scene, people=tuple(breath))
    air = replace(
        truth.air,
        free_m3=float(random.uniform(*which.free_m3)),
        air_changes_per_h=float(random.uniform(0.02, 0.1)),
        cargo="general",
        cargo_l_min=0.0,
        aboard_s=None,
        stood_s=None,
        driven_times=1.0,
        exhaust_ppm=0.0,
        sealed_for_s=86_400.0,
    )
    told = replace(
        truth.declared, body_type="refrigerated", engine="off", refrigeration="off", cargo="unknown", driver="out"
    )
    whole = replace(people, scene=scene, air=air, declared=told, driver_in=False, probe=True)
    return replace(whole, air=replace(air, sealed_for_s=reached_s(whole, reached_ppm)))


def reached_s(truth: Truth, ppm: float) -> float:
    """Seconds from sealing until the probe's zone has ``ppm``.

    Raises:
        ValueError: it never has, within a day.
    """
    at: Floats = np.arange(0.0, 86_400.0, 5.0)
    over = np.flatnonzero(zone_ppm(truth.scene, truth.air, at) >= ppm)
    if not len(over):
        raise ValueError(f"{ppm:g} ppm are not reached within a day")
    return float(at[over[0]])
