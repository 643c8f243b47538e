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
OWN_RISE_S = 30.0  # SCIENCE 3.2: the slowest probe's lag; until then it rises by itself, whatever the air does


def agrees(
    context: Context, evidence: tuple[Evidence, ...], log10_lr: Mapping[str, float], inside_temperature_c: float | None
) -> bool:
    """True only where slope, temperature and vibration were all measured and all fit the declared emitter.

    What was not measured cannot agree: silence here raises the alarm, it never lowers it.
    """
    if context.cargo not in EMITTERS:
        return False
    measured = {part.modality: part for part in evidence if part.state is State.MEASURED}
    if "vibration" not in measured or "co2" not in measured or inside_temperature_c is None:
        return False
    warmest_c = PRODUCE_WARMEST_C if context.cargo == "produce" else DRY_ICE_WARMEST_C
    return (
        _steady(measured["co2"].features)
        and inside_temperature_c <= warmest_c
        and log10_lr.get("vibration", 0.0) < QUIET_LOG10_LR
    )


def _steady(air: Mapping[str, float]) -> bool:
    """Whether the air is not seen to rise: a probe's own step response, under way or fitted, is no rise of the air."""
    slope = air.get("slope_ppm_per_min")
    if slope is None:
        return False
    own = air.get("settled", 0.0) > 0.5 or air.get("dwell_s", OWN_RISE_S) < OWN_RISE_S
    return own or abs(slope) <= STEADY_PPM_PER_MIN
