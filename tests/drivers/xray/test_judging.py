"""What a stored object is worth: place, time, vehicle, dose, and the words for what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.reading import ClockQuality, Radiograph, Stamp
from drivers.wire.dicom import parse
from drivers.xray.judging import Judge, Rules, acquired_utc_ns
from hil.devices.dicos_object import Scan, part10

AT = datetime(2026, 1, 20, 8, 1, 30, 250_000, tzinfo=UTC)
AT_NS = round(AT.timestamp() * 1e6) * 1000
ARRIVED = Stamp(AT_NS + 5_000_000_000, AT_NS + 5_000_000_000, 7, ClockQuality(True, 1000))


def read(path: Path, judge: Judge | None = None, **rules: Any) -> Radiograph:
    found = (judge or Judge("scanner", Rules(**rules))).read(path, ARRIVED)
    assert found is not None
    return found


def written(folder: Path, scan: Scan, name: str = "a.dcs") -> Path:
    (folder / name).write_bytes(part10(scan))
    return folder / name


def test_a_good_object_is_ok_with_its_place_time_and_passage(cases: Path) -> None:
    found = read(cases / "29-dicom-no-meta" / "good.dcm")
    assert (found.status, found.transmission.shape) == ("ok", (64, 128))
    assert (found.row_spacing_m, found.column_spacing_m) == (0.004, 0.004)
    assert found.acquired_utc_ns == found.stamp.time_utc_ns == AT_NS
    assert (found.passage_hint, found.plate_text) == ("01KFD0000000000000000000AA", None)
    assert found.dose_usv is None


def test_what_cannot_be_read_is_a_faulty_reading_with_an_empty_picture(cases: Path) -> None:
    for name in ("29-dicom-no-meta/not-dicom", "29-dicom-no-meta/bare-implicit", "32-dicom-cut-short/no-pixels"):
        found = read(cases / f"{name}.dcm")
        assert found.status.startswith("faulty: ")
        assert found.transmission.size == 0
        assert found.path.exists()


def test_half_a_picture_is_faulty_with_the_number_of_missing_rows(cases: Path) -> None:
    found = read(cases / "32-dicom-cut-short" / "half.dcm")
    assert found.status.startswith("faulty: 32 of 64 rows are missing")
    assert not (found.transmission == 0).any()


def test_without_spacing_the_picture_stays_and_its_place_is_unknown(cases: Path) -> None:
    found = read(cases / "34-dicom-missing-geometry" / "no-spacing.dcm")
    assert found.row_spacing_m is found.column_spacing_m is None
    assert found.transmission.size
    assert "place in the vehicle is unknown" in found.status


def test_zero_spacing_is_an_error_that_names_the_field(cases: Path) -> None:
    found = read(cases / "34-dicom-missing-geometry" / "zero-spacing.dcm")
    assert found.status.startswith(r"faulty: PixelSpacing (0028,0030) is 0\0 mm")


@pytest.mark.parametrize("name", ["no-time", "local-time", "future"])
def test_without_a_sure_time_there_is_none_to_join_by(cases: Path, name: str) -> None:
    found = read(cases / "34-dicom-missing-geometry" / f"{name}.dcm")
    assert found.acquired_utc_ns is None
    assert found.stamp.time_utc_ns == ARRIVED.arrival_utc_ns
    assert found.status != "ok"
    assert not found.status.startswith("faulty")
    assert found.passage_hint == "01KFD0000000000000000000AA"
    assert found.transmission.size


def test_a_local_time_counts_where_the_site_says_its_zone(cases: Path) -> None:
    raw = (cases / "34-dicom-missing-geometry" / "local-time.dcm").read_bytes()
    assert acquired_utc_ns(parse(raw), "Europe/Paris") == (AT_NS - 3_600_000_000_000, [])
    assert acquired_utc_ns(parse(raw), None)[0] is None


@pytest.mark.parametrize(
    ("date", "time", "zone", "sure"),
    [
        ("20261025", "013000", "Europe/London", False),  # twice
        ("20260329", "013000", "Europe/London", False),  # never
        ("20260329", "023000", "Europe/London", True),
        ("20260230", "023000", "Europe/London", False),
        ("20260329", "2", "Europe/London", False),
        ("20260329", "256000", "Europe/London", False),
        ("00000000", "000000", "Europe/London", False),
    ],
)
def test_times_that_exist_twice_or_never_are_not_sure(date: str, time: str, zone: str, sure: bool) -> None:
    found, notes = acquired_utc_ns(parse(part10(Scan(date=date, time=time, zone=None))), zone)
    assert (found is not None) is sure
    assert bool(notes) is not sure


@pytest.mark.parametrize(("offset", "sure"), [("+0100", True), ("-1200", True), ("+1500", False), ("CET", False)])
def test_an_offset_is_used_or_named(offset: str, sure: bool) -> None:
    found, notes = acquired_utc_ns(parse(part10(Scan(zone=offset))), "Europe/London")
    assert (found is not None) is sure
    assert sure or "TimezoneOffsetFromUTC (0008,0201)" in notes[0]


def test_the_surest_time_wins_and_a_dicos_study_is_the_last_resort() -> None:
    scan = Scan(extra={"0008002A:DT": "20260120080000.5+0100"})
    assert acquired_utc_ns(parse(part10(scan)), None)[0] == AT_NS - 3_600_000_000_000 - 89_750_000_000
    scan = Scan(date="", time="", extra={"00080020:DA": "20260120", "00080030:TM": "0801"})
    assert acquired_utc_ns(parse(part10(scan)), None)[0] == AT_NS - 30_250_000_000


@pytest.mark.parametrize(
    ("scan", "word"),
    [
        (Scan(scan_type="CALIBRATION"), "ScanType (4010,1048)"),
        (Scan(status="ABORTED"), "AcquisitionStatus (4010,1044)"),
        (Scan(air=1.5, cargo=1.5), "saturated"),
        (Scan(air=0.0), "all pixels are equal"),
        (Scan(missing_lines=3), "3 of 64 rows are missing"),
        (Scan(bits_stored=12, high_bit=15), "HighBit (0028,0102)"),
    ],
)
def test_unfit_pictures_are_faulty_by_field_name(tmp_path: Path, scan: Scan, word: str) -> None:
    found = read(written(tmp_path, scan))
    assert found.status.startswith("faulty: ")
    assert word in found.status


def test_the_same_picture_under_another_name_is_a_frozen_detector(tmp_path: Path) -> None:
    judge = Judge("scanner", Rules())
    assert read(written(tmp_path, Scan(), "a"), judge).status == "ok"
    assert read(written(tmp_path, Scan(), "again"), judge).status == "ok"
    assert "frozen detector" in read(written(tmp_path, Scan(sop_uid="1.2.3"), "b"), judge).status
    assert read(written(tmp_path, Scan(sop_uid="1.2.4", seed=2), "c"), judge).status == "ok"


def test_a_dose_is_given_or_the_sites_or_unknown_and_never_zero(tmp_path: Path) -> None:
    given, zero = Scan(extra={"00408302:DS": "0.0011"}), Scan(extra={"00408302:DS": "0"})
    assert read(written(tmp_path, given)).dose_usv == pytest.approx(1.1)
    assert read(written(tmp_path, zero)).dose_usv is None
    assert read(written(tmp_path, Scan()), dose_usv_per_scan=0.1, dose_source="survey of 2026-01").dose_usv == 0.1
    with pytest.raises(ValidationError, match="dose_source"):
        Rules(dose_usv_per_scan=0.1)
    with pytest.raises(ValidationError):
        Rules(dose_usv_per_scan=0, dose_source="x")


def test_a_plate_is_kept_as_it_was_sent_and_unknown_is_none(tmp_path: Path) -> None:
    assert read(written(tmp_path, Scan(vehicle="ab12-cde"))).plate_text == "ab12-cde"
    assert read(written(tmp_path, Scan(vehicle="unknown"))).plate_text is None
    found = read(written(tmp_path, Scan(vehicle="?????", extra={"00080005:CS": "ISO_IR 144"})))
    assert found.plate_text is None
    raw = part10(Scan(vehicle="AA12", extra={"00080005:CS": "ISO_IR 144"})).replace(b"AA12", "АВ12".encode("iso8859-5"))
    (tmp_path / "cyrillic").write_bytes(raw)
    assert read(tmp_path / "cyrillic").plate_text == "АВ12"


def test_a_picture_larger_than_the_site_allows_is_not_read(tmp_path: Path) -> None:
    found = read(written(tmp_path, Scan(rows=512, columns=512)), max_object_bytes=64 * 1024)
    assert found.status.startswith("faulty: object of ")


def test_a_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="IANA"):
        Rules(time_zone="Europe/Kalais")


def test_damaged_columns_do_not_change_the_others(tmp_path: Path) -> None:
    plain = read(written(tmp_path, Scan())).transmission
    stuck = read(written(tmp_path, Scan(saturated_column=9), "b")).transmission
    np.testing.assert_array_equal(np.delete(plain, 9, axis=1), np.delete(stuck, 9, axis=1))


def test_a_threat_detection_report_is_no_radiograph(tmp_path: Path) -> None:
    report = written(tmp_path, Scan(sop_class="1.2.840.10008.5.1.4.1.1.501.3"))
    assert Judge("scanner", Rules()).read(report, ARRIVED) is None
