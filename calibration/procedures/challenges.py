"""A known source presented, judged against the record in force: the lane's acceptance test of each day.

Nothing is corrected by it. A failed challenge is a result like another: it is recorded, and it says what to calibrate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from calibration.apply import frame, ppm_of, response_of
from calibration.procedures import co2, mmwave, vibration, xray
from calibration.procedures.procedure import BadSetup, Outcome, Procedure, Step, reference
from calibration.procedures.signals import geophone
from calibration.raw import Raw
from calibration.record import Check
from calibration.uncertainty import Component, Kind, Quantity, of_series

GAS_SHARE, GAS_PPM = 0.05, 30.0  # assumed: the larger of the two; maker's accuracy is about half of it
LOAD_K, CHANNELS_K = 2.0, 0.5  # assumed: a person is 3 K and more through a dry curtain (DEVICES-imaging 1)
PENETRATION_SHARE = 0.1  # assumed: a tube's output falls by as much in a year
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


def load(raw: Raw) -> Outcome:
    """One load of known temperature: error of the corrected picture."""
    given = reference(raw, "load")
    known = raw.about.get("known", {})
    shown = raw.floats("load/frames")
    corrected = np.stack([frame(one, known) for one in shown])
    film = mmwave.film_of(Raw({"load/frames": corrected}, raw.about), "load")
    mean, scatter = of_series("scatter", film.level)
    error = mean - given.value
    budget = (scatter, Component("load", Kind.B, given.standard, None, given.certificate or given.name))
    mend = "it has drifted, or another load: look at the absorber, then run two-point"
    check = Check(name="error", value=error, low=-LOAD_K, high=LOAD_K, unit="K", mend=mend)
    spread = float(np.nanstd(mmwave.mean_there(film.channels, 0)))
    even = Check(name="channels agree", value=spread, high=CHANNELS_K, unit="K", mend="stripes: run two-point")
    return Outcome((Quantity("error", "K", error, budget),), (*mmwave.fills_checks("load", film), check, even))


def piece(raw: Raw) -> Outcome:
    """The step wedge: penetration against the record in force."""
    known = raw.about.get("known", {}).get("penetration")
    if known is None:
        raise BadSetup("no penetration is in force; run `penetration` first")
    found = xray.penetration(raw)
    now, was = found.result("penetration"), float(known["g_cm2"])
    budget = tuple(Component(c.name, c.kind, c.standard / was, c.degrees_of_freedom) for c in now.components)
    ratio = Quantity("penetration against its record", "1", now.value / was, budget)
    check = Check(name="penetration against its record", value=ratio.value, low=1 - PENETRATION_SHARE, high=None,
                  mend="the source is weaker or the detector drifted: run dark and air, then penetration")  # fmt: skip
    kept = tuple(one for one in found.checks if one.name != "penetration")
    return Outcome((ratio,), (*kept, check), plots=found.plots)


def _piece_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return (Step("wedge", xray.WEDGE, 1.0, None, "piece"),)


def _load_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    say = "Absorber of known temperature, filling the whole view."
    return (Step("load", say, float(about["seconds"]), float(about["settle_k"]), "load"),)


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
    Procedure(
        "challenge",
        "mmwave",
        1,
        "one known load against the record in force",
        _load_steps,
        load,
        roles=("load",),
        valid_days=1,
        parameters=mmwave.LOADS,
        test=True,
    ),
    Procedure(
        "challenge",
        "xray",
        1,
        "the step wedge against the record in force",
        _piece_steps,
        piece,
        roles=("piece",),
        valid_days=1,
        parameters={"images": 1, "steps": 8, "least_g_cm2": xray.PENETRATION_G_CM2},
        test=True,
    ),
)
