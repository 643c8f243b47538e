"""A bundle written as it happens: whole or ``.partial``, and read back to the letter."""

from __future__ import annotations

import errno
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymseed import DataEncoding, MS3Record

from drivers.reading import (
    ClockQuality,
    ContactChange,
    ContactState,
    GasSample,
    Point,
    Stamp,
    VibrationBlock,
    WeatherSample,
)
from fusion.bundle.fault import BundleFault, FileFault
from fusion.bundle.read import read
from fusion.bundle.series import join
from fusion.bundle.write import BundleWriter, recover

CLOCK = ClockQuality(True, 250_000)
PASSAGE_ID = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"
BEGAN = 1_772_360_102_250_000_000
DOCUMENT: dict[str, Any] = {
    "schema": "lanepulse.passage/1",
    "passage_id": PASSAGE_ID,
    "began_utc": "2026-03-01T10:15:02.250Z",
    "ended_utc": "2026-03-01T10:15:58Z",
    "clock": {"synchronised": True, "max_error_ns": 250000},
}


def _block(counts: list[float], second: float = 0.0, record: bytes | None = None, sensor: str = "B1") -> VibrationBlock:
    at = BEGAN + round(second * 1e9)
    stamp = Stamp(at, at, 0, CLOCK)
    return VibrationBlock("chassis", stamp, sensor, "EHZ", 500.0, np.array(counts), 0, record=record)


def _record(version: int, counts: list[int], location: str = "00") -> bytes:
    header = MS3Record()
    header.formatversion, header.reclen = version, 512
    header.sourceid = f"FDSN:GB_LANE_{location}_E_H_Z"
    header.starttime, header.samprate, header.encoding = BEGAN, 500.0, DataEncoding.STEIM2
    (record,) = header.generate(np.array(counts, dtype=np.int32), "i")
    return bytes(record)


@pytest.fixture
def writer(tmp_path: Path) -> BundleWriter:
    return BundleWriter.begin(tmp_path, PASSAGE_ID, DOCUMENT)


def test_the_bundle_reads_back_in_obspy(small: Path) -> None:
    stream = obspy.read(str(small / "vibration.mseed")).merge()
    assert sorted(trace.stats.location for trace in stream) == ["B1", "G1"]
    ours = {series.sensor: series for series in read(small).passage().vibration}
    for trace in stream:
        np.testing.assert_array_equal(trace.data, ours[trace.stats.location].counts)
    inventory = obspy.read_inventory(str(small / "vibration.xml"))
    assert inventory[0][0][0].response.instrument_sensitivity.value == 1e8


def test_nothing_but_partial_is_seen_before_it_is_whole(writer: BundleWriter, tmp_path: Path) -> None:
    writer.vibration(_block([1, 2, 3]))
    assert [path.name for path in tmp_path.iterdir()] == [PASSAGE_ID + ".partial"]
    assert (writer.folder / "vibration.mseed").stat().st_size == 512  # on its way to disk before it is judged
    completed = writer.complete(DOCUMENT)
    assert [path.name for path in tmp_path.iterdir()] == [PASSAGE_ID]
    assert sorted(path.name for path in completed.path.iterdir()) == ["passage.json", "vibration.mseed"]
    assert json.loads((completed.path / "passage.json").read_text())["digests"] == dict(completed.digests)
    assert read(completed.path).digest_faults() == ()


def test_a_version_2_record_is_kept_as_it_came_but_for_its_location(writer: BundleWriter) -> None:
    record = _record(2, [5, 6, 7])
    (piece,) = writer.vibration(_block([5, 6, 7], record=record))
    kept = (writer.folder / "vibration.mseed").read_bytes()
    assert kept[13:15] == b"B1" and kept[:13] == record[:13] and kept[18:] == record[18:]
    assert piece.sensor == "B1" and list(piece.counts) == [5, 6, 7] and piece.end_byte == 512


def test_a_version_3_record_becomes_version_2_with_the_same_samples(writer: BundleWriter) -> None:
    writer.vibration(_block([5, 6, 7], record=_record(3, [5, 6, 7])))
    trace = obspy.read(io.BytesIO((writer.folder / "vibration.mseed").read_bytes()))[0]
    assert list(trace.data) == [5, 6, 7] and trace.stats.location == "B1"
    assert trace.stats.starttime.ns == BEGAN


@pytest.mark.parametrize(
    "counts",
    [
        [0.0, 2.0**31 - 1, -(2.0**31) + 1, 5.0],
        [2.0**30, -(2.0**30)],
        [0.1, -2.5e-7, 3.0],
        [float(i % 7) for i in range(3000)],
        [3e9, 1.0],
        [1.0, float("nan"), 2.0],
    ],
)
def test_no_sample_is_lost_by_its_encoding(writer: BundleWriter, counts: list[float]) -> None:
    pieces = writer.vibration(_block(counts))
    (series,), _ = join(pieces, {})
    np.testing.assert_array_equal(series.counts, counts)
    path = writer.complete(DOCUMENT).path
    np.testing.assert_array_equal(read(path).passage().vibration[0].counts, counts)


