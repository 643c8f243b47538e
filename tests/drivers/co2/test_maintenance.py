from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.procedures import co2
from calibration.raw import Raw
from drivers.co2 import maintenance, scd30, senseair, vaisala_gmp25x
from drivers.driver import Refused

ZERO = {"name": "nitrogen", "value": 0.5, "unit": "ppm", "expanded_uncertainty": 0.5}
SPAN = {"name": "mixture", "value": 2000.0, "unit": "ppm", "expanded_uncertainty": 20.0}


def raw(steps: dict[str, dict[str, Any]]) -> Raw:
    arrays = {f"{step}/{name}": array for step, found in steps.items() for name, array in found.items()}
    return Raw(arrays, {"references": {"zero": ZERO, "span": SPAN}})


Emulated = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def vaisala(tmp_path: Path) -> vaisala_gmp25x.Config:
    return vaisala_gmp25x.Config(driver="co2.vaisala_gmp25x", port=str(tmp_path / "line"), poll_s=0.05, silence_s=1.0)


async def captured(config: Any, world: Any, wanted: int) -> dict[str, Any]:
    found = []
    async with aclosing(maintenance.shown("p", config, world.around())) as stream:
        async for at_ns, ppm in stream:
            found.append((at_ns / 1e9, ppm))
            if len(found) == wanted:
                break
    t, ppm_all = np.array(found).T
    return {"t_s": t - t[0], "ppm": ppm_all}


def test_two_point_finds_what_was_planted_in_an_emulated_probe(emulated: Emulated, world: Any, vaisala: Any) -> None:
    async def go() -> dict[str, Any]:
        steps = {}
        async with emulated("gmp25x") as probe:
            await probe.order(gain=1.1, offset_ppm=-35.0, noise_ppm=0.5)
            for step, ppm in (("zero", 0.5), ("span", 2000.0), ("check", 2000.0)):
                await probe.order(co2_ppm=ppm)
                steps[step] = await captured(vaisala, world, 20)
        return steps

    steps = asyncio.run(go())
    assert steps["zero"]["ppm"].max() < 0  # a driver would call it a fault
    found = co2.two_point(raw(steps))
    assert found.passed, [check.text() for check in found.checks]
    assert found.result("gain").covers(1 / 1.1)
    assert found.result("offset").covers(35 / 1.1)


def test_lag_finds_what_was_planted_in_an_emulated_probe(emulated: Emulated, world: Any, vaisala: Any) -> None:
    async def go() -> dict[str, Any]:
        steps = {}
        async with emulated("gmp25x") as probe:
            await probe.order(lag_s=0.15, delay_s=0.3, noise_ppm=0.5)
            for n in range(4):
                await probe.order(co2_ppm=420.0 if n % 2 else 2000.0)
                steps[f"switch-{n}"] = await captured(vaisala, world, 26)
        return steps

    found = co2.lag(raw(asyncio.run(go())))
    assert found.passed, [check.text() for check in found.checks]
    assert found.result("delay").value == pytest.approx(0.3, abs=0.12)  # one poll and the start of a line
    assert found.result("T90").value == pytest.approx(0.15 * math.log(10), rel=0.25)


def test_self_correction_is_found_on_switched_off_and_read_back(emulated: Emulated, tmp_path: Path) -> None:
    config = senseair.Config(driver="co2.senseair", port=str(tmp_path / "line"), unit=0x68)

    async def go(sticks: bool) -> tuple[int, int]:
        async with emulated("senseair") as sensor:
            await sensor.order(abc_hours=180, abc_sticks=sticks)
            before = await maintenance.self_correction("p", config)
            await maintenance.switch_off_self_correction("p", config)
            return before, await maintenance.self_correction("p", config)

    assert asyncio.run(go(False)) == (180, 0)
    assert asyncio.run(go(True)) == (180, 180)
    arrays = {"before/on": np.array([180.0]), "after/on": np.array([0.0])}
    assert co2.self_correction_off(Raw(arrays)).passed
    assert not co2.self_correction_off(Raw(arrays | {"after/on": np.array([180.0])})).passed


def test_pressure_is_written_and_read_back(emulated: Emulated, vaisala: Any, tmp_path: Path) -> None:
    async def go() -> tuple[float, float]:
        async with emulated("gmp25x"):
            before = await maintenance.pressure_hpa("p", vaisala)
            await maintenance.write_pressure("p", vaisala, 987.5)
            return before, await maintenance.pressure_hpa("p", vaisala)

    before, after = asyncio.run(go())
    assert (before, after) == (1013.0, 987.5)
    arrays = {"before/hpa": np.array([before]), "after/hpa": np.array([after])}
    about = {"references": {"barometer": {"name": "b", "value": 987.5, "unit": "hPa", "expanded_uncertainty": 0.3}}}
    assert co2.compensation(Raw(arrays, about)).passed
    assert not co2.compensation(Raw(arrays | {"after/hpa": np.array([1013.0])}, about)).passed
    with pytest.raises(Refused):
        asyncio.run(maintenance.pressure_hpa("p", senseair.Config(driver="co2.senseair", port="x", unit=1)))


def test_an_scd30_and_a_senseair_are_read_below_nothing_too(emulated: Emulated, world: Any, tmp_path: Path) -> None:
    line = str(tmp_path / "line")
    air = senseair.Config(driver="co2.senseair", port=line, unit=0x68, poll_s=0.05)
    sensirion = scd30.Config(driver="co2.scd30", port=line, poll_s=0.02)

    async def go(module: str, config: Any, *options: str) -> float:
        async with emulated(module, *options) as sensor:
            await sensor.order(co2_ppm=0.5, offset_ppm=-20.0)
            found = await captured(config, world, 3)
            return float(np.nanmedian(found["ppm"]))

    assert asyncio.run(go("senseair", air)) == -20.0
    assert asyncio.run(go("scd30", sensirion, "--every", "0.05")) == pytest.approx(-19.5)
