from __future__ import annotations

import asyncio
import json
import math
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.response import Response
from drivers.reading import ClockQuality, GasSample, Point, PresenceChange, Stamp, VibrationBlock, WeatherSample
from edge.cli.main import run
from edge.control import ask
from edge.places import Places
from edge.watching import Panel, as_object, velocity
from hil.demo import command, free_port, start_daemon, stop_daemon
from hil.rig import Emulator, emulators

STAMP = Stamp(1_770_000_000_000_000_000, 1_770_000_000_000_000_000, 0, ClockQuality(True, 1_000))
GAIN = 1e9  # counts per m/s


def sine(amplitude_m_s: float, rate_hz: float = 250.0, seconds: float = 4.0) -> VibrationBlock:
    counts = amplitude_m_s * GAIN * np.sin(2 * np.pi * 5 * np.arange(round(rate_hz * seconds)) / rate_hz) + 1000
    return VibrationBlock("chassis", STAMP, "B1", "DHZ", rate_hz, counts, 1)


def test_a_geophones_counts_become_metres_per_second_without_their_offset() -> None:
    shown = as_object(sine(2e-6), {("B1", "DHZ"): Response(GAIN, 20.0)})
    assert shown["rms_m_s"] == pytest.approx(2e-6 / math.sqrt(2), rel=1e-3)
    assert shown["peak_m_s"] == pytest.approx(2e-6, rel=1e-2)
    assert "rms_m_s" not in as_object(sine(2e-6), {})


def test_velocities_are_told_in_the_unit_that_fits() -> None:
    assert velocity(1.2e-7, "m/s") == "120 nm/s"
    assert velocity(3.4e-5, "m/s") == "34 µm/s"
    assert velocity(0.0, "m/s") == "0 nm/s"
    assert velocity(7.4, "counts") == "7 counts"


@pytest.mark.parametrize("width", [40, 79, 200])
def test_no_row_of_a_panel_is_wider_than_the_terminal(width: int) -> None:
    panel = Panel("all", {("B1", "DHZ"): Response(GAIN, 20.0)})
    for reading in (
        sine(2e-6),
        GasSample("all", STAMP, Point.INSIDE, 612.0),
        GasSample("all", STAMP, Point.INSIDE, None, "warming up"),
        WeatherSample("all", STAMP, 3.4, 5.6),
        PresenceChange("all", STAMP, present=True),
    ):
        panel.see(reading)
    rows = panel.rows(width, "ok", ascii_only=True)
    assert max(map(len, rows)) <= width
    assert all(row.isascii() for row in rows if "µ" not in row)
    text = "\n".join(rows)
    for part in ("all  ok", "B1  250 Hz", "CO2 inside: no value", "warming up", "wind 3.4 m/s", "vehicle present"):
        assert part in text


@asynccontextmanager
async def a_rig(root: Path) -> AsyncIterator[dict[str, Emulator]]:
    """A probe and an anemometer on pseudo-terminals, and a lane's file for them."""
    async with emulators(
        probe=("gmp25x", "--link", str(root / "co2")), mast=("wind", "--link", str(root / "wind"), "--every", "0.1")
    ) as devices:
        (root / "lane.toml").write_text(
            f'[lane]\nsite = "demo"\nname = "3"\n[publish]\nbind = "tcp://127.0.0.1:{free_port()}"\n'
            f'replay = "tcp://127.0.0.1:{free_port()}"\n'
            f'[devices.probe]\ndriver = "co2.vaisala_gmp25x"\nport = "{root / "co2"}"\n'
            f'[devices.mast]\ndriver = "weather.nmea_mwv"\nport = "{root / "wind"}"\n'
        )
        await devices["probe"].tell({"co2_ppm": 612.0})
        yield devices


@asynccontextmanager
async def watching(root: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge.cli.main", "devices", "watch", *arguments, "--root", str(root),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def objects(process: asyncio.subprocess.Process, enough: Callable[[list[dict[str, Any]]], bool]) -> list[Any]:
    assert process.stdout is not None
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while not enough(found):
            found.append(json.loads(await process.stdout.readline()))
    return found


def states(root: Path) -> dict[str, str | None]:
    answer = ask(Places.under(root).control_socket, {"do": "status"})
    return {device["name"]: device["cause"] for device in answer["devices"]}


async def until(question: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(question):  # noqa: ASYNC110 - the lane is asked, it sends no event
            await asyncio.sleep(0.05)


def test_a_pipe_gets_one_object_a_reading_and_the_lane_has_the_device_back_after_ctrl_c(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with a_rig(tmp_path):
            await asyncio.to_thread(command, tmp_path, "keys", "new")
            daemon = await start_daemon(tmp_path)
            try:
                await until(lambda: states(tmp_path) == {"probe": None, "mast": None})
                async with watching(tmp_path, "probe", "--json") as process:
                    found = await objects(process, lambda found: len(found) >= 2)
                    assert {(one["device"], one["kind"], round(one["co2_ppm"])) for one in found} == {
                        ("probe", "co2", 612)
                    }
                    assert states(tmp_path) == {"probe": "in maintenance", "mast": None}
                    process.send_signal(signal.SIGINT)
                    assert await asyncio.wait_for(process.wait(), 60) == 130
                await until(lambda: states(tmp_path) == {"probe": None, "mast": None})
            finally:
                await stop_daemon(daemon)

    asyncio.run(scenario())


def test_with_the_lane_down_the_same_command_watches_everything_and_a_second_one_is_told_who_holds_it(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with a_rig(tmp_path), watching(tmp_path, "--json") as process:
            found = await objects(process, lambda found: {one["kind"] for one in found} == {"co2", "weather"})
            assert any(one["kind"] == "weather" and one["wind_m_s"] == pytest.approx(3.0, abs=0.5) for one in found)
            async with watching(tmp_path, "mast", "--seconds", "1") as second:
                _, said = await asyncio.wait_for(second.communicate(), 20)
            assert second.returncode == 3
            assert said.startswith(b"mast: is held by ")

    asyncio.run(scenario())


def test_a_device_that_gives_nothing_is_exit_3_with_its_cause(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lane.toml").write_text(
        '[lane]\nsite = "demo"\nname = "3"\n[devices.probe]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/nowhere"\n'
    )
    assert run(["devices", "watch", "--seconds", "0.3", "--root", str(tmp_path)]) == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert "probe: absent: ConnectionError: /dev/nowhere: cannot open" in err


def test_an_unknown_device_is_exit_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lane.toml").write_text('[lane]\nsite = "demo"\nname = "3"\n')
    assert run(["devices", "watch", "prob", "--root", str(tmp_path)]) == 2
    assert "prob: no such device; configured are none" in capfd.readouterr().err
