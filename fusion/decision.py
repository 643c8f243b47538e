"""From evidence to a level: sequential looks, two bounds, and the rule that silence is never "no search".

Thresholds are on the log10 likelihood ratio, for the pattern of modalities that spoke and for the look
(Neyman-Pearson; SCIENCE 6.5, 6.6). A pattern without a `no_search` threshold can never say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from drivers.reading import GasSample, Point
from fusion.passage import Context
from fusion.verdict import Level, Reason

OPEN_NOW_PPM = 5_000.0  # UK 8 h limit for CO2; SCIENCE 3.4
ATMOSPHERE_PPM = 40_000.0  # NIOSH immediately dangerous to life; never silenced
REEFER_RISE_PPM_PER_MIN = 100.0  # assumed: "a fast rise" in a refrigerated body with the unit off

OVER_RANGE = "over range"  # the probe's own word: it counts as high, never as invalid


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds on the sum of log10 likelihood ratios; None where the calibration set cannot support one."""

    no_search_log10_lr: float | None
    search_log10_lr: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """A level and why; ``final`` when no later look may change it."""

    level: Level
    final: bool
    reasons: tuple[Reason, ...]


def decide(log10_lr: Sequence[float | None], thresholds: Thresholds, *, last_look: bool, on_timeout: Level) -> Decision:
    """Judge one look. ``log10_lr`` has None for every modality that said nothing.

    Raises:
        ValueError: ``on_timeout`` is neither search nor recheck.
    """
    if on_timeout not in (Level.SEARCH, Level.RECHECK):
        raise ValueError(f"policy.on_timeout: {on_timeout.value}: give search or recheck, never no_search")
    spoken = [value for value in log10_lr if value is not None]
    if not all(isfinite(value) for value in spoken):
        return Decision(on_timeout, last_look, (Reason(code="model.no_number", text="The model gave no number"),))
    total = sum(spoken)
    if spoken and thresholds.search_log10_lr is not None and total >= thresholds.search_log10_lr:
        return Decision(
            Level.SEARCH, True, (Reason(code="score.over", text="Evidence for a person is over the site's threshold"),)
        )
    if spoken and thresholds.no_search_log10_lr is not None and total < thresholds.no_search_log10_lr:
        return Decision(
            Level.NO_SEARCH, True, (Reason(code="score.under", text="Evidence against a person meets the miss bound"),)
        )
    if last_look:
        text = "No sensor measured this vehicle" if not spoken else "Time is up and the evidence is not sufficient"
        return Decision(on_timeout, True, (Reason(code="policy.timeout", text=text),))
    return Decision(Level.RECHECK, False, (Reason(code="measuring", text="Measuring goes on"),))


def life_safety(
    samples: Sequence[GasSample], context: Context, *, refrigerated: bool, emitter_agrees: bool
) -> Reason | None:
    """The reason to open now, or None. Judged on every CO2 reading, outside the looks and whatever the score.

    Args:
        samples: gas samples of the passage in order of time.
        context: what is declared; a declared emitter silences 5,000 ppm only while ``emitter_agrees``.
        refrigerated: the body is refrigerated.
        emitter_agrees: slope, temperature and vibration agree with the declared emitter.
    """
    inside = [sample for sample in samples if sample.point is Point.INSIDE]
    if any(sample.status == OVER_RANGE for sample in inside):
        return Reason(
            code="life.co2_over_range",
            text="CO2 inside is over the probe's range: atmosphere dangerous, ventilate, do not enter",
        )
    valid = [sample for sample in inside if sample.co2_ppm is not None and isfinite(sample.co2_ppm)]
    highest = max((sample.co2_ppm or 0.0 for sample in valid), default=0.0)
    if highest >= ATMOSPHERE_PPM:
        return Reason(
            code="life.atmosphere", text=f"CO2 inside {highest:.0f} ppm: atmosphere dangerous, ventilate, do not enter"
        )
    silenced = emitter_agrees
    if highest >= OPEN_NOW_PPM and not silenced:
        return Reason(code="life.co2", text=f"CO2 inside {highest:.0f} ppm")
    if refrigerated and context.refrigeration == "off" and not silenced:
        rise = _rise_ppm_per_min(valid)
        if rise is not None and rise >= REEFER_RISE_PPM_PER_MIN:
            return Reason(
                code="life.reefer_rise", text=f"CO2 rises by {rise:.0f} ppm a minute in a refrigerated body, unit off"
            )
    return None


def _rise_ppm_per_min(samples: Sequence[GasSample]) -> float | None:
    """Mean rise over at least 30 s (assumed: shorter is probe lag), or None."""
    if len(samples) < 2:
        return None
    first, last = samples[0], samples[-1]
    minutes = (last.stamp.time_utc_ns - first.stamp.time_utc_ns) / 60e9
    if minutes < 0.5 or first.co2_ppm is None or last.co2_ppm is None:
        return None
    return (last.co2_ppm - first.co2_ppm) / minutes