def test_a_block_that_has_no_place_is_refused_and_nothing_is_written(writer: BundleWriter) -> None:
    for block in (_block([1.0], sensor="X1"), _block([1.0], record=b"short"), _block([1.0], record=b"x" * 512)):
        with pytest.raises(FileFault):
            writer.vibration(block)
    assert writer.used_bytes() == {}


def test_used_bytes_cut_a_replay_exactly_where_the_look_was(writer: BundleWriter) -> None:
    writer.vibration(_block([1, 2], 0.0))
    writer.gas(GasSample("probe", Stamp(BEGAN, BEGAN, 0, CLOCK), Point.AMBIENT, 420.0))
    used = writer.used_bytes()
    writer.vibration(_block([3, 4], 0.004))
    writer.gas(GasSample("probe", Stamp(BEGAN - 5, BEGAN, 0, CLOCK), Point.AMBIENT, 421.0))
    look = {"at_s": 5, "used_until_utc": {}, "used_bytes": used, "states": {"probe": "ok"}}
    contents = read(writer.complete({**DOCUMENT, "looks": [look]}).path)
    passage = contents.passage(0)
    assert list(passage.vibration[0].counts) == [1, 2]
    assert [sample.co2_ppm for sample in passage.gas] == [420.0]
    assert len(contents.passage().gas) == 2


def test_a_full_disk_leaves_the_file_as_it_was(writer: BundleWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.vibration(_block([1, 2, 3]))
    real = os.write

    def half(descriptor: int, content: memoryview) -> int:
        if len(content) <= 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content[: len(content) - 100])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        writer.vibration(_block([4, 5, 6], 0.006))
    monkeypatch.undo()
    assert (writer.folder / "vibration.mseed").stat().st_size == 512 == writer.used_bytes()["vibration.mseed"]
    writer.vibration(_block([4, 5, 6], 0.006))
    assert list(read(writer.complete(DOCUMENT).path).passage().vibration[0].counts) == [1, 2, 3, 4, 5, 6]


def test_after_a_power_cut_the_whole_is_taken_up_and_the_torn_set_aside(writer: BundleWriter, tmp_path: Path) -> None:
    writer.vibration(_block([1, 2, 3]))
    writer.gas(GasSample("probe", Stamp(BEGAN, BEGAN, 0, CLOCK), Point.AMBIENT, 420.0))
    partial = writer.folder
    writer.close()
    for name, tail in (("vibration.mseed", b"000002D LANE B1EHZ"), ("co2.csv", b"2026-03-01T10:15:")):
        with (partial / name).open("ab") as file:
            file.write(tail)
    found = recover(partial)
    assert found.document is not None and found.document.passage_id == PASSAGE_ID
    assert len(found.torn) == 2 and (partial / "co2.csv.torn").read_bytes() == b"2026-03-01T10:15:"
    found.writer.vibration(_block([4, 5, 6], 0.006))
    found.writer.gas(GasSample("probe", Stamp(BEGAN + 1, BEGAN, 0, CLOCK), Point.AMBIENT, 421.0))
    contents = read(found.writer.complete({**found.draft, "interrupted": True}).path)
    assert list(contents.passage().vibration[0].counts) == [1, 2, 3, 4, 5, 6]
    assert [sample.co2_ppm for sample in contents.passage().gas] == [420.0, 421.0]
    assert contents.digest_faults() == ()


def test_a_cut_between_sealing_and_renaming_is_completed(writer: BundleWriter, tmp_path: Path) -> None:
    writer.vibration(_block([1, 2, 3]))
    sealed = writer.complete(DOCUMENT)
    partial = sealed.path.rename(tmp_path / (PASSAGE_ID + ".partial"))
    found = recover(partial)
    again = found.writer.complete({key: value for key, value in found.draft.items() if key != "digests"})
    assert again.passage_digest == sealed.passage_digest


def test_a_folder_that_tells_nothing_is_left_alone(tmp_path: Path) -> None:
    partial = tmp_path / "x.partial"
    partial.mkdir()
    (partial / "passage.json.tmp").write_bytes(b'{"schema": ')
    (partial / "co2.csv").write_bytes(b"half")
    with pytest.raises(BundleFault, match="neither"):
        recover(partial)
    assert (partial / "co2.csv").read_bytes() == b"half"


