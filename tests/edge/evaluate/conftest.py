"""A small dataset: short passages out of the simulated world, written by the product's own writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.response import Response
from calibration.stationxml import write_stationxml
from drivers.reading import ClockQuality, GasSample, Point, Stamp, VibrationBlock
from fusion.bundle.times import format_utc
from fusion.bundle.write import BundleWriter
from hil.scenario import SENSITIVITY_COUNTS_PER_M_S, Scenario, play
from hil.world.lorry import geophone_poles

CLOCK = ClockQuality(True, 250_000)
BEGAN_NS = 1_770_000_000_000_000_000
SECONDS, RATE_HZ, SENSORS = 11, 250.0, ("B1", "B2", "G1")
BODIES = ("soft_sided", "hard_sided")


def write_bundle(root: Path, number: int, people: int, outcome: dict[str, Any] | None) -> Path:
    """A passage of two looks, at 5 and at 10 s."""
    passage_id = f"01JQ0F7Y3W8V5R2M9K4T6B{number:04d}"
    words = {"title": "t", "seed": number, "body_type": BODIES[number % 2], "mass_kg": 14_000, "people": people}
    signals = play(Scenario.model_validate(words), SECONDS, RATE_HZ)
    document = {
        "schema": "lanepulse.passage/1",
        "passage_id": passage_id,
        "site": "calais",
        "lane": "3",
        "began_utc": format_utc(BEGAN_NS),
        "ended_utc": format_utc(BEGAN_NS + SECONDS * 10**9),
        "vehicle": {"body_type": words["body_type"], "gross_mass_kg": 14_000, "plates": []},
        "context": {"engine": "off", "refrigeration": "off", "driver": "out", "shelter": "shed"},
        "devices": [{"name": "chassis", "modality": "vibration"}, {"name": "probe", "modality": "co2"}],
        "policy": {"looks_s": [5.0, 10.0]},
    }
    writer = BundleWriter.begin(root, passage_id, document)
    response = Response(SENSITIVITY_COUNTS_PER_M_S, 20.0, (0j, 0j), tuple(geophone_poles()))
    writer.responses(write_stationxml({(sensor, "EHZ"): response for sensor in SENSORS}, "2020-01-01T00:00:00Z"))
    stamp = Stamp(BEGAN_NS, BEGAN_NS, 0, CLOCK)
    for sensor in SENSORS:
        counts = signals.counts[sensor].astype(np.float64)
        writer.vibration(VibrationBlock("chassis", stamp, sensor, "EHZ", RATE_HZ, counts, 0))
    for second in range(SECONDS):
        at = BEGAN_NS + second * 10**9
        now = Stamp(at, at, 0, CLOCK)
        writer.gas(GasSample("probe", now, Point.INSIDE, float(signals.inside_ppm[second])))
        writer.gas(GasSample("outside", now, Point.AMBIENT, signals.outside_ppm + 0.5 * (second % 3)))
    path = writer.complete(document).path
    if outcome is not None:
        (path / "outcome.json").write_text(json.dumps(outcome))
    return path


def found(people: int) -> dict[str, Any]:
    return {"searched": True, "technique": "physical", "found": people > 0, "people": people, "minutes": 11.0}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six with people, eight empty; one that nobody searched, one of unknown outcome, one broken."""
    root = tmp_path_factory.mktemp("data") / "small"
    root.mkdir()
    for number in range(14):
        people = 0 if number >= 6 else 1 + number % 3
        write_bundle(root, number, people, found(people))
    write_bundle(root, 20, 1, {"searched": False, "found": None})
    write_bundle(root, 21, 0, None)
    broken = write_bundle(root, 22, 0, found(0))
    (broken / "passage.json").write_text("{")
    (root / "dataset.toml").write_text('name = "Small <trial>"\nlicence = "CC0-1.0"\nkind = "simulated"\nby = "us"\n')
    return root
