from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from drivers.reading import ClockQuality, Radiograph, RadiometricFrame, Stamp
from fusion.bundle import mmwave_tiff, xray_dcs
from fusion.bundle.read import read
from fusion.bundle.times import format_utc, parse_utc
from fusion.bundle.write import BundleWriter, recover
from hil.devices.dicos_object import Scan, part10

PASSAGE_ID = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"
BEGAN = parse_utc("2026-01-20T08:01:00Z")
CLOCK = ClockQuality(True, 250_000)
DOCUMENT: dict[str, Any] = {
    "schema": "lanepulse.passage/1",
    "passage_id": PASSAGE_ID,
    "site": "calais",
    "lane": "3",
    "began_utc": "2026-01-20T08:01:00Z",
    "ended_utc": "2026-01-20T08:02:00Z",
    "vehicle": {"body_type": "soft_sided"},
    "devices": [{"name": "imager", "modality": "mmwave"}, {"name": "scanner", "modality": "xray"}],
}


def picture(seed: int = 0, rows: int = 24, columns: int = 32) -> NDArray[np.float32]:
    frame = np.random.default_rng(seed).normal(280.0, 3.0, (rows, columns)).astype(np.float32)
    frame[3, 4] = np.nan
    return frame


def frame(second: float, status: str = "ok", device: str = "imager") -> RadiometricFrame:
    at = BEGAN + round(second * 1e9)
    return RadiometricFrame(device, Stamp(at, at, 7, CLOCK), picture(round(second * 10)), 41, "right", status)


@pytest.fixture
def writer(tmp_path: Path) -> BundleWriter:
    return BundleWriter.begin(tmp_path, PASSAGE_ID, DOCUMENT)


