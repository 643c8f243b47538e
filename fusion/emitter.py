"""Whether a declared CO2 emitter (produce, dry ice) explains what the probe says: a declaration is a way to attack."""

from __future__ import annotations

from collections.abc import Mapping

from fusion.evidence.evidence import Evidence
from fusion.passage import Context
from fusion.verdict import State

EMITTERS = frozenset({"produce", "dry_ice"})
STEADY_PPM_PER_MIN = 60.0  # assumed: a load that has respired for hours has come near its level; people add to it
PRODUCE_WARMEST_C = 20.0  # assumed: produce is carried cool (SCIENCE 3.3 lists 0 to 15 C); warmer air has another cause
DRY_ICE_WARMEST_C = 10.0  # assumed: dry ice cools the space that it fills
QUIET_LOG10_LR = 0.5  # vibration must not speak for a person; less than three to one is no word (models/manifest.py)
HEAR_S = 8.0  # SCIENCE 9: an alarm comes within 10 s of the limit at the probe; a first look at vibration takes 5 s
OWN_RISE_S = 90.0  # three of the slowest probe's lags (SCIENCE 3.2): until then 5 % and more of its rise are its own


def agrees(
    context: Context,
    evidence: tuple[Evidence, ...],
    log10_lr: Mapping[str, float],
    inside_temperature_c: float | None,
    high_for_s: float,
) -> bool:
    """True only where slope, temperature and vibration were all measured and all fit the declared emitter.

    What was not measured cannot agree: silence here raises the alarm, it never lowers it. Only in the first `HEAR_S` is
    what cannot have been measured yet waited for; ``high_for_s`` is how long this passage's air is known to be high.
    """
    if context.cargo not in EMITTERS or inside_temperature_c is None:
        return False
    warmest_c = PRODUCE_WARMEST_C if context.cargo == "produce" else DRY_ICE_WARMEST_C
    if inside_temperature_c > warmest_c:
        return False
    parts = {part.modality: part for part in evidence}
    quiet = log10_lr.get("vibration", 0.0) < QUIET_LOG10_LR
    steady = "co2" in parts and _steady(parts["co2"].features)
    return all(
        fits if name in parts and parts[name].state is State.MEASURED else _awaited(parts.get(name), high_for_s)
        for name, fits in (("vibration", quiet), ("co2", steady))
    )


def _awaited(part: Evidence | None, high_for_s: float) -> bool:
    """Whether a modality may only need some seconds more: one that is faulty or out of limits will not come."""
    return high_for_s < HEAR_S and (part is None or part.state is State.ABSENT)


def _steady(air: Mapping[str, float]) -> bool:
    """Whether the air is not seen to rise: a probe's own step response, under way or fitted, is no rise of the air."""
    slope = air.get("slope_ppm_per_min")
    if slope is None:
        return False
    own = air.get("settled", 0.0) > 0.5 or air.get("dwell_s", OWN_RISE_S) < OWN_RISE_S
    return own or abs(slope) <= STEADY_PPM_PER_MIN
