"""``lanepulse calibrate`` and ``challenge`` against emulated devices: what was planted is found and in force."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from calibration.store import Store
from edge import keys
from edge.journal.journal import Journal
from hil.rig import emulators
from hil.world import geophones as world

LANE = """
[lane]
site = "test"
name = "1"
[publish]
bind = "tcp://127.0.0.1:0"
replay = "tcp://127.0.0.1:0"
[devices.probe]
driver = "co2.vaisala_gmp25x"
port = "{root}/line"
poll_s = 0.05
silence_s = 1.0
[devices.chassis]
driver = "vibration.seedlink"
address = "127.0.0.1:{port}"
streams = ["XX_L3:B1", "XX_L3:B2", "XX_L3:G1"]
"""
CERTIFICATES = f"""
[zero]
name = "nitrogen 5.0"
value = 0.5
unit = "ppm"
expanded_uncertainty = 0.5
certificate = "N-1"
[span]
name = "CO2 in N2"
value = 2000.0
unit = "ppm"
expanded_uncertainty = 20.0
serial = "cyl 7"
certificate = "S-1"
[gas]
name = "CO2 in N2"
value = 2000.0
unit = "ppm"
expanded_uncertainty = 20.0
[current]
name = "calibrator"
value = {world.CURRENT_A}
unit = "A"
expanded_uncertainty = {1e-3 * world.CURRENT_A}
[moving_mass]
name = "moving mass"
value = {world.MASS_KG}
unit = "kg"
expanded_uncertainty = {0.01 * world.MASS_KG}
[digitizer]
name = "digitizer"
value = {world.COUNTS_PER_VOLT}
unit = "counts/V"
expanded_uncertainty = {2e-3 * world.COUNTS_PER_VOLT}
"""
SHORT = ("--set", "seconds=1", "--set", "settle_ppm=5", "--set", "patience_s=20")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    keys.new_signing(tmp_path / "keys" / "signing.key")
    (tmp_path / "lane.toml").write_text(LANE.format(root=tmp_path, port=1))
    (tmp_path / "certificates.toml").write_text(CERTIFICATES)
    (tmp_path / "state").mkdir()
    with Journal.open(tmp_path / "state" / "journal.db", keys.load_signing(tmp_path / "keys" / "signing.key")):
        pass
    return tmp_path


def test_two_point_is_guided_recorded_journalled_and_in_force(root: Path, talk: Any, lanepulse: Any, rows: Any) -> None:
    certificates = str(root / "certificates.toml")

    async def go() -> None:
        async with emulators(probe=("gmp25x", "--link", str(root / "line"))) as devices:
            probe = devices["probe"]
            await probe.tell({"gain": 1.1, "offset_ppm": 20.0, "noise_ppm": 0.5})
            person = await talk(root, "calibrate", "probe", "two-point", "--references", certificates, *SHORT)
            for word, ppm in (("Zero gas", 0.5), ("Span gas", 2000.0), ("again", 2000.0)):
                await person.prompt(word)
                await probe.tell({"co2_ppm": ppm})
                await person.enter()
            code, said = await person.end()
            assert code == 0, said
            assert "probe two-point: PASS; record 1" in said
            await probe.tell({"co2_ppm": 2000.0})
            challenge = ("challenge", "probe", "--references", certificates, "--yes", *SHORT)
            assert (await asyncio.to_thread(lanepulse, root, *challenge))[0] == 0
            await probe.tell({"gain": 1.3})
            code, answer = await asyncio.to_thread(lanepulse, root, *challenge)
            assert code == 1
            assert answer["verdict"] == "fail"
            assert answer["number"] == 3  # a failed test is a record too

    asyncio.run(go())
    code, answer = lanepulse(root, "calibrate", "status")
    state = {row["device"]: row for row in answer["devices"]}
    assert (code, state["probe"]["state"], state["chassis"]["state"]) == (0, "valid", "never calibrated")
    _, shown = lanepulse(root, "calibrate", "show", "1")
    scale = shown["record"]["settings"]["scale"]["value"]
    assert scale["gain"] == pytest.approx(1 / 1.1, rel=0.02)
    assert shown["record"]["references"][0]["certificate"] == "S-1"
    with rows(root) as found:
        assert [(row["event"], row["procedure"], row["verdict"]) for row in found] == [
            ("record", "two-point", "pass"), ("record", "challenge", "pass"), ("record", "challenge", "fail"),
        ]  # fmt: skip
        assert found[0]["record_id"] == state["probe"]["record_id"]
    assert lanepulse(root, "journal", "verify")[0] == 0


def test_a_bad_set_up_writes_no_record_and_leaves_the_old_one_active(root: Path, lanepulse: Any, rows: Any) -> None:
    certificates = str(root / "certificates.toml")

    async def go() -> None:
        async with emulators(probe=("gmp25x", "--link", str(root / "line"))) as devices:
            probe = devices["probe"]
            await probe.tell({"noise_ppm": 0.5, "co2_ppm": 0.5})
            words = ("calibrate", "probe", "zero", "--references", certificates, "--yes", *SHORT)
            assert (await asyncio.to_thread(lanepulse, root, *words))[0] == 0
            await probe.tell({"co2_ppm": 420.0})  # somebody left the cap off
            code, answer = await asyncio.to_thread(lanepulse, root, *words)
            assert (code, answer["verdict"], answer["record_id"]) == (1, "fail", None)
            await probe.tell({"do": "silent", "times": 1000})
            code, answer = await asyncio.to_thread(lanepulse, root, *words)
            assert code == 3, answer
            assert "lost" in answer["cause"]

    asyncio.run(go())
    store = Store(root / "state" / "calibrations")
    assert store.count() == 1
    assert store.active()["probe"].record.number == 1
    with rows(root) as found:
        assert [row["event"] for row in found] == ["record", "failed", "failed"]
        assert "not zero gas" in found[1]["cause"]
    _, answer = lanepulse(root, "calibrate", "probe", "zero")
    assert "reference zero: not given" in answer["cause"]


def test_an_interrupted_calibration_goes_on_where_it_stopped(root: Path, talk: Any, lanepulse: Any) -> None:
    certificates = str(root / "certificates.toml")
    words = ("calibrate", "probe", "two-point", "--references", certificates, *SHORT)

    async def go() -> dict[str, Any]:
        async with emulators(probe=("gmp25x", "--link", str(root / "line"))) as devices:
            probe = devices["probe"]
            await probe.tell({"noise_ppm": 0.5, "co2_ppm": 0.5})
            person = await talk(root, *words)
            await person.prompt("Zero gas")
            await person.enter()
            await person.prompt("Span gas")
            person._process.send_signal(2)
            code, said = await person.end()
            assert code == 130, said
            assert "nothing was changed" in said
            await probe.tell({"co2_ppm": 2000.0})
            code, answer = await asyncio.to_thread(lanepulse, root, *words, "--yes")
            assert code == 0, answer
            return answer

    assert asyncio.run(go())["resumed"] == ["zero"]
    assert not list((root / "state" / "calibrations" / "unfinished").glob("*"))


def test_step_and_tap_of_a_detuned_digitizer_are_put_right(root: Path, talk: Any, lanepulse: Any) -> None:
    certificates = str(root / "certificates.toml")

    async def go() -> None:
        async with emulators(digitizer=("seedlink_server", "--sensors", "B1,B2,G1")) as devices:
            digitizer = devices["digitizer"]
            (root / "lane.toml").write_text(LANE.format(root=root, port=digitizer.place))
            await digitizer.tell({"do": "detune", "sensor": "B2", "f0_hz": 4.9, "damping": 0.6, "gain": 1.1})
            await digitizer.tell({"do": "live", "what": "release", "seconds": 30, "speed": 12})
            step = ("calibrate", "chassis", "step", "--references", certificates, "--set", "seconds=26", "--yes")
            code, answer = await asyncio.to_thread(lanepulse, root, *step)
            assert code == 0, answer
            found = {result["name"]: result for result in answer["results"]}
            for name, truth in (("f0 B2", 4.9), ("damping B2", 0.6), ("f0 B1", 4.5)):
                assert found[name]["value"] == pytest.approx(truth, rel=2e-3)
            sheet = world.VOLTS_PER_M_S * world.COUNTS_PER_VOLT
            assert found["sensitivity B2"]["value"] == pytest.approx(1.1 * sheet, rel=0.01)
            await digitizer.tell({"do": "detune", "sensor": "G1", "polarity": -1})
            await digitizer.tell({"do": "swap", "sensors": ["B1", "B2"]})
            person = await talk(root, "calibrate", "chassis", "tap", "--set", "seconds=6")
            for sensor in ("B1", "B2", "G1"):
                await person.prompt(sensor)
                await digitizer.tell({"do": "live", "what": "rest", "seconds": 8, "speed": 1})
                await person.enter()
                await person.prompt("", until=b"measuring")
                await digitizer.tell({"do": "live", "what": "tap", "at": sensor, "seconds": 8, "speed": 8})
            code, said = await person.end()
            assert code == 0, said

    asyncio.run(go())
    settings = Store(root / "state" / "calibrations").active()["chassis"].record.settings
    assert settings["channels"].value == {"B1": "B2", "B2": "B1", "G1": "G1"}
    assert settings["response.G1"].value["sensitivity_counts_per_m_s"] < 0
    assert settings["response.B1"].value["channel"] == "DHZ"


def a_zero(offset_ppm: float, day: int) -> dict[str, Any]:
    """A record of the `zero` procedure, as it would be written on a day of January."""
    until = "2099-01-01T00:00:00.000Z"
    result = {
        "name": "offset", "unit": "ppm", "value": offset_ppm, "standard_uncertainty": 0.5, "expanded_uncertainty": 1.0,
        "coverage_factor": 2.0, "coverage": 0.95, "degrees_of_freedom": None, "budget": [],
    }  # fmt: skip
    return {
        "device": {"name": "probe", "modality": "co2", "driver": "co2.vaisala_gmp25x"},
        "procedure": "zero",
        "procedure_version": 1,
        "performed_utc": f"2026-01-{day:02d}T00:00:00.000Z",
        "valid_until_utc": until,
        "operator": "uid 1",
        "verdict": "pass",
        "activates": True,
        "results": [result],
        "settings": {"scale": {"value": {"gain": 1.0, "offset_ppm": offset_ppm}, "valid_until_utc": until}},
    }


def test_compare_drift_and_rollback_speak_of_the_chain(root: Path, lanepulse: Any, rows: Any) -> None:
    store, key = Store(root / "state" / "calibrations"), keys.load_signing(root / "keys" / "signing.key")
    for day, offset_ppm in enumerate((0.0, -0.4, 0.3, 0.2), 1):
        store.append(a_zero(offset_ppm, day), None, key)
    assert lanepulse(root, "calibrate", "drift", "probe")[0] == 0
    store.append(a_zero(60.0, 5), None, key)
    _, compared = lanepulse(root, "calibrate", "compare", "1", "5")
    assert compared["results"][0]["change"] == pytest.approx(60)
    assert compared["results"][0]["en"] > 1
    code, drifted = lanepulse(root, "calibrate", "drift", "probe")
    assert (code, drifted["inside"]) == (1, False)
    assert lanepulse(root, "calibrate", "rollback", "1", "--yes")[0] == 0
    assert lanepulse(root, "calibrate", "status")[1]["devices"][0]["record"] == 1
    assert store.count() == 6
    with rows(root) as found:
        assert found[-1]["event"] == "activation"


def test_journal_verify_finds_a_record_that_was_changed_and_a_chain_that_was_cut(root: Path, lanepulse: Any) -> None:
    certificates = str(root / "certificates.toml")

    async def go() -> None:
        async with emulators(probe=("gmp25x", "--link", str(root / "line"))) as devices:
            await devices["probe"].tell({"noise_ppm": 0.3, "co2_ppm": 0.5})
            words = ("calibrate", "probe", "zero", "--references", certificates, "--yes", *SHORT)
            assert (await asyncio.to_thread(lanepulse, root, *words))[0] == 0

    asyncio.run(go())
    path = root / "state" / "calibrations" / "000001.json"
    good = path.read_bytes()
    path.chmod(0o640)
    path.write_bytes(good.replace(b'"verdict":"pass"', b'"verdict":"fail"'))
    code, answer = lanepulse(root, "journal", "verify")
    assert (code, answer["ok"]) == (1, False)
    assert answer["calibrations"]["faults"]
    path.unlink()
    code, answer = lanepulse(root, "journal", "verify")
    assert answer["calibrations"]["faults"] == ["calibration 1: is missing"]
    path.write_bytes(good)
    assert lanepulse(root, "journal", "verify")[0] == 0
