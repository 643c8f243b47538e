from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from edge import json_text
from edge.journal.journal import Journal
from edge.records import analysis, analysis_misses, analysis_time
from edge.records.analysis import FACTORS
from edge.records.answers import PARTS
from edge.records.asked import Asked, ask
from edge.records.intervals import Rate
from edge.records.lake import update
from edge.records.local_time import zone
from edge.records.relations import Record
from edge.records.sections import Section, text


@pytest.fixture(scope="module")
def asked(record: Record) -> Asked:
    return ask(record, zone("Europe/London"))


def column(section: Section, name: str) -> list[Any]:
    return [row[section.columns.index(name)] for row in section.rows]


@pytest.mark.parametrize("code", [code for code in PARTS if code != "referrals"])
def test_every_section_has_rows_and_a_json_form(asked: Asked, code: str) -> None:
    section = PARTS[code](asked)
    assert section.rows and all(len(row) == len(section.columns) for row in section.rows)
    json_text.write(section.document())


@pytest.mark.parametrize("factor", FACTORS)
def test_every_factor_divides_all_vehicles(asked: Asked, year: Any, factor: str) -> None:
    section = analysis.by_factor(asked, [factor])
    assert sum(column(section, "vehicles")) == year.truth.passages - year.truth.covert


def test_factors_cross_also_where_one_is_a_local_hour(asked: Asked, year: Any) -> None:
    section = analysis.by_factor(asked, ["technique", "shift", "body_type"])
    assert sum(column(section, "vehicles")) == year.truth.passages - year.truth.covert
    assert sum(column(section, "finds")) == year.truth.found
    assert set(column(section, "shift")) == {"06-14", "14-22", "22-06"}


def test_a_cell_with_too_few_cases_says_so_and_gives_its_counts(asked: Asked) -> None:
    rates = [
        cell
        for section in (analysis.by_factor(asked, ["technique", "hour", "body_type"]),)
        for row in section.rows
        for cell in row
        if isinstance(cell, Rate)
    ]
    few = [rate for rate in rates if 0 < rate.of < 10]
    assert few and all(text(rate).endswith(": too few") and f"of {rate.of}" in text(rate) for rate in few)
    assert all(" of " in text(rate) or text(rate) == "none of none" for rate in rates)


def test_what_is_missed_is_told_with_what_is_not_known(asked: Asked, year: Any) -> None:
    section = analysis_misses.misses(asked)
    words = " ".join(section.notes)
    assert "audits found nobody: at most" in words or "audits found" in words
    assert "wrong in the lane's favour" in words and "to be measured again" in words
    told = analysis_misses.all_missed(asked)
    assert told.audit is not None and told.audit.missed.high is not None
    assert told.audit.missed.high >= year.truth.not_prompted
    assert (told.covert.cases, told.covert.of) == (year.truth.covert_prompted, year.truth.covert)


def test_two_modalities_that_saw_the_finds_give_a_floor(asked: Asked, year: Any) -> None:
    found = analysis_misses.recapture(asked)
    assert found is not None and found[0] == "vibration and co2"
    assert found[1].seen <= (found[1].estimate.value or 0)


def test_covert_tests_by_factor_add_up(asked: Asked, year: Any) -> None:
    section = analysis_misses.covert_tests(asked)
    for factor in ("body_type", "wind", "cargo", "place"):
        rates = [row[2] for row in section.rows if row[0] == factor]
        assert sum(rate.of for rate in rates if isinstance(rate, Rate)) == year.truth.covert


def test_a_steady_year_raises_no_alarm(asked: Asked) -> None:
    assert analysis_misses.alarms(asked) == []
    assert analysis_misses.moved(asked).rows[0][0] == "nothing moved"


def test_nothing_is_left_out_of_a_whole_record(asked: Asked) -> None:
    assert analysis_misses.left_out(asked).rows == (("nothing", "", 0),)


def test_the_night_of_the_change_is_reported_hour_by_hour(cases: Path, tmp_path: Path) -> None:
    folder = cases / "74-time-dst-two-zones"
    expected = json.loads((folder / "expected.json").read_text())["per_local_hour_london"]
    with Journal.open(tmp_path / "j.db", None, boot_id="b", now_utc_ns=lambda: 1_793_000_000_000_000_000) as journal:
        for row in csv.DictReader((folder / "passages.csv").open()):
            journal.append("passage.opened", row["id"], {"began_utc": row["presence_on_utc"]})
    update(tmp_path / "lake", tmp_path / "j.db", "dover", "1")
    with Record(tmp_path / "lake") as record:
        asked = ask(record, zone("Europe/London"))
        each = {row[0]: row[1] for row in analysis_time.each_hour(asked).rows}
        by_hour = analysis_time.hours(asked)
    assert {name.removesuffix(" (comes twice)"): count for name, count in each.items()} == expected
    assert [name for name in each if "twice" in str(name)] == [
        "2026-10-25 01 BST (comes twice)",
        "2026-10-25 01 GMT (comes twice)",
    ]
    one = by_hour.rows[column(by_hour, "hour").index("01")]
    days = 211  # from 29 March to 25 October: the first has no such hour, the last has it twice
    assert one[1] == days - 1 + 1 and one[2] == 6


def test_rows_that_could_not_be_read_are_in_the_report(tmp_path: Path) -> None:
    times = iter((1_740_000_000_000_000_000, 1_730_000_000_000_000_000, 1_000))
    with Journal.open(tmp_path / "j.db", None, boot_id="b", now_utc_ns=lambda: next(times)) as journal:
        for _ in range(3):
            journal.append("outcome", "x", {"outcome": {"searched": "perhaps"}})
    update(tmp_path / "lake", tmp_path / "j.db", "calais", "3")
    with Record(tmp_path / "lake") as record:
        asked = ask(record, zone("UTC"))
        whys = [str(row[1]) for row in analysis_misses.left_out(asked).rows]
    assert any("outcome.searched" in why for why in whys)
    assert any("earlier time" in why for why in whys)
