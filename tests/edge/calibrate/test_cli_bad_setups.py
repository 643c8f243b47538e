"""What goes wrong on a lane, from the command line: said, no record, the old one active, the device as it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.procedures import vibration
from calibration.store import Store
from drivers.co2 import maintenance, senseair, vaisala_gmp25x
from drivers.reading import ClockQuality, Stamp, VibrationBlock, WeatherSample
from edge import keys
from edge.calibrate import empties
from fusion.bundle.write import BundleWriter
from hil.demo import station_xml
from hil.rig import emulators

LANE = """
[lane]
site = "test"
name = "1"
[devices.probe]
driver = "co2.vaisala_gmp25x"
port = "{root}/line"
poll_s = 0.05
silence_s = 1.0
[devices.room]
driver = "co2.senseair"
port = "{root}/room"
unit = 104
poll_s = 0.5
[devices.chassis]
driver = "vibration.seedlink"
address = "127.0.0.1:{port}"
streams = ["XX_L3:B1", "XX_L3:B2", "XX_L3:G1"]
response = "vibration.xml"
silence_s = 2.0
"""
CERTIFICATES = """
[zero]
name = "nitrogen"
value = 0.5
unit = "ppm"
expanded_uncertainty = 0.5
[span]
name = "CO2 in N2"
value = 2000.0
unit = "ppm"
expanded_uncertainty = 20.0
[barometer]
name = "barometer"
value = {hpa}
unit = "hPa"
expanded_uncertainty = 0.3
"""
SHORT = ("--set", "seconds=1", "--set", "settle_ppm=5", "--set", "patience_s=3")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    keys.new_signing(tmp_path / "keys" / "signing.key")
    (tmp_path / "lane.toml").write_text(LANE.format(root=tmp_path, port=1))
    (tmp_path / "vibration.xml").write_text(station_xml())
    (tmp_path / "certificates.toml").write_text(CERTIFICATES.format(hpa=987.5))
    (tmp_path / "state").mkdir()
    return tmp_path


def count(root: Path) -> int:
    return Store(root / "state" / "calibrations").count()


def test_a_probe_pulled_out_half_way_wrong_gas_and_one_that_does_not_settle(
    root: Path, talk: Any, lanepulse: Any
) -> None:
    given = ("--references", str(root / "certificates.toml"))

    async def go() -> None:
        async with emulators(probe=("gmp25x", "--link", str(root / "line"))) as devices:
            probe = devices["probe"]
            await probe.tell({"noise_ppm": 0.5, "co2_ppm": 2000.0})  # the cylinders are swapped
            person = await talk(root, "calibrate", "probe", "two-point", *given, *SHORT)
            await person.prompt("Zero gas")
            await person.enter()
            await person.prompt("Span gas")
            await probe.tell({"co2_ppm": 0.5})
            await person.enter()
            await person.prompt("again")
            await person.enter()
            code, said = await person.end()
            assert code == 1, said
            assert "swapped cylinders" in said
            assert "still in force" in said
            await probe.tell({"lag_s": 60.0, "co2_ppm": 5000.0})  # it creeps for minutes
            code, answer = await asyncio.to_thread(
                lanepulse, root, "calibrate", "probe", "zero", *given, "--yes", *SHORT
            )
            assert code == 1, answer
            assert "not settled to 5 within 3 s" in answer["cause"]
            await probe.tell({"lag_s": 0.0, "co2_ppm": 0.5})
            person = await talk(root, "calibrate", "probe", "two-point", *given, *SHORT)
            await person.prompt("Zero gas")
            await person.enter()
            await person.prompt("Span gas")
            await probe.tell({"do": "unplug"})
            await person.enter()
            code, said = await person.end()
            assert code == 3, said
            assert "probe: lost" in said

    asyncio.run(go())
    assert count(root) == 0
    code, answer = lanepulse(root, "calibrate", "probe", "zero", *given, "--yes")
    assert code == 3  # no such line: the wrong cable
    assert "nothing was changed" in answer["cause"]


def test_self_correction_is_switched_off_and_pressure_written_only_where_they_read_back(
    root: Path, lanepulse: Any
) -> None:
    config = senseair.Config(driver="co2.senseair", port=str(root / "room"), unit=104)
    vaisala = vaisala_gmp25x.Config(driver="co2.vaisala_gmp25x", port=str(root / "line"))
    given = ("--references", str(root / "certificates.toml"), "--yes")

    async def go() -> None:
        async with emulators(
            room=("senseair", "--link", str(root / "room")), probe=("gmp25x", "--link", str(root / "line"))
        ) as devices:
            await devices["room"].tell({"abc_hours": 180, "abc_sticks": True})
            off = ("calibrate", "room", "self-correction-off", "--yes")
            code, answer = await asyncio.to_thread(lanepulse, root, *off)
            assert (code, answer["verdict"]) == (1, "fail"), answer
            await devices["room"].tell({"abc_sticks": False})
            code, answer = await asyncio.to_thread(lanepulse, root, *off)
            assert (code, answer["verdict"]) == (0, "pass"), answer
            assert "was on" in answer["notes"][0]
            assert await maintenance.self_correction("room", config) == 0
            code, answer = await asyncio.to_thread(lanepulse, root, "calibrate", "probe", *off[2:])
            assert code == 3, answer
            assert "no self-correction" in answer["cause"]
            code, answer = await asyncio.to_thread(lanepulse, root, "calibrate", "probe", "compensation", *given)
            assert code == 0, answer
            assert await maintenance.pressure_hpa("probe", vaisala) == 987.5
            (root / "certificates.toml").write_text(CERTIFICATES.format(hpa=98.75))  # kPa on the display
            code, answer = await asyncio.to_thread(lanepulse, root, "calibrate", "probe", "compensation", *given)
            assert code == 1, answer
            assert "no air pressure" in answer["cause"]
            assert await maintenance.pressure_hpa("probe", vaisala) == 987.5

    asyncio.run(go())
    active = Store(root / "state" / "calibrations").active()
    assert active["room"].record.settings["self_correction"].value == {"on": 0.0}
    assert active["probe"].record.settings["compensation"].value == {"done_by": "probe", "pressure_hpa": 987.5}


def test_wind_during_the_noise_test_and_a_digitizer_that_dies(root: Path, lanepulse: Any) -> None:
    noise = ("calibrate", "chassis", "noise", "--yes", "--set", "seconds=40")

    async def go() -> None:
        async with emulators(digitizer=("seedlink_server", "--sensors", "B1,B2,G1")) as devices:
            digitizer = devices["digitizer"]
            (root / "lane.toml").write_text(LANE.format(root=root, port=digitizer.place))
            for order, said in (
                ({"level": 60.0}, "wait for a lull"),
                ({"level": 0.3}, None),
            ):
                await digitizer.tell({"do": "live", "what": "rest", "seconds": 60, "speed": 30, **order})
                code, answer = await asyncio.to_thread(lanepulse, root, *noise)
                failed = "; ".join(one["mend"] for one in answer["checks"] if not one["passed"])
                assert code == (0 if said is None else 1), answer
                assert said is None or said in failed
            await digitizer.tell({"do": "unplug", "sensor": "B2"})
            code, answer = await asyncio.to_thread(lanepulse, root, *noise)
            assert code == 1, answer
            assert "B2: sent nothing" in answer["cause"]
            await digitizer.tell({"do": "plug", "sensor": "B2"})
            await digitizer.tell({"do": "stall"})
            code, answer = await asyncio.to_thread(lanepulse, root, *noise)
            assert code == 3, answer
            assert "lost" in answer["cause"]

    asyncio.run(go())
    assert count(root) == 1


def bundle(folder: Path, number: int, ground_nm_s: float, searched: bool, found: bool | None) -> None:
    """A passage of 16 s, ground and a body that follows it, and what a search found."""
    name, began = f"01KJM2T6QJ8M0R1V6W3XZ5{number:04d}", 1_770_000_000_000_000_000
    random = np.random.default_rng(number)
    wave = random.normal(size=4000) * ground_nm_s
    draft = {
        "schema": "lanepulse.passage/1", "passage_id": name, "site": "x", "lane": "1",
        "began_utc": "2026-02-02T02:40:00Z", "ended_utc": "2026-02-02T02:40:16Z",
        "clock": {"synchronised": True, "max_error_ns": 1000}, "vehicle": {"body_type": "soft_sided", "plates": []},
        "context": {}, "devices": [{"name": "chassis", "modality": "vibration", "driver": "vibration.seedlink"}],
        "looks": [],
    }  # fmt: skip
    writer = BundleWriter.begin(folder, name, draft)
    writer.responses(station_xml().encode())
    stamp = Stamp(began, began, 0, ClockQuality(True, 1000))
    wind = float(random.uniform(0, 4))
    writer.weather(WeatherSample("mast", stamp, wind))
    for sensor, factor in (("B1", 10 ** (0.05 * wind)), ("G1", 1.0)):
        counts = np.rint((wave * factor + random.normal(size=4000) * 0.1 * ground_nm_s) * 1.15)
        writer.vibration(VibrationBlock("chassis", stamp, sensor, "DHZ", 250.0, counts.astype(np.float64), 1))
    done = writer.complete(draft)
    if found is not None or not searched:
        (done.path / "outcome.json").write_text(json.dumps({"searched": searched, "found": found}))


def test_background_is_learned_from_the_lanes_own_empties_and_from_nothing_else(root: Path) -> None:
    bundles = root / "bundles"
    bundles.mkdir()
    levels = np.random.default_rng(3).uniform(50, 2000, 30)
    for number, level in enumerate(levels):
        bundle(bundles, number, level, searched=True, found=False)
    bundle(bundles, 100, 1e6, searched=True, found=True)  # somebody was in there
    bundle(bundles, 101, 1e6, searched=False, found=None)  # nobody looked
    seen: list[tuple[int, int]] = []
    raw = empties.collect(bundles, lambda number, of: seen.append((number, of)))
    assert seen[-1] == (32, 32)
    assert len(raw.floats("empties/body_db")) == 30
    found = vibration.background(raw)
    assert found.passed, [check.text() for check in found.checks]
    setting = found.settings["background"]
    assert setting["b"] == pytest.approx(1.0, abs=0.05)
    assert setting["c"] == pytest.approx(1.0, abs=0.15)  # dB for each m/s, as planted
    with pytest.raises(vibration.BadSetup, match="no passage yet"):
        empties.collect(root / "nowhere", lambda *_: None)
