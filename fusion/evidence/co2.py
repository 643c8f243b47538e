"""CO2 as evidence: inside minus outside, the level that the probe is on its way to, and for how long it has dwelt.

A probe follows the air with a lag, so its step response is fitted (`settling`) and the level at its end is read: its
T90 is stated beside it. Where that level is not known well enough the probe has not settled; such a reading is a lower
bound, flagged ``settled`` 0, and the classifier lets it raise the score only (SCIENCE 3.2). Every probe is compared
with outside air of the same minute, its own where it has any: then its offset cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import expm1, isfinite, log10

import numpy as np
from numpy.typing import NDArray

from drivers.reading import GasSample, Point
from fusion.decision import OVER_RANGE
from fusion.evidence.air import compensated, condensing, usable, why_none
from fusion.evidence.evidence import Evidence, device_silence, silent
from fusion.evidence.median import median
from fusion.evidence.settling import T90_LAGS, evenly, settle
from fusion.evidence.vibration import wind_at_vehicle_m_s
from fusion.passage import BodyType, Passage
from fusion.verdict import State

CO2 = "co2"
# What training reads, in order. A name never changes its meaning: a released model goes on reading what it learned.
FEATURES = ("level_log", "step_log", "slope_log", "persons_log", "settled")

OVER_RANGE_PPM = 10_000.0  # assumed: the smallest range of the probes we read; high, never invalid
DWELL_NEEDED_S = 90.0  # SCIENCE 1: a hand probe's check takes 60-120 s
SAME_MINUTE_S = 60.0  # SCIENCE 3.2: lane exhaust and weather move the outside by 20-200 ppm
LAG_S = 30.0  # SCIENCE 3.2: slowest response of a diffusion cell (unverified)
SETTLED_PPM = 15.0  # assumed: what may still be missing at a plateau ...
SETTLED_SHARE = 0.1  # assumed: ... or this share of the excess, whichever is more
LEVEL_WINDOW_S = 10.0  # assumed: the level is the median of the last samples
SLOPE_WINDOW_S = 30.0  # assumed: one lag
FEWEST_ROWS = 3  # assumed: fewer have no middle; a slope of so few is weak, and the look's weights say so
EXCESS_UNIT_PPM, SLOPE_UNIT_PPM_PER_MIN = 25.0, 10.0  # assumed: where the log features turn from linear
LEAST_OUTSIDE_PPM = 380.0  # assumed: open air has had 400 and more for years; less is a probe that moved its zero
# Air changes an hour at standstill: the middles of assumed ranges (SCIENCE 3.1); and what wind adds, per m/s.
CHANGES_PER_H = {
    BodyType.SOFT_SIDED: 3.0,
    BodyType.HARD_SIDED: 0.45,
    BodyType.REFRIGERATED: 0.06,
    BodyType.TANKER: 0.03,
}
USUAL_CHANGES_PER_H, WIND_PER_M_S = 0.5, 0.3  # assumed
FREE_M3, BREATH_M3_H = 45.0, 0.015  # SCIENCE 3.1, 3.2: half a trailer; 0.25 L/min at rest
USUAL_SEALED_S = 1_800.0  # assumed, where nobody says when it was sealed
BELOW_OUTSIDE_PPM = 75.0  # assumed: five times a probe's offset; no load space takes CO2 out of its air


@dataclass(frozen=True, slots=True)
class _Probe:
    """One device inside: seconds since its first row and ppm, both (n,), and the share of its rows that were good."""

    device: str
    time_s: NDArray[np.float64]
    ppm: NDArray[np.float64]
    share: float
    outside_ppm: float


def co2_evidence(passage: Passage, until_utc_ns: int) -> Evidence:
    """Evidence from all gas samples that were true by ``until_utc_ns``; the order of arrival does not matter."""
    gas = sorted((s for s in passage.gas if s.stamp.time_utc_ns <= until_utc_ns), key=lambda s: s.stamp.time_utc_ns)
    inside = [s for s in gas if s.point is Point.INSIDE]
    if not inside:
        return device_silence(passage, CO2) or silent(CO2, State.ABSENT, "no probe presented")
    if (gate := _gate(passage)) is not None:
        return gate
    ambient = usable([s for s in gas if s.point is Point.AMBIENT])
    one_ppm = one_person_ppm(passage, wind_at_vehicle_m_s(passage, until_utc_ns) or 0.0)
    outcomes = [
        _probe(passage, [s for s in inside if s.device == device], ambient, one_ppm)
        for device in sorted({s.device for s in inside})
    ]
    found = [outcome for outcome in outcomes if isinstance(outcome, Evidence) and outcome.state is State.MEASURED]
    if found:  # the probe that found most: people sit in one place
        return max(found, key=lambda e: (e.features["excess_ppm"], e.features["dwell_s"]))
    return min(outcomes, key=lambda e: (e.state is State.ABSENT, e.state.value, str(e.cause)))


def _gate(passage: Passage) -> Evidence | None:
    """Vehicles whose air says nothing of people."""
    if passage.body_type is BodyType.OPEN:
        return silent(CO2, State.OUT_OF_LIMITS, "an open body holds no air of its own")
    if passage.context.cargo == "live_animals":
        return silent(CO2, State.OUT_OF_LIMITS, "live animals on board breathe too")
    return None


def _probe(passage: Passage, rows: Sequence[GasSample], ambient: Sequence[GasSample], one_ppm: float) -> Evidence:
    """Evidence of one device inside; ``one_ppm`` is what one person would have added."""
    good = usable(rows)
    if not good:
        return why_none(rows)
    if condensing(good):
        return silent(CO2, State.FAULTY, f"{rows[0].device}: water on the probe: humidity {good[-1].humidity_pct:g} %")
    outside = _outside(good, ambient)
    if isinstance(outside, Evidence):
        return outside
    if len(good) < FEWEST_ROWS:
        return silent(CO2, State.ABSENT, f"too little data: {len(good)} of {FEWEST_ROWS} samples inside")
    reference = median(np.array([_ppm(passage, s) for s in outside]))
    own = {s.device for s in outside} == {rows[0].device}
    time_s = np.array([(s.stamp.time_utc_ns - good[0].stamp.time_utc_ns) / 1e9 for s in good])
    ppm = np.array([_ppm(passage, s) for s in good])
    if (doubt := _doubt(rows[0].device, reference, median(ppm), own)) is not None:
        return doubt
    return _measured(passage, _Probe(rows[0].device, time_s, ppm, len(good) / len(rows), reference), one_ppm)


def _outside(good: Sequence[GasSample], ambient: Sequence[GasSample]) -> Sequence[GasSample] | Evidence:
    """Outside air of the same minute: the probe's own rows where it has any."""
    if not ambient:
        return silent(CO2, State.OUT_OF_LIMITS, "no outside sample to compare with")
    began, ended = good[0].stamp.time_utc_ns, good[-1].stamp.time_utc_ns
    away_s = [max(began - s.stamp.time_utc_ns, s.stamp.time_utc_ns - ended, 0) / 1e9 for s in ambient]
    near = [s for s, away in zip(ambient, away_s, strict=True) if away <= SAME_MINUTE_S]
    if not near:
        cause = f"outside sample is {min(away_s):.0f} s away, limit {SAME_MINUTE_S:g} s: take one of the same minute"
        return silent(CO2, State.OUT_OF_LIMITS, cause)
    return [s for s in near if s.device == good[0].device] or near