def foreign(tmp_path: Path, files: dict[str, bytes], **more: Any) -> Path:
    """A bundle as somebody else would make it: no digests, no looks."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "passage.json").write_text(json.dumps({**DOCUMENT, **more}))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def tiff_of(tmp_path: Path, images: NDArray[Any], **options: Any) -> bytes:
    tifffile.imwrite(tmp_path / "made.tiff", images, photometric="minisblack", **options)
    return (tmp_path / "made.tiff").read_bytes()


def test_frames_come_back_bit_for_bit_as_the_lane_judged_them(writer: BundleWriter) -> None:
    written = [writer.frame(frame(second, status)) for second, status in ((0.5, "ok"), (1.0, "dead channel: rows 4"))]
    contents = read(writer.complete(DOCUMENT).path)
    assert contents.notes == ()
    for kept, found in zip(written, contents.frames, strict=True):
        assert kept.end_byte == found.end_byte
        assert kept.reading.frame_k.tobytes() == found.reading.frame_k.tobytes()
        assert replace(kept.reading, frame_k=found.reading.frame_k, stamp=found.reading.stamp) == found.reading
        assert kept.reading.stamp.time_utc_ns == found.reading.stamp.time_utc_ns
    difference = np.abs(written[0].reading.frame_k - picture(5))
    assert np.nanmax(difference) <= 0.005 + 1e-4
    assert np.isnan(difference[3, 4])


def test_the_fields_own_reader_opens_every_page(writer: BundleWriter) -> None:
    for second in range(5):
        writer.frame(frame(second))
    path = writer.complete(DOCUMENT).path / "mmwave.tiff"
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 5
        for second, page in enumerate(tiff.pages):
            counts = page.asarray()
            assert counts.dtype == np.uint16
            assert counts[3, 4] == 0
            assert np.array_equal(counts, mmwave_tiff.counts_of(picture(second * 10)))


def test_a_look_uses_the_frames_that_had_come_by_then(writer: BundleWriter) -> None:
    writer.frame(frame(1.0))
    used = writer.used_bytes()
    writer.frame(frame(2.0))
    looks = [{"at_s": 5.0, "used_bytes": used, "states": {}}]
    contents = read(writer.complete({**DOCUMENT, "looks": looks}).path)
    assert len(contents.passage(0).frames) == 1
    assert len(contents.passage().frames) == 2


@pytest.mark.parametrize("cut", [1, 700, 1500])
def test_a_torn_page_is_set_aside_and_the_others_are_read(writer: BundleWriter, cut: int) -> None:
    writer.frame(frame(1.0))
    writer.frame(frame(2.0))
    path = writer.folder / "mmwave.tiff"
    writer.close()
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    taken = recover(writer.folder)
    assert any(note.startswith("mmwave.tiff:") for note in taken.torn)
    contents = read(taken.writer.complete(DOCUMENT).path)
    assert len(contents.frames) == 1
    with tifffile.TiffFile(taken.writer.folder / "mmwave.tiff") as tiff:
        assert len(tiff.pages) == 1


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_what_others_write_is_read_with_their_times_and_scale(tmp_path: Path, kind: type) -> None:
    kelvin = np.stack([picture(seed) for seed in range(3)])
    images = kelvin if kind is np.float32 else np.nan_to_num(kelvin * 50).round().astype(np.uint16)
    times = [format_utc(BEGAN + n * 100_000_000) for n in range(3)]
    told = {"frames_utc": times, "side": "right", "scale_k": 0.02, "ambient_k": 283.0, "sky_k": 120.0}
    passage = read(foreign(tmp_path, {"mmwave.tiff": tiff_of(tmp_path, images)}, mmwave=told)).passage()
    assert [f.stamp.time_utc_ns - BEGAN for f in passage.frames] == [0, 100_000_000, 200_000_000]
    assert (passage.ambient_k, passage.sky_k, passage.frames[0].side) == (283.0, 120.0, "right")
    for seed, found in enumerate(passage.frames):
        assert np.isnan(found.frame_k[3, 4])
        assert np.nanmax(np.abs(found.frame_k - picture(seed))) < 0.011
        assert found.status == "ok"


def test_frozen_frames_of_others_are_named_too(tmp_path: Path) -> None:
    images = np.stack([picture(1)] * 5)
    passage = read(foreign(tmp_path, {"mmwave.tiff": tiff_of(tmp_path, images)})).passage()
    assert "frozen" in passage.frames[-1].status


def bomb(tmp_path: Path) -> bytes:
    """Huge dimensions, tiny data."""
    content = bytearray(tiff_of(tmp_path, np.zeros((8, 8), np.uint16)))
    for tag in (256, 257):
        at = content.index(struct.pack("<HH", tag, 3)) if struct.pack("<HH", tag, 3) in content else -1
        at = content.index(struct.pack("<HH", tag, 4)) if at < 0 else at
        struct.pack_into("<HHII", content, at, tag, 4, 1, 1_000_000)
    return bytes(content)


@pytest.mark.parametrize("which", ["junk", "half", "bomb", "compressed", "colour", "float64"])
def test_a_file_that_cannot_be_used_makes_its_modality_faulty_and_no_other(tmp_path: Path, which: str) -> None:
    whole = tiff_of(tmp_path, np.stack([picture(n) for n in range(3)]))
    content = {
        "junk": b"II*\0 not a TIFF",
        "half": whole[: len(whole) // 2],
        "bomb": bomb(tmp_path),
        "compressed": tiff_of(tmp_path, picture().astype(np.float32), compression="zlib"),
        "colour": b"",
        "float64": tiff_of(tmp_path, picture().astype(np.float64)),
    }[which]
    if which == "colour":
        tifffile.imwrite(tmp_path / "c.tiff", np.zeros((8, 8, 3), np.uint16), photometric="rgb")
        content = (tmp_path / "c.tiff").read_bytes()
    contents = read(foreign(tmp_path, {"mmwave.tiff": content, "xray.dcs": part10(Scan())}))
    assert contents.passage().frames == ()
    assert contents.faults["imager"].startswith("faulty: mmwave.tiff: ")
    assert len(contents.passage().radiographs) == 1


def test_a_radiograph_of_others_is_read_with_the_dose_that_the_passage_names(tmp_path: Path) -> None:
    passage = read(foreign(tmp_path, {"xray.dcs": part10(Scan())}, xray={"dose_usv": 0.1})).passage()
    (found,) = passage.radiographs
    assert (found.device, found.dose_usv, found.status) == ("scanner", 0.1, "ok")
    assert found.transmission.shape == (64, 128)


def test_a_dose_of_zero_is_unknown(tmp_path: Path) -> None:
    passage = read(foreign(tmp_path, {"xray.dcs": part10(Scan())}, xray={"dose_usv": 0})).passage()
    assert passage.radiographs[0].dose_usv is None


def test_what_the_lane_knew_of_a_radiograph_holds_at_replay(writer: BundleWriter) -> None:
    content = part10(Scan(zone=None))
    name = writer.radiograph(content)
    at = BEGAN + 30_000_000_000
    known = Radiograph(
        "scanner", Stamp(at, at, 0, CLOCK), np.empty((0, 0), np.float32), 0.004, 0.004, at, None, None, 0.25, Path("x"),
        "1.2", "set time_zone",
    )  # fmt: skip
    record = xray_dcs.record(known, "the passage id")
    contents = read(writer.complete({**DOCUMENT, "xray": {"files": {name: record}}}).path)
    (found,) = contents.passage().radiographs
    assert (found.dose_usv, found.acquired_utc_ns, found.status) == (0.25, at, "set time_zone")
    assert found.stamp.arrival_utc_ns == at
    assert found.transmission.shape == (64, 128)


def test_a_second_scan_stands_beside_the_first(writer: BundleWriter) -> None:
    names = [writer.radiograph(part10(Scan(seed=seed))) for seed in (1, 2)]
    assert names == ["xray.dcs", "xray-2.dcs"]
    first, second = read(writer.complete(DOCUMENT).path).passage().radiographs
    assert not np.array_equal(first.transmission, second.transmission)


def test_an_object_that_is_no_picture_is_faulty_and_names_the_field(tmp_path: Path) -> None:
    contents = read(foreign(tmp_path, {"xray.dcs": part10(Scan(high_bit=15, bits_stored=12))}))
    (found,) = contents.passage().radiographs
    assert found.status.startswith("faulty: HighBit")


def test_a_late_file_has_its_look_and_its_digest_and_a_stray_one_has_neither(writer: BundleWriter) -> None:
    look = {"at_s": 5.0, "used_bytes": {}, "states": {}}
    writer.frame(frame(1.0))
    folder = writer.complete({**DOCUMENT, "looks": [look]}).path
    content = part10(Scan())
    (folder / "xray.dcs").write_bytes(content)
    assert "ignored" in read(folder).notes[0]
    assert read(folder).passage().radiographs == ()
    at = BEGAN + 3600 * 1_000_000_000
    known = Radiograph(
        "scanner", Stamp(at, at, 0, CLOCK), np.empty((0, 0), np.float32), None, None, None, None, None, None, Path("x"),
        "1.2",
    )  # fmt: skip
    line = {
        "file": "xray.dcs",
        "digest": "sha256:00",
        "xray": xray_dcs.record(known, "plate"),
        "look": {"at_s": 60.0, "used_bytes": {"xray.dcs": len(content)}, "states": {}, "occasion": "late"},
    }
    (folder / "late.json").write_text(json.dumps(line) + "\n")
    contents = read(folder)
    assert len(contents.looks) == 2
    assert contents.passage(0).radiographs == ()
    assert len(contents.passage(1).radiographs) == 1
    assert contents.digest_faults()[0].startswith("xray.dcs: sha256:")
