"""Context as the classifier reads it: what the surroundings and the vehicle make a measurement worth.

Every value is finite and bounded; what is unknown has the value that says the least, and never a number of its own.
"""

from __future__ import annotations

from math import isfinite, log10

from fusion.evidence.co2 import USUAL_SEALED_S
from fusion.evidence.vibration import USUAL_MASS_KG, wind_at_vehicle_m_s
from fusion.passage import BodyType, Passage

CONTEXT = ("mass_log", "airy", "sealed_log", "emitter", "wind")  # in the model's order

_AIRY = {BodyType.SOFT_SIDED: 1.0, BodyType.OPEN: 1.0, BodyType.REFRIGERATED: -1.0, BodyType.TANKER: -1.0}
_EMITTERS = frozenset({"produce", "dry_ice"})
WIND_UNIT_M_S = 4.0  # assumed: the middle of its range, as the usual mass and the usual time sealed are


def context_values(passage: Passage, until_utc_ns: int) -> dict[str, float]:
    """A value for each name of `CONTEXT`, from what was known by ``until_utc_ns``.

    ``mass_log`` log10 of mass / 15 t in +-1; ``airy`` 1 curtain, 0 box or unknown, -1 insulated; ``sealed_log`` log10
    of time sealed / 30 min in +-1.5; ``emitter`` 1 where a load that gives off CO2 is declared; ``wind`` at the
    vehicle / 4 m/s in 0..2.
    """
    wind = wind_at_vehicle_m_s(passage, until_utc_ns)
    return {
        "mass_log": _log_ratio(passage.gross_mass_kg, USUAL_MASS_KG, 1.0),
        "airy": _AIRY.get(passage.body_type, 0.0),
        "sealed_log": _log_ratio(passage.context.sealed_for_s, USUAL_SEALED_S, 1.5),
        "emitter": float(passage.context.cargo in _EMITTERS),
        "wind": min(2.0, (wind or 0.0) / WIND_UNIT_M_S),
    }


def _log_ratio(value: float | None, usual: float, most: float) -> float:
    if value is None or not isfinite(value) or value <= 0:
        return 0.0
    return min(most, max(-most, log10(value / usual)))
