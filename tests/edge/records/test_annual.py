from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from edge.cli.main import run
from edge.records.annual import Report
from edge.records.intervals import share
from edge.records.pdf import pdf
from edge.records.sections import Section, rate_chart
from hil.record_lake import write

LANES = (("calais", "1"), ("dunkirk", "1"))
HEADINGS = ("In short", "The year, and the one before", "What is missed", "What moved", "What is not known")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two years of two lanes, and the year before the second one."""
    folder = tmp_path_factory.mktemp("lake")
    list(write(folder, LANES, 730, 15, seed=3, file_a_day=False))
    return folder


@pytest.fixture(scope="module")
def made(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    assert run(("report", "annual", "--year", "2026", "--lake", str(lake), "--out", str(out))) == 0
    return out


def pages(path: Path) -> list[str]:
    done = subprocess.run(["pdftotext", "-layout", str(path), "-"], capture_output=True, check=True, text=True)
    return done.stdout.split("\f")[:-1]


def test_the_report_is_whole_and_says_on_every_page_what_the_models_learnt_from(made: Path) -> None:
    read = pages(made / "annual-2026.pdf")
    whole = "\n".join(read)
    assert all("SIMULATED" in page for page in read)
    assert all(heading in whole for heading in HEADINGS)
    assert re.search(r"prompted, of vehicles +\d\.\d %", whole)
    assert f"page 1 of {len(read)}" in read[0]


def test_page_and_document_tell_the_same(made: Path) -> None:
    page = (made / "annual-2026.html").read_text()
    whole = re.sub(r"\s+", " ", " ".join(pages(made / "annual-2026.pdf")))
    vehicles = re.search(r"([\d,]+) vehicles; a search was prompted for", page)
    assert vehicles and vehicles.group(0) in whole
    assert all(heading in page for heading in HEADINGS)


def test_the_same_record_gives_the_same_files(made: Path, lake: Path, tmp_path: Path) -> None:
    assert run(("report", "annual", "--year", "2026", "--lake", str(lake), "--out", str(tmp_path))) == 0
    for name in ("annual-2026.pdf", "annual-2026.html"):
        assert (made / name).read_bytes() == (tmp_path / name).read_bytes()


def test_nothing_runs_out_of_a_page(made: Path, tmp_path: Path) -> None:
    """Every letter lies within the margins that the page has."""
    path = made / "annual-2026.pdf"
    found = subprocess.run(["pdftotext", "-bbox", str(path), "-"], capture_output=True, check=True, text=True).stdout
    words = [tuple(map(float, m)) for m in re.findall(r'xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)"', found)]
    assert len(words) > 1_000
    assert min(w[0] for w in words) >= 47 and max(w[2] for w in words) <= 595.3 - 47


def test_the_year_before_stands_beside_it(
    lake: Path, made: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("report", "annual", "--year", "2026", "--lake", str(lake), "--out", str(tmp_path), "--json")
    assert run(arguments) == 0
    answer = json.loads(capfd.readouterr().out)
    beside = next(section for section in answer["sections"] if section["code"] == "beside")["rows"]
    prompted = next(row for row in beside if row["what"] == "prompted, of vehicles")
    more = prompted["more, points"]
    assert more["value"] == pytest.approx(100 * (prompted["2026"]["value"] - prompted["2025"]["value"]))
    assert more["low"] < more["value"] < more["high"]


def test_a_year_without_a_vehicle_is_no_report(lake: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(("report", "annual", "--year", "2031", "--lake", str(lake), "--out", str(tmp_path))) == 1
    assert "no vehicle came in 2031" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_words_of_a_record_are_never_mark_up_and_long_ones_break(tmp_path: Path) -> None:
    evil = '#panic("x") *a* $y$ <z> \\ #set page(width: 1mm)'
    section = Section(
        "s",
        evil,
        (evil, "n"),
        ((evil, share(1, 20)), ("x" * 300, None)),
        (evil,),
        (rate_chart(evil, [evil], [share(1, 20)]),),
    )
    path = tmp_path / "evil.pdf"
    path.write_bytes(pdf(Report(evil, evil, (evil,), (section,))))
    (read,) = pages(path)
    assert '#panic("x") *a* $y$ <z> \\' in read
    assert "".join(read.split()).count("x") >= 300
