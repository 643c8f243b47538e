"""Raw data of sensors with a planted truth, as a capture would hand them to a procedure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from calibration.apply import response_setting
from calibration.procedures.signals import geophone
from calibration.raw import Raw
from hil.world import geophones as world

RATE_HZ = 250.0
SHEET = response_setting(geophone(world.VOLTS_PER_M_S * world.COUNTS_PER_VOLT, 4.5, 0.7))


def certificate(name: str, value: float, unit: str, expanded: float) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "expanded_uncertainty": expanded, "certificate": f"C-{name}"}


COIL = {
    "current": certificate("current", world.CURRENT_A, "A", 1e-3 * world.CURRENT_A),
    "moving_mass": certificate("moving mass", world.MASS_KG, "kg", 0.01 * world.MASS_KG),
    "digitizer": certificate("digitizer", world.COUNTS_PER_VOLT, "counts/V", 2e-3 * world.COUNTS_PER_VOLT),
}


def vibration_raw(steps: Mapping[str, Mapping[str, Any]], **about: Any) -> Raw:
    sensors = {name for signals in steps.values() for name in signals}
    return Raw(
        {f"{step}/{name}": wave for step, signals in steps.items() for name, wave in signals.items()},
        {
            "rates_hz": dict.fromkeys(sensors, RATE_HZ),
            "responses": dict.fromkeys(sensors, SHEET),
            "references": COIL,
            **about,
        },
    )


@pytest.fixture
def raw_of() -> Callable[..., Raw]:
    """``raw_of({step: {sensor: counts}}, **told)``: vibration at 250 Hz, responses by the sheet."""
    return vibration_raw


@pytest.fixture
def cert() -> Callable[..., dict[str, Any]]:
    return certificate


@pytest.fixture
def coil() -> dict[str, Any]:
    """Certificates of a coil calibrator."""
    return COIL