def _doubt(device: str, outside: float, inside: float, own: bool) -> Evidence | None:
    """A probe that moved its own zero, as one that calibrates itself in stale air does.

    Where inside and outside were read by the same probe its offset cancels, so that only the difference is asked.
    """
    if outside < LEAST_OUTSIDE_PPM and not own:
        cause = f"outside reads {outside:.0f} ppm, open air has {LEAST_OUTSIDE_PPM:g} and more"
    elif inside < outside - BELOW_OUTSIDE_PPM:
        cause = f"{device} reads {outside - inside:.0f} ppm below outside air"
    else:
        return None
    return silent(CO2, State.FAULTY, f"{cause}: a probe that calibrates itself? switch that off and calibrate it")


def one_person_ppm(passage: Passage, wind_m_s: float) -> float:
    """What one person at rest would have added by now to this body's air, ppm: the single zone of SCIENCE 3.2."""
    changes = CHANGES_PER_H.get(passage.body_type, USUAL_CHANGES_PER_H)
    if passage.body_type is BodyType.SOFT_SIDED:
        changes *= 1.0 + WIND_PER_M_S * wind_m_s
    told = passage.context.sealed_for_s
    sealed_s = told if told is not None and isfinite(told) and told > 0 else USUAL_SEALED_S
    return 1e6 * BREATH_M3_H / (changes * FREE_M3) * -expm1(-changes * sealed_s / 3600.0)


