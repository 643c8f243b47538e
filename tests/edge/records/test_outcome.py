from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.journal.journal import Journal
from edge.records.outcome import CHECKS, OutcomeRefused, press_of
from edge.records.outcome_book import OutcomeBook

PASSAGE = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"
NOW_NS = 1_772_360_100_000_000_000
NOTHING = {"searched": True, "technique": "physical", "found": False, "response": "agreed"}
SOMEBODY = {"searched": True, "technique": "dog", "found": True, "people": 2, "where": "between pallets, rear"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.db", None) as opened:
        opened.append("passage.opened", PASSAGE, {"began_utc": "2026-03-01T10:15:02Z"})
        yield opened


@pytest.fixture
def book(journal: Journal, tmp_path: Path) -> OutcomeBook:
    (tmp_path / "bundles" / PASSAGE).mkdir(parents=True)
    return OutcomeBook(journal, tmp_path / "bundles", lambda: NOW_NS)


def press(key: str, outcome: dict[str, Any] | None, **more: Any) -> Any:
    return press_of({"passage_id": PASSAGE, "key": key, "outcome": outcome} | more)


def file_of(tmp_path: Path) -> Any:
    path = tmp_path / "bundles" / PASSAGE / "outcome.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_the_same_press_sent_twice_is_one_record(book: OutcomeBook, journal: Journal) -> None:
    first = book.enter(press("press-0001", NOTHING), "uid 1")
    again = book.enter(press("press-0001", NOTHING), "uid 1")
    assert (first["answer"], again["answer"]) == ("recorded", "again")
    assert again["record"] == first["record"]
    assert len(journal.of_passage(PASSAGE, "outcome")) == 1


def test_a_second_tab_is_told_who_recorded_what_before(book: OutcomeBook, journal: Journal) -> None:
    book.enter(press("press-0001", NOTHING, officer="o17"), "uid 1")
    second = book.enter(press("press-0002", SOMEBODY, officer="o18"), "uid 1")
    assert second["answer"] == "exists"
    assert second["record"]["officer"] == "o17"
    assert len(journal.of_passage(PASSAGE, "outcome")) == 1


def test_a_correction_is_a_new_record_that_names_the_old_one(
    book: OutcomeBook, journal: Journal, tmp_path: Path
) -> None:
    first = book.enter(press("press-0001", NOTHING), "uid 1")["record"]
    second = book.enter(press("press-0002", SOMEBODY, corrects=first["sequence"]), "uid 1")["record"]
    assert (second["revision"], second["corrects"]) == (2, first["sequence"])
    assert [row.document()["outcome"]["found"] for row in journal.of_passage(PASSAGE, "outcome")] == [False, True]
    assert file_of(tmp_path)["people"] == 2


def test_a_correction_of_what_no_longer_stands_is_refused_with_what_does(book: OutcomeBook) -> None:
    first = book.enter(press("press-0001", NOTHING), "uid 1")["record"]
    second = book.enter(press("press-0002", SOMEBODY, corrects=first["sequence"]), "uid 1")["record"]
    late = book.enter(press("press-0003", NOTHING, corrects=first["sequence"]), "uid 1")
    assert (late["answer"], late["record"]) == ("changed", second)


def test_undo_is_a_record_and_then_nobody_knows(book: OutcomeBook, journal: Journal, tmp_path: Path) -> None:
    first = book.enter(press("press-0001", NOTHING), "uid 1")["record"]
    undone = book.enter(press("press-0002", None, corrects=first["sequence"]), "uid 1")
    assert undone["answer"] == "recorded"
    assert file_of(tmp_path) is None
    anew = book.enter(press("press-0003", SOMEBODY), "uid 1")["record"]
    assert (anew["revision"], anew["corrects"]) == (3, undone["record"]["sequence"])
    assert len(journal.of_passage(PASSAGE, "outcome")) == 3


def test_the_file_says_what_formats_says(book: OutcomeBook, tmp_path: Path) -> None:
    secured = {"locks": "ok", "curtain": "cut"}
    book.enter(press("press-0001", SOMEBODY | {"minutes": 11, "by": "contractor", "secured": secured}), "uid 1")
    written = file_of(tmp_path)
    assert {name: written[name] for name in ("searched", "technique", "found", "people", "where", "by")} == {
        "searched": True,
        "technique": "dog",
        "found": True,
        "people": 2,
        "where": "between pallets, rear",
        "by": "contractor",
    }
    assert (written["minutes"], written["secured"]) == (11.0, secured)


def test_a_press_that_came_late_is_entered_at_the_time_when_it_was_made(book: OutcomeBook) -> None:
    record = book.enter(press("press-0001", NOTHING, pressed_ago_s=90.5), "uid 1")["record"]
    assert record["entered_utc"] == "2026-03-01T10:13:29.500Z"


def test_a_file_that_a_crash_left_unwritten_is_written_at_the_next_start(
    book: OutcomeBook, journal: Journal, tmp_path: Path
) -> None:
    book.enter(press("press-0001", NOTHING), "uid 1")
    (tmp_path / "bundles" / PASSAGE / "outcome.json").unlink()
    OutcomeBook(journal, tmp_path / "bundles", lambda: NOW_NS).take_up()
    assert file_of(tmp_path)["found"] is False


def test_an_outcome_before_its_bundle_waits_for_it(journal: Journal, tmp_path: Path) -> None:
    book = OutcomeBook(journal, tmp_path / "bundles", lambda: NOW_NS)
    book.enter(press("press-0001", NOTHING), "uid 1")
    (tmp_path / "bundles" / PASSAGE).mkdir(parents=True)
    book.write_file(PASSAGE)
    assert file_of(tmp_path)["found"] is False


def test_a_passage_that_never_was_gets_no_outcome(book: OutcomeBook) -> None:
    with pytest.raises(OutcomeRefused, match="not in this lane's record"):
        book.enter(press_of({"passage_id": "01JQ0F7Y3W8V5R2M9K4T6B1N0E", "key": "press-0001", "outcome": NOTHING}), "")


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ({"searched": False, "found": False}, "not searched says nothing"),
        ({"searched": True, "technique": "dog"}, "say whether anybody was found"),
        (NOTHING | {"people": 1}, "nobody was found"),
        (NOTHING | {"response": "overridden"}, "one reason"),
        (NOTHING | {"reason": "no_time"}, "one reason"),
        (SOMEBODY | {"people": 0}, "greater than or equal to 1"),
        (SOMEBODY | {"people": True}, "valid integer"),
        (SOMEBODY | {"where": "x" * 121}, "at most 120"),
        (NOTHING | {"secured": {"paint": "ok"}}, "no check of the schedule"),
        (NOTHING | {"officer_name": "Jane"}, "Extra inputs"),
        (NOTHING | {"minutes": float("nan")}, "finite"),
    ],
)
def test_a_press_that_does_not_hang_together_names_its_field(outcome: dict[str, Any], says: str) -> None:
    with pytest.raises(OutcomeRefused, match=says):
        press("press-0001", outcome)


@pytest.mark.parametrize("passage_id", ["../../etc", "a/b", "", ".", "x" * 65, "a\nb"])
def test_a_passage_that_could_be_a_path_is_refused(passage_id: str) -> None:
    with pytest.raises(OutcomeRefused, match="passage_id"):
        press_of({"passage_id": passage_id, "key": "press-0001", "outcome": NOTHING})


@given(st.text(max_size=120))
def test_where_is_one_line_that_obeys_nothing(text: str) -> None:
    where = press_of({"passage_id": PASSAGE, "key": "press-0001", "outcome": SOMEBODY | {"where": text}}).outcome.where  # type: ignore[union-attr]
    assert where is None or (where.isprintable() and where == " ".join(where.split()))


def test_every_check_of_the_schedule_can_be_recorded() -> None:
    press("press-0001", NOTHING | {"secured": dict.fromkeys(CHECKS, "ok")})
