"""Bundles read back: what is whole, and what is not, by name."""

from __future__ import annotations

import json
import math
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.response import Response
from fusion.bundle.container import Limits
from fusion.bundle.document import read_document
from fusion.bundle.fault import BundleFault, BundleRefused
from fusion.bundle.read import BundleContents, read
from fusion.passage import BodyType, Passage


def _same(one: Passage, other: Passage) -> bool:
    series = zip(one.vibration, other.vibration, strict=True)
    return one.gas == other.gas and all(np.array_equal(a.counts, b.counts, equal_nan=True) for a, b in series)


def _zip(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def _members(folder: Path) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [(file.name, file.read_bytes()) for file in sorted(folder.iterdir())]


def test_the_control_opens_as_folder_and_as_zip_with_the_same_samples(
    adapted: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = adapted("00-control/bundle")
    from_folder = read(folder)
    from_zip = read(_zip(tmp_path / "b.zip", _members(folder)))
    passage = from_folder.passage()
    assert _same(passage, from_zip.passage()) and _same(passage, from_folder.passage())
    series, ground = passage.vibration
    assert ground.sensor == "G1" and "does not name" in str(ground.fault)
    assert (series.sensor, series.channel, series.rate_hz, series.fault) == ("B1", "DPZ", 500.0, None)
    assert isinstance(series.response, Response) and len(series.counts) == 30_000
    assert len(passage.gas) == 25 and passage.body_type is BodyType.SOFT_SIDED


def test_the_invented_field_names_are_refused_by_the_name_of_the_schema(cases: Path) -> None:
    with pytest.raises(BundleRefused, match="schema is '1'"):
        read(cases / "00-control" / "bundle.zip")


def _adapted_zip(source: Path, target: Path) -> Path:
    """The case's archive again, each ``passage.json`` in the product's own words."""
    with zipfile.ZipFile(source) as archive:
        members: list[tuple[str | zipfile.ZipInfo, bytes]] = []
        for info in archive.infolist():
            content = archive.read(info)
            if info.filename.endswith("passage.json"):
                content = _short_document()
            members.append((info, content.replace(b"rear-door", b"inside").replace(b",0\n", b",ok\n")))
    return _zip(target, members)


def _short_document() -> bytes:
    return json.dumps(
        {"schema": "lanepulse.passage/1", "passage_id": "01KFD", "began_utc": "2026-01-20T08:00:00Z"}
    ).encode()


@pytest.mark.parametrize(("name", "word"), [("twice", "2 times"), ("case", "alike"), ("folder-entry", "is a folder")])
def test_an_archive_with_two_answers_is_refused(cases: Path, name: str, word: str) -> None:
    with pytest.raises(BundleRefused, match=word):
        read(cases / "68-zip-names-alike" / f"{name}.zip")


def test_an_empty_archive_has_no_passage_json(cases: Path) -> None:
    with pytest.raises(BundleRefused, match=r"no passage\.json"):
        read(cases / "68-zip-names-alike" / "empty.zip")


@pytest.mark.parametrize(("name", "note"), [("one-folder", "one folder 'passage-0017'"), ("litter", "desktop system")])
def test_one_folder_and_litter_are_as_if_not_there_and_said(cases: Path, tmp_path: Path, name: str, note: str) -> None:
    contents = read(_adapted_zip(cases / "68-zip-names-alike" / f"{name}.zip", tmp_path / "a.zip"))
    assert any(note in line for line in contents.notes)
    assert len(contents.passage().gas) == 25 and contents.passage().vibration[0].fault is None


@pytest.mark.parametrize(
    "name", ["../passage.json", "/etc/x", "a\\b", "c:x", "a/./b", "a//b", "x\x07", "deep/calibrations/x", "sub/x"]
)
def test_a_name_that_escapes_or_nests_is_refused(tmp_path: Path, small: Path, name: str) -> None:
    with pytest.raises(BundleRefused):
        read(_zip(tmp_path / "b.zip", [*_members(small), (name, b"x")]))


@pytest.mark.parametrize("name", ["cO2.csv", "ｃo2.csv", "co2.csv/", "calibrations"])
def test_names_that_some_system_takes_for_the_same_are_refused(tmp_path: Path, small: Path, name: str) -> None:
    extra: list[tuple[str | zipfile.ZipInfo, bytes]] = [(name, b""), ("calibrations/x.json", b"{}")]
    with pytest.raises(BundleRefused):
        read(_zip(tmp_path / "b.zip", [*_members(small), *extra, ("calibrations/", b"")]))


def test_links_are_refused_in_folder_and_in_zip(tmp_path: Path, small: Path) -> None:
    link = zipfile.ZipInfo("weather2.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(BundleRefused, match="link"):
        read(_zip(tmp_path / "b.zip", [*_members(small), (link, b"/etc/passwd")]))
    (small / "extra.csv").symlink_to("/etc/passwd")
    with pytest.raises(BundleRefused, match="link"):
        read(small)


def test_sizes_are_limited_before_anything_is_decoded(tmp_path: Path, small: Path) -> None:
    zipped = _zip(tmp_path / "b.zip", [*_members(small), ("big.bin", bytes(2_000_000))])
    assert "big.bin" in read(zipped).files.entries
    for limits, word in (
        (Limits(file_bytes=1_000_000), "big.bin"),
        (Limits(unpacked_bytes=1_500_000), "unpacked"),
        (Limits(files=3), "files"),
    ):
        with pytest.raises(BundleRefused, match=word):
            read(zipped, limits)


def test_a_zip_member_that_is_larger_than_it_says_makes_only_its_modality_faulty(tmp_path: Path, small: Path) -> None:
    zipped = _zip(tmp_path / "b.zip", _members(small))
    raw = zipped.read_bytes()
    size = len((small / "co2.csv").read_bytes()).to_bytes(4, "little")
    at = raw.index(b"PK\x01\x02")
    assert raw.count(size, at) == 1
    zipped.write_bytes(raw[:at] + raw[at:].replace(size, (100).to_bytes(4, "little")))
    passage = read(zipped).passage()
    assert passage.states["probe"].startswith("faulty: co2.csv") and passage.gas == ()
    assert passage.vibration[0].fault is None


def test_what_is_no_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 nothing")
    for path in (tmp_path / "x.zip", tmp_path / "absent"):
        with pytest.raises(BundleRefused) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_half_written_bundles_give_what_is_whole_and_name_what_is_not(adapted: Callable[[str], Path]) -> None:
    unended = read(adapted("70-bundle-half-written/no-end"))
    assert unended.passage().ended_utc_ns is None and any("interrupted" in note for note in unended.notes)
    with pytest.raises(BundleRefused, match="not whole JSON"):
        read(adapted("70-bundle-half-written/cut-json"))
    with pytest.raises(BundleRefused, match=r"no passage\.json \(passage\.json\.tmp is there"):
        read(adapted("70-bundle-half-written/temp-name"))


def test_a_file_of_no_bytes_is_absent_with_its_cause(small: Path) -> None:
    for name in ("mmwave.tiff", "vibration.mseed"):
        (small / name).write_bytes(b"")
    passage = read(small).passage()
    assert passage.states["mmwave.tiff"] == "absent: mmwave.tiff is empty (0 bytes)"
    assert passage.modality_of["mmwave.tiff"] == "mmwave"
    assert passage.states["chassis"] == "absent: vibration.mseed is empty (0 bytes)"
    assert len(passage.gas) == 20


@pytest.mark.parametrize("name", ["zero-total", "zero-stage", "gain-at-0hz", "no-response"])
def test_a_bad_response_makes_the_channel_faulty_and_the_passage_goes_on(
    cases: Path, adapted: Callable[[str], Path], name: str
) -> None:
    folder = adapted("00-control/bundle")
    (folder / "vibration.xml").write_bytes((cases / "23-stationxml-zero-sensitivity" / f"{name}.xml").read_bytes())
    passage = read(folder).passage()
    series = passage.vibration[0]
    assert series.response is None and "channel B1.DPZ" in str(series.fault)
    assert len(passage.gas) == 25 and "P1" not in passage.states


def test_without_stationxml_counts_have_no_response(small: Path) -> None:
    (small / "vibration.xml").unlink()
    assert all(str(series.fault).startswith("no response") for series in read(small).passage().vibration)


def test_junk_in_one_file_leaves_the_others(small: Path) -> None:
    (small / "co2.csv").write_bytes(b"time_utc;probe;point;co2_ppm\n2026;P;inside;451,5\n")
    (small / "calibrations").mkdir()
    (small / "calibrations" / "x.json").write_bytes(b"{")
    (small / "outcome.json").write_bytes(b'{"found": NaN}')
    (small / "stranger.bin").write_bytes(b"?")
    contents = read(small)
    assert contents.passage().states["probe"].startswith("faulty: co2.csv: line 2, column co2_ppm")
    assert contents.outcome is None and contents.calibrations == {}
    assert {note.split(":")[0] for note in contents.notes} >= {"calibrations/x.json", "outcome.json", "stranger.bin"}
    assert len(contents.passage().vibration) == 2


def test_a_probe_whose_clock_is_wrong_is_faulty_and_not_joined(small: Path) -> None:
    text = (small / "co2.csv").read_text().replace("2026-03-01", "1970-01-01", 1)
    (small / "co2.csv").write_text(text)
    passage = read(small).passage()
    assert passage.states["probe"].startswith("faulty: clock: 1 readings")
    assert len(passage.gas) == 19


def test_unknown_keys_are_kept_and_a_higher_major_version_is_refused_by_name(small: Path) -> None:
    document = json.loads((small / "passage.json").read_text())
    assert read(small).document.model_extra == {"of_tomorrow": {"kept": [1, 2, 3]}}
    for schema, word in (("lanepulse.passage/2", "major version 2"), ("other/1", "other/1")):
        (small / "passage.json").write_text(json.dumps({**document, "schema": schema}))
        with pytest.raises(BundleRefused, match=word):
            read(small)
    (small / "passage.json").write_text(json.dumps({**document, "schema": "lanepulse.passage/1.7"}))
    assert read(small).document.lane == "3"


GOOD = '{"schema":"lanepulse.passage/1","passage_id":"X","began_utc":"2026-03-01T10:15:02Z"'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        GOOD,
        GOOD + ',"lane":"1","lane":"2"}',
        GOOD + ',"x":NaN}',
        GOOD + ',"x":1e999}',
        GOOD + ',"x":"\\ud800"}',
        GOOD + ',"ended_utc":"2025-03-01T10:15:02Z"}',
        GOOD + ',"ended_utc":"yesterday"}',
        GOOD + ',"vehicle":{"gross_mass_kg":"24000"}}',
        GOOD + ',"devices":[{"name":"a","modality":"co2"},{"name":"a","modality":"co2"}]}',
        GOOD + "}" * 3,
        "[" * 100_000,
        GOOD + ',"x":' + "[" * 70 + "]" * 70 + "}",
        GOOD.replace("X", "../X") + "}",
    ],
)
def test_a_document_with_two_answers_or_none_is_refused(text: str) -> None:
    with pytest.raises(BundleFault) as caught:
        read_document(text.encode())
    assert "\n" not in str(caught.value)


def test_words_that_are_not_known_count_as_unknown_and_are_noted(small: Path) -> None:
    document = json.loads((small / "passage.json").read_text())
    document["vehicle"]["body_type"] = "amphibious"
    document["context"]["engine"] = "humming"
    (small / "passage.json").write_text(json.dumps(document))
    contents = read(small)
    passage = contents.passage()
    assert (passage.body_type, passage.context.engine) == (BodyType.UNKNOWN, "unknown")
    assert sum("is not known" in note for note in contents.notes) == 2


def _with_looks(small: Path, looks: list[dict[str, object]]) -> BundleContents:
    document = json.loads((small / "passage.json").read_text())
    (small / "passage.json").write_text(json.dumps({**document, "looks": looks}))
    return read(small)


def test_a_look_uses_what_each_device_had_given_by_then(small: Path) -> None:
    until = {"chassis": "2026-03-01T10:15:03.250Z", "probe": "2026-03-01T10:15:03.050Z"}
    contents = _with_looks(small, [{"at_s": 5.0, "used_until_utc": until, "states": {"imager": "faulty: no frame"}}])
    passage = contents.passage(0)
    assert [len(series.counts) for series in passage.vibration] == [501, 501]
    assert len(passage.gas) == 5 and passage.weather == ()
    assert passage.states == {"imager": "faulty: no frame"} and passage.ended_utc_ns is None
    assert [len(series.counts) for series in contents.passage().vibration] == [2000, 2000]
    with pytest.raises(LookupError, match="no look 1"):
        contents.passage(1)


def test_a_look_with_lengths_uses_exactly_the_bytes_that_had_arrived(small: Path) -> None:
    rows = (small / "co2.csv").read_bytes()
    third = len(b"".join(rows.splitlines(keepends=True)[:4]))
    look = {"at_s": 5.0, "used_until_utc": {}, "used_bytes": {"co2.csv": third, "vibration.mseed": 5 * 512}}
    passage = _with_looks(small, [look]).passage(0)
    assert [sample.co2_ppm for sample in passage.gas] == [451.5, 452.5, 453.5]
    assert sum(len(series.counts) for series in passage.vibration) == 500


def test_digests_name_the_file_that_was_changed(small: Path) -> None:
    assert read(small).digest_faults() == ()
    (small / "weather.csv").write_bytes(b"")
    (small / "vibration.xml").unlink()
    found = read(small).digest_faults()
    assert [line.split(":")[0] for line in found] == ["vibration.xml", "weather.csv"]


def test_no_number_of_a_passage_is_infinite(small: Path) -> None:
    passage = read(small).passage()
    assert all(math.isfinite(sample.co2_ppm or 0.0) for sample in passage.gas)


@given(st.binary(max_size=400))
def test_any_bytes_as_passage_json_give_a_document_or_one_refusal(junk: bytes) -> None:
    try:
        read_document(junk)
    except BundleFault as fault:
        assert "\n" not in str(fault)


def test_a_look_and_the_end_treat_a_wrong_clock_alike(small: Path) -> None:
    text = (small / "co2.csv").read_text().replace("2026-03-01", "1970-01-01", 1)
    (small / "co2.csv").write_text(text)
    look = {"at_s": 5.0, "used_bytes": {"co2.csv": len(text)}, "states": {"probe": "ok"}}
    contents = _with_looks(small, [look])
    assert contents.passage(0).states["probe"] == contents.passage().states["probe"]
    assert "clock: 1 readings" in contents.passage(0).states["probe"]
