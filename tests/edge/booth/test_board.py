"""What the page is told, from the lane's messages: no browser, no socket, no clock."""

from __future__ import annotations

from typing import Any

import pytest

from edge.booth.board import Board
from edge.publish.message import Header, Message

FIRST, SECOND = "01JQ0F7Y3W8V5R2M9K4T6B1N0D", "01JQ0F7Y3W8V5R2M9K4T6B1N0E"
ODDS = {"cases": 20, "of": 280, "one_in": 14.0, "from": 9.0, "to": 21.0, "days": 90}


def message(kind: str, sequence: int, body: dict[str, Any]) -> Message:
    header = {
        "schema": "lanepulse.message/1",
        "kind": kind,
        "boot_id": "b",
        "sequence": sequence,
        "sent_utc": "2026-03-01T10:15:31Z",
    }
    return Message("calais.3", Header.model_validate(header), body)


def there(passage_id: str | None) -> Message:
    passage = None if passage_id is None else {"passage_id": passage_id, "measured_s": 3.0, "allowed_s": 45.0}
    return message("status", 0, {"passage": passage, "devices": []})


def judged(example: Any, sequence: int, passage_id: str, level: str, **changes: Any) -> Message:
    return message("verdict", sequence, example(passage_id, level) | {"passage_id": passage_id} | changes)


def now(board: Board) -> Any:
    return board.content()["now"]


@pytest.mark.parametrize(("level", "code", "told"), [("search", "score.over", ODDS), ("search", "audit.random", None)])
def test_how_often_such_a_prompt_was_right_stands_beside_it_and_never_beside_a_random_check(
    example: Any, level: str, code: str, told: Any
) -> None:
    board = Board()
    board.reliability = {"search": ODDS}
    board.see(there(FIRST))
    board.see(judged(example, 1, FIRST, level, reasons=[{"code": code, "text": ""}]))
    assert now(board)["reliability"] == told


def test_where_there_is_too_little_nothing_is_said(example: Any) -> None:
    board = Board()
    board.see(there(FIRST))
    board.see(judged(example, 1, FIRST, "search"))
    assert now(board)["reliability"] is None


def test_silence_takes_the_lorry_away_and_what_is_older_never_comes_back(example: Any) -> None:
    board = Board()
    board.see(there(FIRST))
    board.see(judged(example, 7, FIRST, "no_search"))
    board.lost()
    assert board.content() | {"last": None} == {"lane": None, "now": None, "last": None}
    board.see(there(SECOND))
    board.see(judged(example, 6, SECOND, "no_search"))  # replayed, and older than what was seen
    assert now(board)["phase"] == "measuring"


def test_what_is_known_of_one_vehicle_is_never_shown_of_the_next() -> None:
    board = Board()
    board.see(there(FIRST))
    board.declared = {"passage_id": FIRST, "words": {"engine": {"value": "off", "source": "booth o17, uid 990"}}}
    assert now(board)["context"] == {"engine": {"value": "off", "by": "booth", "officer": "o17"}}
    board.see(there(SECOND))
    assert now(board)["context"] == {}
