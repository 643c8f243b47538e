"""Small bundles, made of the product's own writer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.response import Response
from calibration.stationxml import write_stationxml
from drivers.reading import ClockQuality, GasSample, Point, Stamp, VibrationBlock, WeatherSample
from fusion.bundle.times import parse_utc
from fusion.bundle.write import BundleWriter

PASSAGE_ID = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"
CLOCK = ClockQuality(True, 250_000)
BEGAN = parse_utc("2026-03-01T10:15:02.250Z")


def document() -> dict[str, Any]:
    return {
        "schema": "lanepulse.passage/1",
        "passage_id": PASSAGE_ID,
        "site": "calais",
        "lane": "3",
        "began_utc": "2026-03-01T10:15:02.250Z",
        "ended_utc": "2026-03-01T10:15:58.000Z",
        "clock": {"synchronised": True, "max_error_ns": 250000},
        "vehicle": {"body_type": "soft_sided", "gross_mass_kg": 24000, "plates": []},
        "context": {"engine": "off", "cargo": "general", "sealed_for_s": None},
        "devices": [
            {"name": "chassis", "modality": "vibration", "driver": "vibration.seedlink"},
            {"name": "probe", "modality": "co2"},
            {"name": "mast", "modality": "weather"},
        ],
        "of_tomorrow": {"kept": [1, 2, 3]},
    }


def block(second: float, sensor: str = "B1", samples: int = 100, seed: int = 0) -> VibrationBlock:
    at = BEGAN + round(second * 1e9)
    counts = np.random.default_rng((seed, round(second * 1000))).integers(-5000, 5000, samples).astype(np.float64)
    return VibrationBlock("chassis", Stamp(at, at, 0, CLOCK), sensor, "EHZ", 500.0, counts, 0)


def gas(second: float, co2_ppm: float) -> GasSample:
    at = BEGAN + round(second * 1e9)
    return GasSample("probe", Stamp(at, at, 0, CLOCK), Point.INSIDE, co2_ppm, "ok", 6.25, 81.0, 1012.4)


def wind(second: float, wind_m_s: float) -> WeatherSample:
    at = BEGAN + round(second * 1e9)
    return WeatherSample("mast", Stamp(at, at, 0, CLOCK), wind_m_s)


def write_small(root: Path) -> Path:
    """A bundle of two geophones, one probe and calm air."""
    writer = BundleWriter.begin(root, PASSAGE_ID, document())
    responses = {(sensor, "EHZ"): Response(1e8, 20.0) for sensor in ("B1", "G1")}
    writer.responses(write_stationxml(responses, "2026-03-01T10:15:02Z"))
    for step in range(20):
        for sensor in ("B1", "G1"):
            writer.vibration(block(step * 0.2, sensor))
        writer.gas(gas(step * 0.2, 451.5 + step))
    writer.weather(wind(1.0, 1.2))
    return writer.complete(document()).path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A good bundle as a folder."""
    return write_small(tmp_path / "bundles")


ADAPTED = {
    "schema": "lanepulse.passage/1",
    "passage_id": "01KFD0000000000000000000AA",
    "site": "north",
    "lane": "lane-1",
    "began_utc": "2026-01-20T08:00:00Z",
    "ended_utc": "2026-01-20T08:01:00Z",
    "vehicle": {"body_type": "soft_sided"},
    "context": {"engine": "off", "refrigeration": "off", "cargo": "unknown"},
    "devices": [
        {"name": "geo-body", "modality": "vibration", "calibration_id": "cal-1"},
        {"name": "P1", "modality": "co2", "calibration_id": "cal-2"},
    ],
}


def in_our_words(name: str, content: bytes) -> bytes:
    """A file of a case with the product's own field names; the trouble in it is kept."""
    if name.lower().endswith("passage.json") and content:
        ours = dict(ADAPTED)
        if b"presence_off_utc" not in content:
            del ours["ended_utc"]
        text = json.dumps(ours)
        return (text if content.rstrip().endswith(b"}") else text[:200]).encode()
    if name.endswith("co2.csv"):
        return content.replace(b"rear-door", b"inside").replace(b",0\n", b",ok\n")
    return content


@pytest.fixture
def adapted(cases: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A folder of a case, copied, in the product's own field names."""

    def copy(name: str) -> Path:
        target = tmp_path / "adapted" / Path(name).name
        shutil.copytree(cases / name, target)
        target.chmod(0o755)
        for file in target.iterdir():
            file.chmod(0o644)
            file.write_bytes(in_our_words(file.name, file.read_bytes()))
        return target

    return copy


@pytest.fixture(scope="session")
def small_records(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """``vibration.mseed`` of a small bundle."""
    return (write_small(tmp_path_factory.mktemp("records")) / "vibration.mseed").read_bytes()
