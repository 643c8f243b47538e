"""A known source presented, judged against the record in force: the lane's acceptance test of each day.

Nothing is corrected by it. A failed challenge is a result like another: it is recorded, and it says what to calibrate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from calibration.apply import ppm_of, response_of
from calibration.procedures import co2, vibration
from calibration.procedures.procedure import BadSetup, Outcome, Procedure, Step, reference
from calibration.procedures.signals import geophone
from calibration.raw import Raw
from calibration.record import Check
from calibration.uncertainty import Component, Kind, Quantity, of_series

GAS_SHARE, GAS_PPM = 0.05, 30.0  # assumed: the larger of the two; maker's accuracy is about half of it
GAIN_SHARE, F0_SHARE = 0.05, 0.05  # assumed: a geophone moves less in ten years


def gas(raw: Raw) -> Outcome:
    """One known gas: error of the corrected reading."""
    given = reference(raw, "gas")
    _, shown = co2.series(raw, "gas")
    scale = raw.about.get("scale") or {"gain": 1.0, "offset_ppm": 0.0}
    mean, scatter = of_series("scatter", np.array([ppm_of(float(ppm), scale) for ppm in shown]))
    error = mean - given.value
    budget = (scatter, Component("gas", Kind.B, given.standard, None, given.certificate or given.name))
    limit = max(GAS_PPM, GAS_SHARE * given.value)
    mend = "it has drifted, or another gas: look at the fittings, then run two-point"
    check = Check(name="error", value=error, low=-limit, high=limit, unit="ppm", mend=mend)
    drift = co2.settled_check("gas", co2.level_of(raw, "gas"))
    return Outcome((Quantity("error", "ppm", error, budget),), (drift, check))


def releases(raw: Raw) -> Outcome:
    """Coil releases: natural frequency and sensitivity against the record's."""
    found = vibration.step(raw)
    results, checks = [], []
    for sensor in raw.names("release"):
        known = raw.about.get("responses", {}).get(sensor)
        if known is None:
            raise BadSetup(f"{sensor}: no record to be judged by; run `step` first")
        response = response_of(known)
        pole = response.poles[0]
        f0 = abs(pole) / (2 * np.pi)
        flat = (
            response.sensitivity_counts_per_m_s / geophone(1.0, f0, -pole.real / abs(pole)).sensitivity_counts_per_m_s
        )
        for name, was, share in (("f0", f0, F0_SHARE), ("sensitivity", abs(flat), GAIN_SHARE)):
            now = found.result(f"{name} {sensor}")
            ratio = now.value / was
            budget = tuple(Component(c.name, c.kind, c.standard / was, c.degrees_of_freedom) for c in now.components)
            results.append(Quantity(f"{name} {sensor} against its record", "1", ratio, budget))
            mend = "it has changed: check cable and cap, then run step"
            checks.append(Check(name=f"{name} {sensor}", value=ratio, low=1 - share, high=1 + share, mend=mend))
    return Outcome(tuple(results), tuple(checks), plots=found.plots)


def _gas_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    say = "Present the known gas at the maker's flow; cap on."
    return (Step("gas", say, float(about["seconds"]), float(about["settle_ppm"]), "gas"),)


def _release_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    say = "Plug the coil calibrator in. Release it three times each way, two seconds or more apart. Keep still."
    return (Step("release", say, float(about["seconds"])),)


PROCEDURES = (
    Procedure(
        "challenge",
        "co2",
        1,
        "one known gas against the record in force",
        _gas_steps,
        gas,
        roles=("gas",),
        valid_days=1,
        parameters={"seconds": 30.0, "settle_ppm": 5.0},
        test=True,
    ),
    Procedure(
        "challenge",
        "vibration",
        1,
        "coil releases against the record in force",
        _release_steps,
        releases,
        roles=("current", "moving_mass", "digitizer"),
        valid_days=1,
        parameters={"seconds": 30.0},
        test=True,
    ),
)
