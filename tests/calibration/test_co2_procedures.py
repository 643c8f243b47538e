from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from calibration.procedures import co2
from calibration.procedures.procedure import BadSetup
from calibration.raw import Raw
from hil.world.cell import Cell

Cert = Callable[..., dict[str, Any]]


def gas(level: float, seconds: float = 60.0, noise: float = 0.8, drift: float = 0.0, seed: int = 1) -> dict[str, Any]:
    t = np.arange(0.0, seconds, 0.5)
    return {"t_s": t, "ppm": level + drift * t / seconds + np.random.default_rng(seed).normal(0, noise, len(t))}


def raw(cert: Cert, references: dict[str, Any] | None = None, **steps: dict[str, Any]) -> Raw:
    given = {"zero": cert("nitrogen", 0.5, "ppm", 0.5), "span": cert("mixture", 2000.0, "ppm", 20.0)}
    arrays = {
        f"{step.replace('_', '-')}/{name}": array for step, found in steps.items() for name, array in found.items()
    }
    return Raw(arrays, {"references": given | (references or {})})


def detuned(truth: float, gain: float = 1.1, offset: float = 25.0) -> float:
    return gain * truth + offset


def test_two_point_finds_gain_and_offset(cert: Cert) -> None:
    zero, span = gas(detuned(0.5)), gas(detuned(2000.0), seed=2)
    found = co2.two_point(raw(cert, zero=zero, span=span, check=gas(detuned(2000.0), seed=3)))
    assert found.passed
    assert found.result("gain").covers(1 / 1.1)
    assert found.result("offset").covers(-25 / 1.1)
    assert abs(found.before["span error, ppm"] or 0) > 200
    assert abs(found.after["span error, ppm"] or 99) < 2


def test_zero_moves_the_offset_and_span_the_gain_alone(cert: Cert) -> None:
    found = co2.zero(raw(cert, zero=gas(-30.0)))
    assert found.passed
    assert found.result("offset").covers(30.5)
    assert found.settings["scale"]["gain"] == 1.0
    found = co2.span(raw(cert, span=gas(2200.0)))
    assert found.passed
    assert found.result("gain").covers(2000 / 2200)
    assert found.settings["scale"]["offset_ppm"] == 0.0


@pytest.mark.parametrize(
    ("zero", "span"),
    [
        (gas(430.0), gas(2000.0)),  # outside air for zero gas
        (gas(2000.0), gas(0.5)),  # swapped cylinders
        (gas(0.5), gas(5000.0)),  # another span gas
        (gas(0.5), gas(1900.0, drift=120.0)),  # not settled
        (gas(420.0), gas(421.0)),  # the probe is not in the gas
        (gas(0.5), {"t_s": np.arange(60.0), "ppm": np.full(60, 2000.5)}),  # a frozen cell
        (gas(0.5), {"t_s": np.arange(60.0), "ppm": np.full(60, np.nan)}),  # the line is lost
    ],
)
def test_two_point_never_passes_a_bad_set_up(zero: dict[str, Any], span: dict[str, Any], cert: Cert) -> None:
    try:
        found = co2.two_point(raw(cert, zero=zero, span=span, check=gas(2000.0)))
    except BadSetup as fault:
        assert str(fault)
        return
    assert not found.passed


def test_two_point_fails_where_it_does_not_repeat(cert: Cert) -> None:
    assert not co2.two_point(raw(cert, zero=gas(0.5), span=gas(2000.0), check=gas(1880.0))).passed


def test_single_points_never_pass_wrong_gas_or_a_probe_that_creeps(cert: Cert) -> None:
    assert not co2.zero(raw(cert, zero=gas(420.0))).passed
    assert not co2.zero(raw(cert, zero=gas(1.0, drift=20.0))).passed
    with pytest.raises(BadSetup):
        co2.zero(raw(cert, zero=gas(1.0, seconds=3)))
    assert not co2.span(raw(cert, span=gas(1000.0))).passed
    assert not co2.span(raw(cert, span=gas(1900.0, drift=100.0))).passed
    with pytest.raises(BadSetup):
        co2.span(raw(cert, span=gas(-3.0)))


def switched(delay_s: float = 7.5, lag_s: float = 13.0, seconds: float = 150.0, seed: int = 1) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    cell = Cell(420.0)
    cell.take({"delay_s": delay_s, "lag_s": lag_s, "co2_ppm": 420.0}, -1000.0)
    steps = {}
    for n in range(4):
        start = n * seconds
        cell.take({"co2_ppm": 420.0 if n % 2 else 2000.0}, start)
        t = np.arange(0.0, seconds, 1.0) + random.uniform(0, 1)
        steps[f"switch-{n}"] = {
            "t_s": t, "ppm": np.array([cell.shown(start + at) for at in t]) + random.normal(0, 2, len(t)),
        }  # fmt: skip
    return steps


def test_lag_finds_delay_and_t90(cert: Cert) -> None:
    found = co2.lag(raw(cert, **switched()))
    assert found.passed
    assert found.result("delay").covers(7.5)
    assert found.result("T90").covers(13.0 * math.log(10))


def test_lag_never_passes_no_switch_a_hurry_or_a_leak(cert: Cert) -> None:
    steps = switched()
    with pytest.raises(BadSetup, match="no gas was switched"):
        co2.lag(raw(cert, **{name: gas(420.0) for name in steps}))
    with pytest.raises(BadSetup, match="not settled"):
        co2.lag(raw(cert, **switched(lag_s=90.0)))
    with pytest.raises(BadSetup, match="at least 3"):
        co2.lag(raw(cert, **{"switch-0": steps["switch-0"]}))
    leaky = {n: s | {"ppm": s["ppm"] * (1 + 0.25 * np.sin(s["t_s"] / 9))} for n, s in steps.items()}
    with suppress(BadSetup):
        assert not co2.lag(raw(cert, **leaky)).passed
