"""CO2 as evidence: inside minus outside, its level, its slope, and for how long the probe has dwelt.

A probe that still rises has not seen the load space yet: such a reading is a lower bound, flagged ``plateau`` 0, and
the classifier lets it raise the score only (SCIENCE 3.2: two compartments and a lag of 10-30 s).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log10

import numpy as np
from numpy.typing import NDArray

from drivers.reading import GasSample, Point
from fusion.decision import OVER_RANGE
from fusion.evidence.evidence import OK, Evidence, device_silence, silent
from fusion.passage import Passage
from fusion.verdict import State

CO2 = "co2"
FEATURES = ("excess_log", "slope_log", "plateau")  # what the classifier reads, in this order

OVER_RANGE_PPM = 10_000.0  # assumed: the smallest range of the probes we read; high, never invalid
LOWEST_PPM, HIGHEST_PPM = 1.0, 1e6  # physical: there is no air without CO2; a volume fraction ends at one
FROZEN_ROWS = 10  # assumed: the noise of a live cell moves the last digit within ten readings
DWELL_NEEDED_S = 90.0  # SCIENCE 1: a hand probe's check takes 60-120 s
LAG_S = 30.0  # SCIENCE 3.2: slowest response of a diffusion cell (unverified)
SETTLED_PPM = 15.0  # assumed: what may still be missing at a plateau ...
SETTLED_SHARE = 0.1  # assumed: ... or this share of the excess, whichever is more
LEVEL_WINDOW_S = 10.0  # assumed: the level is the median of the last samples
SLOPE_WINDOW_S = 30.0  # assumed: one lag
FEWEST_ROWS = 3  # assumed: fewer have no middle; a slope of so few is weak, and the look's weights say so
EXCESS_UNIT_PPM, SLOPE_UNIT_PPM_PER_MIN = 25.0, 10.0  # assumed: where the log features turn from linear


def co2_evidence(passage: Passage, until_utc_ns: int) -> Evidence:
    """Evidence from all gas samples that were true by ``until_utc_ns``; the order of arrival does not matter."""
    gas = sorted((s for s in passage.gas if s.stamp.time_utc_ns <= until_utc_ns), key=lambda s: s.stamp.time_utc_ns)
    inside = [s for s in gas if s.point is Point.INSIDE]
    if not inside:
        return device_silence(passage, CO2) or silent(CO2, State.ABSENT, "no probe presented")
    good = _usable(inside)
    if not good:
        return _only_bad(inside)
    outside = _usable([s for s in gas if s.point is Point.AMBIENT])
    if not outside:
        return silent(CO2, State.OUT_OF_LIMITS, "no outside sample to compare with")
    if len(good) < FEWEST_ROWS:
        return silent(CO2, State.ABSENT, f"too little data: {len(good)} of {FEWEST_ROWS} samples inside")
    return _measured(good, outside, len(good) / len(inside))


def _measured(inside: Sequence[GasSample], outside: Sequence[GasSample], share: float) -> Evidence:
    time_s = np.array([(s.stamp.time_utc_ns - inside[0].stamp.time_utc_ns) / 1e9 for s in inside])
    ppm = np.array([_ppm(s) for s in inside])
    reference = float(np.median([_ppm(s) for s in outside]))
    dwell_s = float(time_s[-1])
    excess = float(np.median(ppm[time_s >= dwell_s - LEVEL_WINDOW_S])) - reference
    recent = time_s >= dwell_s - SLOPE_WINDOW_S
    slope = robust_slope(time_s[recent], ppm[recent]) * 60.0
    to_come = abs(slope) / 60.0 * LAG_S
    plateau = dwell_s >= LAG_S and to_come <= max(SETTLED_PPM, SETTLED_SHARE * abs(excess))
    features = {
        "excess_ppm": excess,
        "slope_ppm_per_min": slope,
        "dwell_s": dwell_s,
        "dwell_needed_s": DWELL_NEEDED_S,
        "plateau": float(plateau),
        "excess_log": signed_log(excess, EXCESS_UNIT_PPM),
        "slope_log": signed_log(slope, SLOPE_UNIT_PPM_PER_MIN),
    }
    note = None if plateau else f"{dwell_s:.0f} of {DWELL_NEEDED_S:.0f} s, still settling: a lower bound"
    quality = share * min(1.0, dwell_s / DWELL_NEEDED_S)
    return Evidence(CO2, State.MEASURED, note, None, quality, features)


def robust_slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Theil-Sen: the median of all pairwise slopes, (n,) and (n,); one wild sample in four does not move it much.

    At most 120 points are paired, evenly chosen; 0 where all ``x`` agree.
    """
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), 120)).astype(int))
    first, second = np.triu_indices(len(keep), 1)
    run = x[keep][second] - x[keep][first]
    rise = y[keep][second] - y[keep][first]
    return float(np.median(rise[run > 0] / run[run > 0])) if np.any(run > 0) else 0.0


def signed_log(value: float, unit: float) -> float:
    """``sign(v) log10(1 + |v| / unit)``: linear near zero, and no reading is so large that it rules alone."""
    return float(np.copysign(log10(1.0 + abs(value) / unit), value))


def _ppm(sample: GasSample) -> float:
    return OVER_RANGE_PPM if sample.status == OVER_RANGE or sample.co2_ppm is None else sample.co2_ppm


def _valid(sample: GasSample) -> bool:
    if sample.status == OVER_RANGE:
        return True
    ppm = sample.co2_ppm
    return sample.status == OK and ppm is not None and isfinite(ppm) and LOWEST_PPM <= ppm <= HIGHEST_PPM


def _usable(samples: Sequence[GasSample]) -> list[GasSample]:
    """Valid rows without those of a frozen run, per device: identical bits are a stuck cell or a start-up constant."""
    frozen: set[int] = set()
    for device in {s.device for s in samples}:
        run: list[GasSample] = []
        for sample in (s for s in samples if s.device == device and _valid(s) and s.status == OK):
            run = [*run, sample] if run and run[-1].co2_ppm == sample.co2_ppm else [sample]
            if len(run) >= FROZEN_ROWS:
                frozen.update(id(s) for s in run)
    return [s for s in samples if _valid(s) and id(s) not in frozen]


def _only_bad(samples: Sequence[GasSample]) -> Evidence:
    """The cause of a probe that gave rows and no reading, by its own words."""
    words = [s.status for s in samples if s.status != OK]
    fixed = [s.co2_ppm for s in samples if _valid(s)]
    if any("warm" in word.lower() for word in words) or (words and fixed):
        return silent(CO2, State.OUT_OF_LIMITS, f"warming up: {len(samples)} rows, none valid")
    if fixed:
        return silent(CO2, State.FAULTY, f"frozen at {fixed[0]:g} ppm in {len(fixed)} rows: check the probe")
    if words:
        return silent(CO2, State.FAULTY, f"probe says {words[-1][:60]!r} in all {len(samples)} rows")
    return silent(CO2, State.FAULTY, f"{len(samples)} rows below {LOWEST_PPM:g} or over {HIGHEST_PPM:g} ppm, not air")
