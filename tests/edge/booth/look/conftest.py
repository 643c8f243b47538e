"""Passages with something to look at: rig scenes recorded as the lane records them, judged by its own evidence."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser

from drivers.reading import ClockQuality, GasSample, Point, RadiometricFrame, Stamp, VibrationBlock, WeatherSample
from edge.places import Places
from fusion.bundle.read import read
from fusion.bundle.write import BundleWriter
from fusion.evidence.mmwave import mmwave_evidence
from fusion.evidence.xray import xray_evidence
from fusion.passage import Passage
from hil.devices import dicos_object
from hil.world.radiography import Beam, Load, Stowed, radiograph
from hil.world.radiometry import Drive, Hidden, Side, View, film

# The browser's own decoder, of an image that was fetched by a page of the same origin or given in the address.
DECODE = """async (source) => {
  const image = await createImageBitmap(await (await fetch(source)).blob());
  const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
  pen.drawImage(image, 0, 0);
  const values = pen.getImageData(0, 0, image.width, image.height).data;
  return [image.height, image.width, new Uint8Array(values.buffer).toBase64()];
}"""
SECOND = 1_000_000_000
BEGAN = 1_772_360_102 * SECOND  # 2026-03-01T10:15:02Z
AT_S = (*np.arange(0.0, 6.0, 0.25).tolist(), *np.arange(6.0, 16.0, 1.0).tolist())
DOCUMENT = {
    "schema": "lanepulse.passage/1", "site": "calais", "lane": "3", "began_utc": "2026-03-01T10:15:02Z",
    "vehicle": {"body_type": "soft_sided"},
    "devices": [{"name": "imager", "modality": "mmwave"}, {"name": "scanner", "modality": "xray"}],
}  # fmt: skip
VIEW = View(rows=48, columns=64, height_m=3.4, netd_k=0.35, channels_k=0.2, baseline_k=0.2, drift_k_per_s=0.0)
SIDE = Side("soft_sided", 13.6, 286.0, 282.0, 80.0, 0.75, 0.03, 0.0, 0.0, (), seed=6)
SITTING = Hidden(along_m=6.0, up_m=1.8, pose="sitting", emissivity=0.7, uncovered=1.0)
LOAD = Load(10.0, 30.0, 0.7, ((4.0, 5.2),), (), seed=4)
STOWED = Stowed(4.6, 1.7, "sitting", 30.0)
BEAM = Beam(pixel_m=0.01, mu_cm2_g=0.055, photons=3e4, scatter=0.02, air=0.85, spread_m=0.006)


def stamp(at_s: float) -> Stamp:
    at = BEGAN + round(at_s * SECOND)
    return Stamp(at, at, at, ClockQuality(True, 250_000))


def rolling_in(people: tuple[Hidden, ...]) -> tuple[NDArray[np.float32], ...]:
    """The lorry rolls in until the place where somebody may sit stands in view."""
    for seed in range(200):
        taken = film(replace(SIDE, people=people), VIEW, Drive(1.0, 3.0, 1), AT_S, np.random.default_rng(seed))
        if 7.0 < taken.to_m < 14.0 and -1.0 < taken.from_m < 5.0:
            return taken.frames
    raise AssertionError("no such film")


def scanned(people: tuple[Stowed, ...]) -> bytes:
    """A radiograph as a scanner sends it."""
    picture = radiograph(replace(LOAD, people=people), BEAM, np.random.default_rng(1))
    words = np.round(np.clip(picture, 0, 1) * 0xFFFF).astype("<u2")
    told = dicos_object.Scan(rows=words.shape[0], columns=words.shape[1], spacing_mm="10.0\\10.0")
    whole, blank = dicos_object.part10(told), dicos_object.words(told).astype("<u2").tobytes()
    assert whole.count(blank) == 1
    return whole.replace(blank, words.tobytes())


@pytest.fixture(scope="session")
def passages(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, dict[str, dict[str, Any]]]]:
    """With somebody hidden or nobody: the folder of a passage that all four kinds of sensors saw, and what both imagers
    make of it."""
    return {hidden: _recorded(tmp_path_factory.mktemp("seen"), hidden) for hidden in (True, False)}


def _recorded(folder: Path, hidden: bool) -> tuple[Path, dict[str, dict[str, Any]]]:
    name = "01JQ0F7Y3W8V5R2M9K4TPQRSTV"
    writer = BundleWriter.begin(folder, name, DOCUMENT)
    frames = rolling_in((SITTING,) if hidden else ())
    for number, (at_s, frame) in enumerate(zip(AT_S, frames, strict=True)):
        writer.frame(RadiometricFrame("imager", stamp(at_s), frame, number, "left"))
    writer.weather(WeatherSample("mast", stamp(0.0), 1.0, temperature_c=8.9))
    _air(writer, 900.0 if hidden else 18.0)
    _motion(writer, 900.0 if hidden else 0.0)
    writer.radiograph(scanned((STOWED,) if hidden else ()))
    done = writer.complete({**DOCUMENT, "passage_id": name, "ended_utc": "2026-03-01T10:15:47Z"})
    return done.path, _seen(read(done.path).passage())


@pytest.fixture(scope="module")
def recorded(
    stage: Any, passages: dict[bool, tuple[Path, dict[str, dict[str, Any]]]]
) -> Callable[..., dict[str, dict[str, Any]]]:
    """Gives a lorry of the stage a passage's folder; what comes back is the evidence of both imagers."""

    def record(passage_id: str, hidden: bool = True, without: str = "") -> dict[str, dict[str, Any]]:
        folder, seen = passages[hidden]
        shutil.copytree(folder, Places.under(stage.root).bundles / passage_id, ignore=lambda *_: {without})
        return {name: {**part} for name, part in seen.items()}

    return record


