"""Which gas samples are air at all: no warm-up, no stuck cell, no water on it, and compensated exactly once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite

from drivers.reading import GasSample
from fusion.decision import OVER_RANGE
from fusion.evidence.evidence import OK, Evidence, silent
from fusion.passage import Passage
from fusion.verdict import State

LOWEST_PPM, HIGHEST_PPM = 1.0, 1e6  # physical: there is no air without CO2; a volume fraction ends at one
FROZEN_ROWS = 10  # assumed: the noise of a live cell moves the last digit within ten readings
START_UP_ROWS = 2  # two equal readings right after a status that was not "ok" are a start-up constant
CONDENSING_PCT = 99.0  # SCIENCE 3.2: a cold probe in humid air gathers water, which is a fault and no zero
SEA_LEVEL_HPA = 1013.25  # what a cell is calibrated at
PRESSURES_HPA = (700.0, 1100.0)  # any lane; beyond it the barometer is wrong
BITS = re.compile(r"(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})")


def valid(sample: GasSample) -> bool:
    """A number that air can have, or over range, which counts as high."""
    if sample.status == OVER_RANGE:
        return True
    ppm = sample.co2_ppm
    return sample.status == OK and ppm is not None and isfinite(ppm) and LOWEST_PPM <= ppm <= HIGHEST_PPM


def usable(samples: Sequence[GasSample]) -> list[GasSample]:
    """Valid rows, without runs of identical values: a stuck cell, or the constant of a probe that starts up."""
    stuck: set[int] = set()
    for device in {s.device for s in samples}:
        run: list[GasSample] = []
        starting = False
        for sample in (s for s in samples if s.device == device):
            if not valid(sample) or sample.status != OK:
                starting, run = starting or sample.status not in (OK, OVER_RANGE), []
                continue
            if run and run[-1].co2_ppm != sample.co2_ppm:
                starting, run = False, []
            run.append(sample)
            if len(run) >= (START_UP_ROWS if starting else FROZEN_ROWS):
                stuck.update(id(s) for s in run)
    return [s for s in samples if valid(s) and id(s) not in stuck]


def why_none(samples: Sequence[GasSample]) -> Evidence:
    """The cause of a probe that gave rows and no reading, by its own words."""
    words = [s.status for s in samples if s.status != OK]
    fixed = [s.co2_ppm for s in samples if valid(s)]
    bits = next((w for w in words if BITS.fullmatch(w.strip()) and int(w.strip(), 0 if "x" in w.lower() else 10)), None)
    if bits is not None or any("warm" in word.lower() for word in words) or (words and fixed):
        said = f", status {bits}" if bits is not None else ""
        return silent("co2", State.OUT_OF_LIMITS, f"warming up: {len(samples)} rows, none valid{said}")
    if fixed:
        return silent("co2", State.FAULTY, f"frozen at {fixed[0]:g} ppm in {len(fixed)} rows: check the probe")
    if words:
        return silent("co2", State.FAULTY, f"probe says {words[-1][:60]!r} in all {len(samples)} rows")
    cause = f"{len(samples)} rows below {LOWEST_PPM:g} or over {HIGHEST_PPM:g} ppm, not air"
    return silent("co2", State.FAULTY, cause)


def condensing(samples: Sequence[GasSample]) -> bool:
    """Whether the last rows that tell humidity all say that water settles."""
    told = [s.humidity_pct for s in samples if s.humidity_pct is not None and isfinite(s.humidity_pct)]
    return len(told) >= 3 and min(told[-3:]) >= CONDENSING_PCT


def compensated(passage: Passage, sample: GasSample, ppm: float) -> float:
    """``ppm`` at the true pressure: a cell counts molecules, so ``C = C_read 1013.25 / p``.

    Compensate once: a row that carries a pressure is of a probe that was told it (our drivers record what they set),
    and stays as it is; one without is of a probe that knows none. Temperature is left alone: a probe that tells it
    compensates by that same thermometer, and of one that does not nothing is known.
    """
    if sample.pressure_hpa is not None:
        return ppm
    low, high = PRESSURES_HPA
    told = [
        (abs(w.stamp.time_utc_ns - sample.stamp.time_utc_ns), w.stamp.time_utc_ns, w.pressure_hpa)
        for w in passage.weather
        if w.status == OK and w.pressure_hpa is not None and low <= w.pressure_hpa <= high
    ]
    return ppm * SEA_LEVEL_HPA / min(told)[2] if told else ppm
