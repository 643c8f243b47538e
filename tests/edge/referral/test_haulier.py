"""A haulier sees its own vehicles' checks, and nothing from which it could learn of others or of our rule."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from edge.journal.read import reading
from edge.records.outcome import CHECKS
from edge.referral.haulier import as_html, read_plates, report
from edge.referral.words import WordsRefused

from .conftest import LaneFolder
from .lanes import outcome

MINE, OTHER = "F:AB-123-CD", "PL:XX 90210"


@pytest.fixture
def three(lane: LaneFolder) -> LaneFolder:
    """Two vehicles of one haulier, one searched; and another's, searched, with somebody found."""
    first, second, third = lane.passages
    secured: dict[str, str] = {check: "ok" for check in CHECKS if check != "roof"} | {"locks": "broken"}
    outcome(lane.root, first, found=False, people=None, where=None, secured=secured, seals=[])
    outcome(lane.root, third)
    for passage, tractor, trailer in (
        (first, MINE, OTHER),
        (second, "F:AB-999-CD", "none"),
        (third, "F:AB-I23-CD", OTHER),
    ):
        assert lane.run("plates", "set", passage, "--tractor", tractor, "--trailer", trailer) == 0
    return lane


def of(lane: LaneFolder, *plates: str) -> tuple[int, list[dict[str, object]]]:
    with reading(lane.places.journal) as reader:
        found = report(reader, "calais", "3", list(plates))
    return found.alike, [
        {"plate": f.plate, "secured": f.secured, "not_in_order": f.not_in_order} for f in found.findings
    ]


def test_it_has_the_findings_of_its_searched_vehicles_and_no_look_alike(three: LaneFolder) -> None:
    alike, findings = of(three, "AB 123 CD", "AB999CD")
    assert findings == [{"plate": "AB 123 CD", "secured": "no", "not_in_order": ("locks",)}]
    assert alike == 1


def test_whoever_owns_the_trailer_sees_its_own_plate_alone(three: LaneFolder) -> None:
    _, findings = of(three, "XX90210")
    assert [finding["plate"] for finding in findings] == ["XX90210", "XX90210"]
    with reading(three.places.journal) as reader:
        page = as_html(report(reader, "calais", "3", ["XX90210"]))
    assert "AB" not in page.replace("XX90210", "")


def test_nothing_of_advice_finds_or_draws_leaves_the_house(three: LaneFolder, tmp_path: Path) -> None:
    (tmp_path / "plates.txt").write_text("# ours\nAB-123-CD\n\nXX 90210\n")
    out = tmp_path / "findings.csv"
    command = ["report", "haulier", str(tmp_path / "plates.txt"), "--purpose", "request of 3 March"]
    assert three.run(*command, "--csv", str(out), "--html", str(tmp_path / "findings.html")) == 0
    said = out.read_text() + (tmp_path / "findings.html").read_text()
    for word in ("pallets", "people", "found", "search,", "score", "audit", *three.passages):
        assert word not in said, word
    rows = list(csv.DictReader(out.open()))
    assert [row["seals_not_intact"] for row in rows] == ["0", "1"] and "roof" in rows[0]["not_checked"]


def test_that_it_was_made_is_recorded_with_the_passages_it_looked_at(
    three: LaneFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plates.txt").write_text("AB-123-CD\n")
    command = ["report", "haulier", str(tmp_path / "plates.txt"), "--purpose", "request of 3 March", "--json"]
    capfd.readouterr()
    assert three.run(*command) == 0
    assert len(json.loads(capfd.readouterr().out)["findings"]) == 1
    with reading(three.places.journal) as reader:
        access = reader.of_kind("access")[-1].document()
    assert (access["what"], access["count"], access["passages"]) == ("report haulier", 1, [three.passages[0]])


@pytest.mark.parametrize("content", [b"", b"# only this\n", b"AB1,AB2\n", b"--\n", "AB1".encode("utf-16"), b"x" * 70])
def test_a_file_that_is_no_list_of_plates_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plates.txt").write_bytes(content)
    with pytest.raises(WordsRefused, match=r"plates\.txt"):
        read_plates(tmp_path / "plates.txt")
