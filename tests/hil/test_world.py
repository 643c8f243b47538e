from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hil.world.air import draw_air, probe_ppm, zone_ppm
from hil.world.lorry import (
    SENSORS,
    Lorry,
    Mode,
    Person,
    Scene,
    Surroundings,
    draw_scene,
    geophone,
    vibration,
)

QUIET = Surroundings(0.0, True, 1e-6, 0.9, 0.0, None)
PERSON = Person(70, 3.0, 0.27, 1.0, 0.0, 0.0, 0.25)


def lorry(mass_kg: float, f0_hz: float, damping: float) -> Lorry:
    return Lorry(mass_kg, "soft_sided", (Mode(1.0, f0_hz, damping),), 1.0, 0.15, 0.0, 10.0)


def rms(wave: NDArray[np.float64], low: float, high: float, rate_hz: float = 100.0) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2 / 0.375  # the window's mean square
    hz = np.fft.rfftfreq(len(wave), 1 / rate_hz)
    return float(np.sqrt(2 * spectrum[(hz >= low) & (hz <= high)].sum()) / len(wave))


@pytest.mark.parametrize(
    ("mass_kg", "f0_hz", "damping", "um_s"),
    [(8e3, 4.1, 0.05, 6.5), (15e3, 4.3, 0.05, 4.0), (15e3, 1.5, 0.2, 1.6), (40e3, 2.6, 0.05, 1.2)],
)
def test_a_heart_is_as_loud_as_the_worked_table(mass_kg: float, f0_hz: float, damping: float, um_s: float) -> None:
    scene = Scene(lorry(mass_kg, f0_hz, damping), (PERSON,), QUIET)
    wave = vibration(scene, 60, 100, np.random.default_rng(1))["B2"]
    assert rms(wave, 1, 20) * 1e6 == pytest.approx(um_s, rel=0.6)  # the table's pulse shape is not stated


@pytest.mark.parametrize(("wind", "um_s"), [(2.0, 0.16), (4.0, 1.9), (8.0, 23.0)])
def test_wind_in_the_heart_band_is_as_loud_as_the_worked_table(wind: float, um_s: float) -> None:
    scene = Scene(lorry(15e3, 4.3, 0.05), (), replace(QUIET, wind_m_s=wind / 0.85, sheltered=False))
    wave = vibration(scene, 60, 100, np.random.default_rng(2))["B2"]
    assert 0.4 < rms(wave, 3, 8) * 1e6 / um_s < 2.5


def test_the_same_seed_gives_the_same_world() -> None:
    waves = []
    for _ in range(2):
        random = np.random.default_rng(7)
        waves.append(vibration(draw_scene(random, True), 5, 100, random))
    assert all(np.array_equal(waves[0][sensor], waves[1][sensor]) for sensor in SENSORS)


def test_a_coil_sensor_keeps_the_high_and_loses_the_low() -> None:
    t = np.arange(2000) / 100
    assert rms(geophone(np.sin(2 * np.pi * 20 * t), 100), 15, 25) == pytest.approx(0.707, rel=0.05)
    assert rms(geophone(np.sin(2 * np.pi * 2 * t), 100), 1.5, 2.5) == pytest.approx(0.19 * 0.707, rel=0.1)


def test_one_person_raises_45_m3_by_the_worked_slope() -> None:
    random = np.random.default_rng(3)
    scene = Scene(lorry(15e3, 4.3, 0.05), (replace(PERSON, co2_l_min=0.26),), QUIET)
    air = replace(draw_air(scene, random), free_m3=45.0, air_changes_per_h=0.01, exchange_m3_h=1e4, cargo_l_min=0.0)
    ppm = zone_ppm(scene, air, np.array([0.0, 600.0]))
    assert (ppm[1] - ppm[0]) / 10 == pytest.approx(5.8, rel=0.05)


def test_the_probe_starts_outside_and_lags() -> None:
    random = np.random.default_rng(4)
    scene = draw_scene(random, True)
    air = replace(draw_air(scene, random), lag_s=20.0, noise_ppm=0.0, offset_ppm=0.0, gain=1.0)
    air = replace(air, exhaust_ppm=0.0, digit_ppm=0.0, delay_s=0.0)
    shown = probe_ppm(scene, air, np.arange(-10.0, 60.0), 0.0, random)
    assert shown[0] == pytest.approx(air.outside_ppm)
    assert np.all(np.diff(shown) >= 0)
