"""The awkward radiographs of the field, from the file to the passage that they join and what that says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.reading import ClockQuality, Radiograph, Stamp
from drivers.xray.judging import Judge, Rules
from edge.radiograph_join import Candidate, Joined, Kept, Terms, place
from fusion.evidence.xray import xray_evidence
from fusion.passage import BodyType, Passage
from fusion.verdict import State

PASSAGE_ID = "01KFD0000000000000000000AA"
AT_NS = round(datetime(2026, 1, 20, 8, 1, 35, tzinfo=UTC).timestamp()) * 10**9
ARRIVED = Stamp(AT_NS, AT_NS, 7, ClockQuality(True, 1000))
HERE = Candidate(PASSAGE_ID, AT_NS - 60 * 10**9, AT_NS - 5 * 10**9)
NEXT = Candidate("01KFD0000000000000000000BB", AT_NS - 4 * 10**9, None)


def read(cases: Path, name: str) -> Radiograph:
    found = Judge("scanner", Rules()).read(cases / f"{name}.dcm", ARRIVED)
    assert found is not None
    return found


def joined(radiograph: Radiograph, *, in_lane: bool = False) -> Joined | Kept:
    return place(radiograph, [HERE, NEXT], Terms(14_400.0, in_lane))


@pytest.mark.parametrize("in_lane", [False, True])
@pytest.mark.parametrize("name", ["no-time", "local-time", "no-spacing"])
def test_without_a_sure_time_or_place_it_joins_by_its_passages_id(cases: Path, name: str, in_lane: bool) -> None:
    answer = joined(read(cases, f"34-dicom-missing-geometry/{name}"), in_lane=in_lane)
    assert answer == Joined(PASSAGE_ID, "the passage's id")


@pytest.mark.parametrize("name", ["no-time", "local-time"])
def test_without_a_sure_time_and_without_an_id_nothing_is_guessed(cases: Path, name: str) -> None:
    nameless = replace(read(cases, f"34-dicom-missing-geometry/{name}"), passage_hint=None)
    answer = joined(nameless, in_lane=True)
    assert isinstance(answer, Kept)
    assert "its time is not sure" in answer.cause


def test_a_scan_of_the_year_2031_is_kept_and_not_joined_whatever_it_says(cases: Path) -> None:
    answer = joined(read(cases, "34-dicom-missing-geometry/future"))
    assert isinstance(answer, Kept)
    assert "check the scanner's clock" in answer.cause


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("29-dicom-no-meta/not-dicom", "DICOM"),
        ("29-dicom-no-meta/bare-implicit", "no DICOM header"),
        ("29-dicom-no-meta/no-transfer-syntax", "TransferSyntaxUID"),
        ("32-dicom-cut-short/half", "32 of 64 rows are missing"),
        ("32-dicom-cut-short/no-pixels", "PixelData"),
        ("32-dicom-cut-short/rle-cut", "rows are missing"),
        ("34-dicom-missing-geometry/zero-spacing", "PixelSpacing (0028,0030)"),
    ],
)
def test_what_is_cut_or_none_makes_the_passage_say_faulty_and_why(cases: Path, name: str, words: str) -> None:
    radiograph = read(cases, name)
    passage = Passage("p", "s", "l", HERE.began_utc_ns, None, BodyType.SOFT_SIDED, radiographs=(radiograph,))
    evidence = xray_evidence(passage)
    assert evidence.state is State.FAULTY
    assert words in (evidence.cause or "")
    assert not (radiograph.transmission == 0).any()  # what is missing is never dense cargo