def _measured(passage: Passage, probe: _Probe, one_ppm: float) -> Evidence:
    time_s, ppm = probe.time_s, probe.ppm
    dwell_s = float(time_s[-1])
    last = median(ppm[time_s >= dwell_s - LEVEL_WINDOW_S])
    recent = time_s >= dwell_s - SLOPE_WINDOW_S
    slope = robust_slope(time_s[recent], ppm[recent]) * 60.0
    may_miss = max(SETTLED_PPM, SETTLED_SHARE * abs(last - probe.outside_ppm))
    still = dwell_s >= LAG_S and abs(slope) / 60.0 * LAG_S <= may_miss
    step = settle(time_s, ppm)
    fitted = step.level_sd_ppm <= may_miss / 2
    level = step.level_ppm if fitted else last
    excess = level - probe.outside_ppm
    closed = passage.context.doors != "open"
    settled = (still or fitted) and closed
    features = {
        "excess_ppm": excess,
        "step_ppm": level - step.start_ppm,
        "outside_ppm": probe.outside_ppm,
        "slope_ppm_per_min": slope,
        "dwell_s": dwell_s,
        "dwell_needed_s": DWELL_NEEDED_S,
        "settled": float(settled),
        "level_log": signed_log(excess, EXCESS_UNIT_PPM),
        "step_log": signed_log(level - step.start_ppm, EXCESS_UNIT_PPM),
        "slope_log": signed_log(slope, SLOPE_UNIT_PPM_PER_MIN),
        # How many people would explain it; a settling probe's worth is a person who is hardly there.
        "persons_log": log10((max(0.0, excess) + SETTLED_PPM) / (one_ppm + SETTLED_PPM)),
    }
    if fitted:
        features["t90_s"] = step.lag_s * T90_LAGS
    quality = probe.share * min(1.0, dwell_s / DWELL_NEEDED_S)
    note = _note(passage, dwell_s, settled, features.get("t90_s"))
    return Evidence(CO2, State.MEASURED, note, None, quality, features)


def _note(passage: Passage, dwell_s: float, settled: bool, t90_s: float | None) -> str | None:
    """The dwell while it is short, and why a reading is a lower bound only, or was read before the probe got there."""
    parts = [f"{dwell_s:.0f} of {DWELL_NEEDED_S:.0f} s"] if dwell_s < DWELL_NEEDED_S else []
    if passage.context.doors == "open":
        parts.append("doors open: a lower bound")
    elif not settled:
        parts.append("still settling: a lower bound")
    elif t90_s is not None:
        parts.append(f"level read ahead of the probe, T90 {t90_s:.0f} s")
    if passage.context.cargo in ("produce", "dry_ice"):
        parts.append(f"{passage.context.cargo.replace('_', ' ')} declared, which gives off CO2")
    return ", ".join(parts) or None


def robust_slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Theil-Sen: the median of all pairwise slopes, (n,) and (n,); one wild sample in four does not move it much.

    At most 120 points are paired, evenly chosen; 0 where all ``x`` agree.
    """
    keep = evenly(len(x), 120)
    first, second = _pairs(len(keep))
    run = x[keep][second] - x[keep][first]
    rise = y[keep][second] - y[keep][first]
    apart = run > 0
    return median(rise[apart] / run[apart]) if apart.any() else 0.0


@lru_cache(maxsize=16)
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n, 1)


def signed_log(value: float, unit: float) -> float:
    """``sign(v) log10(1 + |v| / unit)``: linear near zero, and no reading is so large that it rules alone."""
    return float(np.copysign(log10(1.0 + abs(value) / unit), value))


def _ppm(passage: Passage, sample: GasSample) -> float:
    if sample.status == OVER_RANGE or sample.co2_ppm is None:
        return OVER_RANGE_PPM
    return compensated(passage, sample, sample.co2_ppm)