def _air(writer: BundleWriter, rise_ppm: float) -> None:
    noise = np.random.default_rng(3)
    for second in range(45):
        inside = 432.0 + rise_ppm * (1 - np.exp(-max(0, second - 4) / 18.0)) + noise.normal(0, 8)
        writer.gas(GasSample("probe", stamp(second), Point.INSIDE, float(inside)))
        writer.gas(GasSample("outside", stamp(second + 0.3), Point.AMBIENT, float(431.0 + noise.normal(0, 5))))


def _motion(writer: BundleWriter, beat_counts: float) -> None:
    """Two sensors on the body with a beat of 72 a minute, one on the ground without."""
    noise, rate_hz = np.random.default_rng(5), 100.0
    at_s = np.arange(0, 45, 1 / rate_hz)
    beat = np.exp(-(((at_s * 1.2) % 1.0 - 0.3) ** 2) / 0.004) * np.sin(2 * np.pi * 7 * at_s)
    for sensor, share in (("B1", 1.0), ("B2", 0.45), ("G1", 0.0)):
        counts = np.rint(beat_counts * share * beat + noise.normal(0, 60, at_s.size))
        writer.vibration(VibrationBlock("chassis", stamp(0.0), sensor, "EHZ", rate_hz, counts, 1))


def _seen(passage: Passage) -> dict[str, dict[str, Any]]:
    """Contributions of both imagers, speaking for a person."""
    found = {}
    for part, weight in ((mmwave_evidence(passage, 1 << 62), 0.9), (xray_evidence(passage), 1.1)):
        assert part.state == "measured", part
        told = asdict(part)
        found[part.modality] = told | {"state": "measured", "log10_lr": weight, "features": dict(part.features)}
    return found


@pytest.fixture(scope="session")
def looked_at() -> Callable[..., dict[str, Any]]:
    """Evidence and reasons of a verdict that all four sensors spoke in, for its level."""

    def changes(seen: dict[str, dict[str, Any]], level: str) -> dict[str, Any]:
        weights = {"no_search": -0.5, "recheck": -0.2}
        evidence = [_heart(), _gas(), *({**one} for one in seen.values())]
        for part in evidence:
            part["log10_lr"] = weights.get(level, part["log10_lr"])
        if level == "recheck":
            evidence[:2] = (
                _silent("vibration", "out_of_limits", "wind 9.1 m/s, limit 8 m/s without shelter"),
                _silent("co2", "absent", "no probe presented"),
            )
        ratio = sum(part["log10_lr"] for part in evidence)
        reasons = [{"code": code, "text": text} for code, text in REASONS[level]]
        return {"evidence": evidence, "reasons": reasons, "log10_odds": -3.1 + ratio}

    return changes


REASONS = {
    "no_search": (("score.under", "Evidence against a person meets the miss bound"), ("vibration.against", "Vibration"),
                  ("co2.against", "CO2")),
    "recheck": (("policy.timeout", "Time is up and the evidence is not sufficient"), ("mmwave.against", "Imager"),
                ("vibration.out_of_limits", "Vibration: wind 9.1 m/s")),
    "search": (("score.over", "Evidence for a person is over the site's threshold"), ("co2.for", "CO2"),
               ("vibration.for", "Vibration"), ("xray.for", "Radiograph"), ("mmwave.for", "Imager")),
    "open_now": (("life.co2", "CO2 inside 6200 ppm"), ("score.over", "Evidence for a person"), ("co2.for", "CO2")),
}  # fmt: skip


def _heart() -> dict[str, Any]:
    return {
        "modality": "vibration", "state": "measured", "log10_lr": 0.9, "quality": 0.9, "cause": None, "where": "rear",
        "features": {"rhythm_bpm": 71.5},
    }  # fmt: skip


def _gas() -> dict[str, Any]:
    return {
        "modality": "co2", "state": "measured", "log10_lr": 1.2, "quality": 0.9, "cause": None, "where": None,
        "features": {"excess_ppm": 812.0, "slope_ppm_per_min": 640.0},
    }  # fmt: skip


def _silent(modality: str, state: str, cause: str) -> dict[str, Any]:
    return {
        "modality": modality, "state": state, "log10_lr": 0.0, "quality": None, "cause": cause, "where": None,
        "features": {},
    }  # fmt: skip


@pytest.fixture(scope="module")
def pixels(browser: Browser, address: str) -> Iterator[Callable[[str], NDArray[np.uint8]]]:
    """(rows, columns, 4) uint8 of an image, as a browser decodes it."""
    canvas = browser.new_page()

    def decoded(source: str) -> NDArray[np.uint8]:
        canvas.goto(f"{address}/settings" if source.startswith("http") else "about:blank")
        rows, columns, values = canvas.evaluate(DECODE, source)
        return np.frombuffer(base64.b64decode(values), np.uint8).reshape(rows, columns, 4)

    yield decoded
    canvas.close()


@pytest.fixture(scope="module")
def show(stage: Any, recorded: Callable[..., Any], looked_at: Callable[..., dict[str, Any]]) -> Callable[[str], str]:
    """Brings the lane into a state that a page has a face for; the answer is the passage."""

    def shown(state: str) -> str:
        if state == "waiting":
            stage.leave()
            return ""
        passage_id: str = stage.enter()
        seen = recorded(passage_id, state in ("search", "open_now"), "co2.csv" if state == "recheck" else "")
        if state == "measuring":
            going_on = [{"code": "measuring", "text": "Measuring goes on"}]
            stage.verdict(passage_id, "recheck", final=False, reasons=going_on)
        else:
            stage.verdict(passage_id, state, **looked_at(seen, state))
        return passage_id

    return shown
