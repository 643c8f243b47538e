from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from edge.cli.main import run
from edge.records.sections import Chart
from edge.records.svg import picture
from fusion.evaluation.exact_share import Estimate
from hil.record import World, write

LANE = '[lane]\nsite = "calais"\nname = "3"\n'


@pytest.fixture(scope="module")
def root(year: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lane's folder with the generated year in it."""
    folder = tmp_path_factory.mktemp("lane")
    (folder / "lane.toml").write_text(LANE)
    (folder / "state").mkdir()
    (folder / "state" / "journal.db").symlink_to(year.journal)
    (folder / "state" / "lake").symlink_to(year.lake)
    return folder


def ask(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(arguments)
    out, err = capfd.readouterr()
    return code, out, err


def test_one_command_tells_what_is_missed_in_json(root: Path, year: Any, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capfd, "analyse", "--root", str(root), "--json", "counts", "misses")
    answer = json.loads(out)
    assert (code, answer["schema"]) == (0, "lanepulse.analysis/1")
    assert "SIMULATED" in answer["said"][1]
    counts = {row["what"]: row["count"] for row in answer["sections"][0]["rows"]}
    assert counts["vehicles with a find"] == year.truth.found
    assert any("audits found" in note for note in answer["sections"][1]["notes"])


def test_a_crossing_of_factors_in_a_period_and_a_filter(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ("--by", "technique,shift", "--since", "2025-03-01", "--until", "2025-03-31", "--where", "by=officer")
    code, out, _ = ask(capfd, "analyse", "--root", str(root), "--json", "--zone", "Europe/London", *arguments)
    section = json.loads(out)["sections"][0]
    assert code == 0 and section["code"] == "by.technique.shift"
    assert 150 < sum(row["vehicles"] for row in section["rows"]) < 500


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "technique,moon"), "--by technique,moon"),
        (("--where", "plate=AB"), "--where plate=AB"),
        (("--zone", "Europe/Londres"), "Europe/Londres"),
        (("--of", "3"), "give SITE/LANE"),
        (("--of", "dover/1"), "no lane dover/1 here; there are: calais/3"),
        (("--lake", "nowhere"), "no record here"),
    ],
)
def test_a_wrong_question_is_answered_in_one_line(
    root: Path, arguments: tuple[str, ...], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ask(capfd, "analyse", "--root", str(root), *arguments)
    assert code == 2 and says in err and len(err.strip().splitlines()) == 1


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sections, self.rows, self.plots, self.outside = 0, 0, 0, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sections += tag == "section"
        self.rows += tag == "tr"
        self.plots += tag == "svg"
        self.outside += [value or "" for name, value in attrs if name in ("src", "href") and "#" not in (value or "")]
        self.outside += [tag] if tag in ("script", "link", "img", "iframe") else []


def test_the_page_stands_alone_and_is_the_same_bytes_each_time(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in paths:
        assert ask(capfd, "analyse", "--root", str(root), "--html", str(path))[0] == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    page = _Page()
    page.feed(paths[0].read_text())
    assert page.outside == []
    assert page.sections >= 15 and page.rows > 100 and page.plots >= 8
    assert "url(" not in paths[0].read_text()


def test_words_from_a_record_are_never_markup() -> None:
    drawn = picture(Chart("<b>", ("<script>", "&"), (Estimate(0.1, 0.0, 0.2), Estimate(None, None, None))))
    assert "<script>" not in drawn and "&lt;script&gt;" in drawn and "too few cases" in drawn


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five days of another lane."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "lane.toml").write_text(LANE)
    write(folder / "state" / "journal.db", "calais", "3", 5, 60, seed=4, world=World(occupied=0.1))
    return folder


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_every_form_of_export_has_every_row(
    small: Path, tmp_path: Path, form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ask(capfd, "export", "--root", str(small), str(tmp_path / "out"), "--format", form, "--json")
    counts = json.loads(out)["rows"]
    assert code == 0 and counts["passages"] == counts["verdicts"] > 200
    path = tmp_path / "out" / f"verdicts.{form}"
    if form == "parquet":
        assert pq.read_metadata(path).num_rows == counts["verdicts"]
    elif form == "csv":
        with path.open(newline="") as file:
            read = list(csv.DictReader(file))
        assert len(read) == counts["verdicts"] and re.fullmatch(r"\d{19}", read[0]["issued_utc_ns"])
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == counts["verdicts"] and isinstance(lines[0]["issued_utc_ns"], str)


def test_a_pseudonymised_export_points_at_no_passage_and_still_joins(
    small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "research.key"
    key.write_bytes(bytes(range(32)))
    for name, more in (("open", ()), ("hidden", ("--pseudonymise", str(key)))):
        assert ask(capfd, "export", "--root", str(small), str(tmp_path / name), *more)[0] == 0
    plain = pq.read_table(tmp_path / "open" / "outcomes.parquet").to_pylist()
    hidden = pq.read_table(tmp_path / "hidden" / "outcomes.parquet").to_pylist()
    passages = set(pq.read_table(tmp_path / "hidden" / "passages.parquet")["passage_id"].to_pylist())
    assert {row["passage_id"] for row in hidden} <= passages
    assert not {row["passage_id"] for row in plain} & passages
    assert all(row["where_found"] is None for row in hidden) and any(row["where_found"] for row in plain)
    assert all(row["entered_utc_ns"] % 3_600_000_000_000 == 0 for row in hidden)
    assert [row["found"] for row in hidden] == [row["found"] for row in plain]


def test_a_short_key_writes_nothing(small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short").write_bytes(b"secret")
    code, _, err = ask(
        capfd, "export", "--root", str(small), str(tmp_path / "x"), "--pseudonymise", str(tmp_path / "short")
    )
    assert code == 2 and "6 bytes" in err and not (tmp_path / "x").exists()
