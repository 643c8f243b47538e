"""Imager procedures from the command line against an emulator that is out of tune."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.store import Store
from edge import keys
from hil.rig import emulators

ROWS, COLUMNS = 24, 32
IMAGER = ("gigevision", "--listen", "127.0.7.61", "--port", "0", "--rows", str(ROWS), "--columns", str(COLUMNS),
          "--rate-hz", "60")  # fmt: skip
LANE = f"""
[lane]
site = "test"
name = "1"
[devices.eye]
driver = "mmwave.gigevision"
address = "127.0.7.61"
port = {{port}}
rows = {ROWS}
columns = {COLUMNS}
side = "left"
period_s = 0.017
silence_s = 2.0
"""
CERTIFICATES = """
[ambient]
name = "absorber"
value = 291.0
unit = "K"
expanded_uncertainty = 0.4
[hot]
name = "heated absorber"
value = 335.0
unit = "K"
expanded_uncertainty = 0.8
[load]
name = "absorber"
value = 291.0
unit = "K"
expanded_uncertainty = 0.4
"""
SHORT = ("--set", "seconds=0.8", "--set", "patience_s=20")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    keys.new_signing(tmp_path / "keys" / "signing.key")
    (tmp_path / "certificates.toml").write_text(CERTIFICATES)
    (tmp_path / "state").mkdir()
    return tmp_path


def test_every_procedure_of_the_imager_finds_what_was_planted(root: Path, talk: Any, lanepulse: Any) -> None:
    given = ("--references", str(root / "certificates.toml"))
    offsets = np.random.default_rng(3).normal(-3, 1, ROWS).tolist()
    detuned = {"gain": 1.1, "offset_k": offsets, "baseline_k": 0.4, "netd_k": 0.35, "stuck": [[4, 7]]}

    async def guided(eye: Any, procedure: str, *steps: tuple[str, dict[str, Any]]) -> str:
        person = await talk(root, "calibrate", "eye", procedure, *given, *SHORT)
        for word, order in steps:
            await person.prompt(word)
            await eye.tell(order)
            await person.enter()
        code, said = await person.end()
        assert code == 0, said
        return str(said)

    async def go() -> None:
        async with emulators(eye=IMAGER) as devices:
            eye = devices["eye"]
            (root / "lane.toml").write_text(LANE.format(port=eye.place))
            await eye.tell({"detune": detuned, "load_k": 291.0})
            cold, hot = {"load_k": 291.0}, {"load_k": 335.0}
            await guided(eye, "bad-pixels", ("ambient", cold), ("heated", hot))
            await guided(eye, "two-point", ("ambient", cold), ("heated", hot), ("again", cold))
            assert "PASS" in await guided(eye, "flat", ("uniform", cold))
            await guided(eye, "netd", ("uniform", cold))
            challenge = ("challenge", "eye", *given, *SHORT, "--yes")
            code, answer = await asyncio.to_thread(lanepulse, root, *challenge)
            assert code == 0, answer
            await eye.tell({"detune": {**detuned, "gain": 1.2}})
            assert (await asyncio.to_thread(lanepulse, root, *challenge))[0] == 1
            await eye.tell({"detune": detuned})
            places = [[0.5, 3.4], [5.5, 3.4], [0.6, 0.9], [5.4, 0.8], [3.0, 2.0]]
            marks = "[" + ",".join(f"[{a},{u}]" for a, u in places) + "]"
            person = await talk(root, "calibrate", "eye", "geometry", *SHORT, "--set", f"places={marks}")
            spots = [None, *([(4.0 - up) / 0.15, (along + 0.2) / 0.2] for along, up in places)]
            for number, spot in enumerate(spots):
                await person.prompt("Nobody" if number == 0 else f"mark {number}")
                await eye.tell({"target": spot})
                await person.enter()
            code, said = await person.end()
            assert code == 0, said

    asyncio.run(go())
    settings = Store(root / "state" / "calibrations").active()["eye"].record.settings
    assert settings["bad"].value == [[4, 7]]
    np.testing.assert_allclose(settings["channels"].value["gain"], 1.1, rtol=0.02)
    wave = 0.4 * np.sin(np.linspace(0, 4 * np.pi, COLUMNS, endpoint=False)) * 1.1
    np.testing.assert_allclose(settings["flat"].value["column_k"], wave - wave.mean(), atol=0.08)
    assert settings["netd"].value["netd_k"] == pytest.approx(0.35 * 1.1, rel=0.05)
    assert settings["geometry"].value["along_m"][1] == pytest.approx(0.2, rel=0.05)


def test_a_lost_or_frozen_imager_and_a_load_that_creeps_leave_no_record(root: Path, lanepulse: Any) -> None:
    async def go() -> None:
        async with emulators(eye=IMAGER) as devices:
            eye = devices["eye"]
            (root / "lane.toml").write_text(LANE.format(port=eye.place))
            words = ("calibrate", "eye", "netd", "--yes", "--set", "seconds=0.8")
            await eye.tell({"detune": {"drift_k_per_s": 3.0}, "load_k": 291.0})
            code, answer = await asyncio.to_thread(lanepulse, root, *words, "--set", "patience_s=2")
            assert code == 1, answer
            assert "not settled" in answer["cause"]
            await eye.tell({"detune": None, "freeze": True})
            code, answer = await asyncio.to_thread(lanepulse, root, *words)
            assert code == 1, answer
            assert "frozen" in answer["cause"]
            await eye.tell({"freeze": None, "leaders_only": True, "resend": False})
            code, answer = await asyncio.to_thread(lanepulse, root, *words)
            assert code == 3, answer
            assert "lost" in answer["cause"]

    asyncio.run(go())
    assert Store(root / "state" / "calibrations").count() == 0
