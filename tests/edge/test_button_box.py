from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers.reading import Button, ButtonPress, ClockQuality, Stamp
from edge.button_box import ButtonBox
from edge.journal.journal import Journal
from edge.records.outcome_book import OutcomeBook

FIRST, SECOND = "01JQ0F7Y3W8V5R2M9K4T6B1N0D", "01JQ0F7Y3W8V5R2M9K4T6B1N0E"


class Lane:
    """A journal, and a box whose clock the test sets."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal.open(path / "journal.db", None)
        self.now_s = 100.0
        self.box = ButtonBox(OutcomeBook(self.journal, path, lambda: 1_780_000_000_000_000_000), lambda: self.now_s)

    def prompt(self, passage_id: str, level: str, *codes: str, final: bool = True) -> None:
        reasons = [{"code": code, "text": ""} for code in codes]
        body = {"level": level, "revision": 1, "final": final, "reasons": reasons}
        sequence = self.journal.append("verdict", passage_id, body)
        self.box.announced(self.journal.rows(sequence, 1)[0])

    def press(self, button: str) -> None:
        stamp = Stamp(1, 1, 1, ClockQuality(True, 1))
        asyncio.run(self.box.pressed(ButtonPress("lane_io", stamp, Button(button))))

    def outcomes(self) -> list[dict[str, Any]]:
        return [{"passage_id": row.passage_id, **row.document()} for row in self.journal.rows(kind="outcome")]


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    return Lane(tmp_path)


@pytest.mark.parametrize(
    ("level", "button", "response", "told"),
    [
        ("search", "nobody", "agreed", (True, False)),
        ("open_now", "found", "agreed", (True, True)),
        ("no_search", "not_searched", "agreed", (False, None)),
        ("search", "not_searched", None, (False, None)),  # the page asks why
        ("recheck", "nobody", None, (True, False)),
    ],
)
def test_a_button_is_an_outcome_of_the_lorry_that_is_there(
    lane: Lane, level: str, button: str, response: str | None, told: tuple[bool, bool | None]
) -> None:
    lane.prompt(FIRST, level)
    lane.now_s += 1.0
    lane.press(button)
    (row,) = lane.outcomes()
    assert (row["passage_id"], row["outcome"]["response"]) == (FIRST, response)
    assert (row["outcome"]["searched"], row["outcome"]["found"]) == told
    assert row["shown"]["level"] == level
    assert row["via"] == "buttons lane-io"


def test_a_finger_that_was_on_its_way_meant_the_lorry_before(lane: Lane) -> None:
    lane.prompt(FIRST, "search")
    lane.now_s += 20.0
    lane.prompt(SECOND, "no_search")
    lane.now_s += 0.5
    lane.press("nobody")
    lane.now_s += 0.5
    lane.press("not_searched")
    assert [row["passage_id"] for row in lane.outcomes()] == [FIRST, SECOND]


def test_pressed_again_it_is_one_record_and_undo_is_a_record_of_its_own(lane: Lane) -> None:
    lane.prompt(FIRST, "search")
    lane.now_s += 1.0
    for button in ("nobody", "nobody", "found", "undo", "undo", "found"):
        lane.press(button)
    rows = lane.outcomes()
    assert [row["outcome"] and row["outcome"]["found"] for row in rows] == [False, None, True]
    assert [row["revision"] for row in rows] == [1, 2, 3]


def test_before_any_prompt_and_while_measuring_a_button_records_nothing(lane: Lane) -> None:
    lane.press("found")
    lane.prompt(FIRST, "recheck", "measuring", final=False)
    lane.now_s += 5.0
    lane.press("found")
    assert lane.outcomes() == []