def test_a_passage_is_written_once_and_its_name_is_checked(writer: BundleWriter, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        BundleWriter.begin(tmp_path, PASSAGE_ID, DOCUMENT)
    with pytest.raises(BundleFault):
        BundleWriter.begin(tmp_path, "../x", DOCUMENT)
    with pytest.raises(BundleFault):
        writer.complete({**DOCUMENT, "began_utc": "never"})
    assert writer.folder.name.endswith(".partial")
    writer.complete(DOCUMENT)
    with pytest.raises(FileExistsError):
        BundleWriter.begin(tmp_path, PASSAGE_ID, DOCUMENT)


def test_contacts_verdicts_images_and_calibrations_have_their_files(writer: BundleWriter) -> None:
    change = ContactChange("lamp", Stamp(BEGAN, BEGAN, 0, CLOCK), ContactState.RED)
    writer.contact(change)
    writer.verdict('{"revision":1}')
    assert writer.radiograph(b"DICM") == "xray.dcs"
    writer.calibration("cal-1", b'{"kind":"geophone"}\n')
    with pytest.raises(BundleFault):
        writer.calibration("../cal", b"{}")
    contents = read(writer.complete(DOCUMENT).path)
    assert contents.passage().contacts == (change,)
    assert contents.calibrations == {"cal-1": {"kind": "geophone"}}
    assert sorted(contents.document.digests) == ["calibrations/cal-1.json", "contacts.csv", "xray.dcs"]
    assert contents.notes == ()


text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=12)
number = st.none() | st.floats(-1e6, 1e6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-60 * 10**9, 60 * 10**9),
            text,
            st.sampled_from(Point),
            st.floats(0, 1e6),
            text.filter(lambda word: word != "ok") | st.just("ok"),
            number,
            number,
        ),
        max_size=6,
    ),
    counts=st.lists(
        st.lists(st.integers(-(2**31), 2**31 - 1) | st.floats(-1e12, 1e12), min_size=1, max_size=50), max_size=4
    ),
)
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, rows: Any, counts: Any) -> None:
    writer = BundleWriter.begin(tmp_path_factory.mktemp("bundles"), PASSAGE_ID, DOCUMENT)
    samples = []
    for offset_ns, device, point, co2_ppm, status, temperature_c, humidity_pct in rows:
        stamp = Stamp(BEGAN + offset_ns, BEGAN + offset_ns, 0, CLOCK)
        good = co2_ppm if status == "ok" else None
        samples.append(GasSample(device, stamp, point, good, status, temperature_c, humidity_pct, None))
        writer.gas(samples[-1])
    live = [piece for i, c in enumerate(counts) for piece in writer.vibration(_block([float(x) for x in c], i))]
    passage = read(writer.complete(DOCUMENT).path).passage()
    assert list(passage.gas) == samples
    series, _ = join([replace(piece, end_byte=0) for piece in live], {})
    assert len(passage.vibration) == len(series)
    for ours, theirs in zip(series, passage.vibration, strict=True):
        np.testing.assert_array_equal(ours.counts, theirs.counts)


@pytest.mark.parametrize(
    "sample",
    [
        GasSample("probe", Stamp(BEGAN, BEGAN, 0, CLOCK), Point.INSIDE, 420.0, temperature_c=float("nan")),
        GasSample("probe", Stamp(BEGAN, BEGAN, 0, CLOCK), Point.INSIDE, 420.0, temperature_c=1e300),
        GasSample("probe", Stamp(1 << 70, BEGAN, 0, CLOCK), Point.INSIDE, 420.0),
        GasSample("p" * 5000, Stamp(BEGAN, BEGAN, 0, CLOCK), Point.INSIDE, 420.0),
    ],
)
def test_a_row_that_would_spoil_the_file_is_refused_and_nothing_is_written(
    writer: BundleWriter, sample: GasSample
) -> None:
    with pytest.raises(FileFault):
        writer.gas(sample)
    assert writer.used_bytes() == {} and not (writer.folder / "co2.csv").exists()


def test_what_comes_back_of_a_row_is_what_a_reader_finds(writer: BundleWriter) -> None:
    odd = GasSample("probe", Stamp(BEGAN, BEGAN + 9, 7, CLOCK), Point.INSIDE, None, "lamp,\nlow", 6.1)
    ice = WeatherSample("mast", Stamp(BEGAN, BEGAN, 0, CLOCK), 0.0, status="iced")
    kept = (writer.gas(odd), writer.weather(ice))
    contents = read(writer.complete({**DOCUMENT, "devices": [{"name": "mast", "modality": "weather"}]}).path)
    assert (*contents.gas, *contents.weather) == kept
    assert kept[0].reading.status == "lamp, low" and kept[1].reading.wind_m_s is None


def test_a_first_row_that_the_disk_refuses_leaves_no_file(
    writer: BundleWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, content: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        writer.vibration(_block([4, 5, 6]))
    monkeypatch.undo()
    assert not (writer.folder / "vibration.mseed").exists()
    writer.vibration(_block([4, 5, 6]))
    assert writer.used_bytes() == {"vibration.mseed": 512}
