"""Passages of the simulated world as bundles, for timing what reads them: five geophones and a probe, as on a lane."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from calibration.response import Response
from calibration.stationxml import write_stationxml
from drivers.reading import ClockQuality, GasSample, Point, Stamp, VibrationBlock
from fusion.bundle.times import format_utc
from fusion.bundle.write import BundleWriter
from hil.scenario import SENSITIVITY_COUNTS_PER_M_S, Scenario, play
from hil.world.lorry import SENSORS, geophone_poles

BEGAN_NS = 1_770_000_000_000_000_000
CLOCK = ClockQuality(True, 250_000)
SECONDS, RATE_HZ = 45, 250.0  # the time allowed; what geophones on lanes give


def write_passages(root: Path, count: int) -> list[Path]:
    """``count`` bundles below ``root``, every second one with people, whose outcomes are known."""
    return [_write(root, number, number % 2 * (1 + number % 3)) for number in range(count)]


def _write(root: Path, number: int, people: int) -> Path:
    words = {"title": "bench", "seed": number, "body_type": "soft_sided", "mass_kg": 14_000, "people": people}
    signals = play(Scenario.model_validate(words), SECONDS, RATE_HZ)
    ended_ns = BEGAN_NS + SECONDS * 10**9
    document = {
        "schema": "lanepulse.passage/1",
        "passage_id": f"01JQ0F7Y3W8V5R2M9K4T6B{number:04d}",
        "site": "bench",
        "lane": "1",
        "began_utc": format_utc(BEGAN_NS),
        "ended_utc": format_utc(ended_ns),
        "vehicle": {"body_type": "soft_sided", "gross_mass_kg": 14_000, "plates": []},
        "context": {"engine": "off", "refrigeration": "off", "driver": "out", "shelter": "shed"},
        "devices": [{"name": "chassis", "modality": "vibration"}, {"name": "probe", "modality": "co2"}],
    }
    writer = BundleWriter.begin(root, str(document["passage_id"]), document)
    response = Response(SENSITIVITY_COUNTS_PER_M_S, 20.0, (0j, 0j), tuple(geophone_poles()))
    writer.responses(write_stationxml({(sensor, "EHZ"): response for sensor in SENSORS}, "2020-01-01T00:00:00Z"))
    for sensor in SENSORS:
        counts = signals.counts[sensor].astype(np.float64)
        writer.vibration(VibrationBlock("chassis", _stamp(0), sensor, "EHZ", RATE_HZ, counts, 0))
    for second in range(SECONDS):
        writer.gas(GasSample("outside", _stamp(second), Point.AMBIENT, signals.outside_ppm))
        writer.gas(GasSample("probe", _stamp(second), Point.INSIDE, float(signals.inside_ppm[second])))
    path = writer.complete(document).path
    (path / "outcome.json").write_text(json.dumps({"searched": True, "found": people > 0, "people": people}))
    return path


def _stamp(second: int) -> Stamp:
    at = BEGAN_NS + second * 10**9
    return Stamp(at, at, second * 10**9, CLOCK)
