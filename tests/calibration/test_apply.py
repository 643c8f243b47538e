from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calibration.apply import Calibrations, response_of, response_setting
from calibration.record import utc_ns
from calibration.response import Response
from calibration.store import Store
from drivers.reading import ClockQuality, GasSample, Point, Radiograph, RadiometricFrame, Reading, Stamp, VibrationBlock

STAMP = Stamp(10**18, 10**18, 0, ClockQuality(True, 1))
UNTIL = "2027-01-01T00:00:00.000Z"
GAS = GasSample("d", STAMP, Point.INSIDE, 500.0)
POLES = (complex(-19.8, 20.2), complex(-19.8, -20.2))


def in_force(tmp_path: Path, **settings: Any) -> Calibrations:
    store = Store(tmp_path / "calibrations")
    made = {name.replace("__", "."): {"value": value, "valid_until_utc": UNTIL} for name, value in settings.items()}
    store.append(
        {
            "device": {"name": "d", "modality": "x", "driver": "x.y"},
            "procedure": "p",
            "procedure_version": 1,
            "performed_utc": "2026-01-01T00:00:00.000Z",
            "valid_until_utc": UNTIL,
            "operator": "uid 1",
            "verdict": "pass",
            "activates": True,
            "settings": made,
        },
        None,
        Ed25519PrivateKey.generate(),
    )
    return Calibrations(store.active())


def test_a_reading_without_a_record_is_untouched_and_carries_no_id() -> None:
    answer = Calibrations({}).apply(GAS)
    assert answer.reading is GAS
    assert answer.record_id is None


def test_a_gas_reading_is_scaled_and_moved_to_when_the_air_was_sampled(tmp_path: Path) -> None:
    calibrations = in_force(tmp_path, scale={"gain": 1.1, "offset_ppm": -20.0}, line={"delay_s": 7.5, "t90_s": 30.0})
    answer = calibrations.apply(GAS)
    assert isinstance(answer.reading, GasSample)
    assert answer.reading.co2_ppm == pytest.approx(530.0)
    assert answer.reading.stamp.time_utc_ns == STAMP.time_utc_ns - 7_500_000_000
    assert answer.record_id == calibrations.record_ids()["d"]


def test_a_gas_reading_below_nothing_is_a_fault_and_one_that_is_none_stays_none(tmp_path: Path) -> None:
    calibrations = in_force(tmp_path, scale={"gain": 1.0, "offset_ppm": -600.0})
    below = calibrations.apply(GAS).reading
    assert isinstance(below, GasSample)
    assert below.co2_ppm is None
    assert below.status.startswith("faulty")
    silent = replace(GAS, co2_ppm=None, status="warming up")
    assert calibrations.apply(silent).reading == silent


def test_a_swapped_channel_gets_its_right_name_and_its_counts_stay_counts(tmp_path: Path) -> None:
    calibrations = in_force(tmp_path, channels={"B1": "B2", "B2": "B1"})
    block = VibrationBlock("d", STAMP, "B1", "EHZ", 100.0, np.arange(3.0), 1)
    answer = calibrations.apply(block).reading
    assert isinstance(answer, VibrationBlock)
    assert answer.sensor == "B2"
    assert answer.samples is block.samples


def test_responses_come_back_as_they_were_recorded(tmp_path: Path) -> None:
    response = Response(-1.15e9, 20.0, (0j, 0j), POLES)
    assert response_of(response_setting(response)) == response
    assert in_force(tmp_path, response__B1=response_setting(response)).responses("d") == {"B1": response}


def test_a_frame_gets_each_channels_scale_and_its_bad_pixels_are_no_numbers(tmp_path: Path) -> None:
    calibrations = in_force(
        tmp_path,
        channels={"gain": [1.0, 1.1], "offset_k": [0.0, -28.0]},
        flat={"column_k": [0.0, 1.0, 0.0]},
        bad=[[0, 0], [1, -1]],
    )
    frame = RadiometricFrame("d", STAMP, np.full((2, 3), 280.0, np.float32), 1, "left")
    answer = calibrations.apply(frame).reading
    assert isinstance(answer, RadiometricFrame)
    np.testing.assert_array_equal(answer.frame_k, np.array([[np.nan, 279.0, 280.0], [np.nan] * 3], np.float32))


def test_a_frame_of_another_imager_is_refused(tmp_path: Path) -> None:
    calibrations = in_force(tmp_path, channels={"gain": [1.0], "offset_k": [0.0]})
    with pytest.raises(ValueError, match="calibrate again"):
        calibrations.apply(RadiometricFrame("d", STAMP, np.zeros((2, 3), np.float32), 1, "left"))


def test_a_radiograph_is_put_between_dark_and_air(tmp_path: Path) -> None:
    calibrations = in_force(tmp_path, dark=[0.1, 0.1, 0.1], air=[0.9, 0.5, 0.9], bad=[2])
    picture = np.array([[0.1, 0.5, 0.9]] * 3, np.float32)
    scan = Radiograph("d", STAMP, picture, None, None, None, None, None, None, Path("x"), "1.2")
    answer = calibrations.apply(scan).reading
    assert isinstance(answer, Radiograph)
    np.testing.assert_allclose(answer.transmission, [[0, 0.5, 1], [0, 1, 1], [np.nan] * 3], atol=1e-6)
    with pytest.raises(ValueError, match="3 elements, a picture of 2"):
        calibrations.apply(replace(scan, transmission=picture[:2]))


def test_an_expired_record_is_a_warning_and_then_a_fault_by_the_sites_policy(tmp_path: Path) -> None:
    calibrations = in_force(tmp_path, scale={"gain": 1.0, "offset_ppm": 0.0})
    end, day = utc_ns(UNTIL), 86_400 * 10**9
    assert calibrations.warning("d", end - 1) is None
    assert calibrations.state("d", end - 1, 0.0) is None
    assert calibrations.warning("d", end + 3 * day) == "calibration expired 3.0 days ago"
    assert calibrations.state("d", end + 3 * day, None) is None
    assert calibrations.state("d", end + 3 * day, 7.0) is None
    assert calibrations.state("d", end + 8 * day, 7.0) == "faulty: calibration expired"
    assert calibrations.warning("unknown", end) is None


def test_readings_that_carry_no_numbers_pass(tmp_path: Path) -> None:
    from drivers.reading import PresenceChange

    change: Reading = PresenceChange("d", STAMP, True)
    assert in_force(tmp_path, debounce={"seconds": 0.2}).apply(change).record_id is None
