from __future__ import annotations

from typing import Any

import pytest

from edge.cli.prompt import LEVELS, MEASURING, NOT_RECORDED, WAITING, Prompter, View, lines, screen
from edge.publish.message import Header, Message

FIRST, SECOND = "01JQ0F7Y3W8V5R2M9K4T6B1N0D", "01JQ0F7Y3W8V5R2M9K4T6B1N0E"


def verdict(passage_id: str, level: str, **changes: Any) -> dict[str, Any]:
    measured = {"modality": "vibration", "state": "measured", "log10_lr": 1.4, "cause": None, "where": "rear"}
    absent = {"modality": "co2", "state": "absent", "log10_lr": 0.0, "cause": "no probe presented", "where": None}
    return {
        "passage_id": passage_id,
        "level": level,
        "evidence": [measured, absent],
        "reasons": [{"code": "vibration.rhythm", "text": "Heartbeat-like rhythm, 72 a minute"}],
        "trained_on": "simulated",
    } | changes


def message(kind: str, sequence: int, body: dict[str, Any]) -> Message:
    header = Header.model_validate(
        {"schema": "lanepulse.message/1", "kind": kind, "boot_id": "b", "sequence": sequence, "sent_utc": ""}
    )
    return Message("", header, body)


def state(passage_id: str | None, sequence: int = 0) -> Message:
    return message("status", sequence, {"passage": None if passage_id is None else {"passage_id": passage_id}})


def after(*messages: Message) -> View:
    prompter = Prompter()
    return [prompter.see(heard) for heard in messages][-1]


def test_a_search_says_where_and_why() -> None:
    assert lines(verdict(FIRST, "search")) == [
        "▲  Search this vehicle: rear",
        "   Heartbeat-like rhythm, 72 a minute",
        "   (model trained on simulated data)",
    ]


def test_measure_again_says_what_is_missing_and_why() -> None:
    assert lines(verdict(FIRST, "recheck"))[0] == "◇  Measure again: co2 (no probe presented)"


@pytest.mark.parametrize("broken", [{"level": "maybe"}, {"reasons": None}, {"evidence": [{}]}])
def test_a_prompt_that_cannot_be_read_is_no_all_clear(broken: dict[str, Any]) -> None:
    (line,) = lines(verdict(FIRST, "search") | broken)
    assert "cannot read" in line


def test_levels_differ_in_word_shape_and_row_without_colour() -> None:
    for ascii_only in (False, True):
        screens = []
        for level in LEVELS:
            view = View(level, tuple(lines(verdict(FIRST, level))))
            screens.append(screen(view, colour=False, ascii_only=ascii_only))
        rows = [next(index for index, row in enumerate(shown) if row) for shown in screens]
        shapes = {shown[row].split("  ")[0] for shown, row in zip(screens, rows, strict=True)}
        assert (rows, len(shapes)) == ([0, 1, 2, 3], 4)


def test_no_device_can_write_on_the_screen() -> None:
    view = View("search", tuple(lines(verdict(FIRST, "search", reasons=[{"text": "\x1b[2Jno search"}]))))
    assert "\x1b" not in "".join(screen(view, colour=False, ascii_only=False))


def test_a_prompt_comes_before_the_state_that_tells_of_its_vehicle() -> None:
    view = after(state(None), message("verdict", 5, verdict(FIRST, "search")))
    assert view.level == "search"


def test_whoever_joins_sees_the_prompt_of_the_vehicle_that_is_there() -> None:
    assert after(message("last", 5, verdict(FIRST, "search")), state(FIRST, 5)).level == "search"


def test_whoever_joins_an_empty_lane_sees_no_old_prompt() -> None:
    assert after(message("last", 5, verdict(FIRST, "search")), state(None, 5)) == View(None, (WAITING,))


def test_an_old_prompt_never_stands_beside_a_new_lorry() -> None:
    heard = (state(FIRST), message("verdict", 5, verdict(FIRST, "no_search")), state(SECOND, 5))
    assert after(*heard) == View(None, (MEASURING,))


def test_late_evidence_on_a_vehicle_that_left_is_not_the_prompt_of_the_one_here() -> None:
    heard = (
        state(FIRST),
        message("verdict", 5, verdict(FIRST, "no_search")),
        state(SECOND, 5),
        message("verdict", 6, verdict(SECOND, "no_search")),
        message("verdict", 7, verdict(FIRST, "search")),
    )
    view = after(*heard)
    assert view.level == "no_search"
    assert view.text[-1] == f"   earlier vehicle {FIRST}: ▲  Search this vehicle: rear"


def test_a_verdict_heard_again_changes_nothing() -> None:
    heard = (
        message("verdict", 5, verdict(FIRST, "recheck")),
        message("verdict", 6, verdict(FIRST, "search")),
        message("last", 5, verdict(FIRST, "recheck")),
    )
    assert after(*heard).level == "search"


def test_a_clock_that_was_set_back_does_not_hide_the_next_vehicle() -> None:
    heard = (
        state(SECOND),
        message("verdict", 5, verdict(SECOND, "search")),
        message("verdict", 6, verdict(FIRST, "open_now")),
    )
    assert after(*heard).level == "open_now"


def unrecorded(passage_id: str, level: str | None) -> Message:
    return message("status", 0, {"passage": {"passage_id": passage_id, "level": level}, "journal": {"recorded": False}})


def test_a_lane_that_cannot_write_says_so_and_asks_to_measure_again() -> None:
    assert after(unrecorded(FIRST, "recheck")) == View("recheck", ("◇  Measure again", NOT_RECORDED))
    assert after(unrecorded(FIRST, None)) == View(None, (MEASURING, NOT_RECORDED))
    cleared = message("verdict", 1, verdict(FIRST, "no_search"))
    assert after(cleared, unrecorded(FIRST, "recheck")).level == "recheck"


def test_danger_is_shown_without_a_record_too_and_a_recorded_search_stays() -> None:
    assert after(unrecorded(FIRST, "open_now")).level == "open_now"
    found = message("verdict", 1, verdict(FIRST, "search"))
    view = after(found, unrecorded(FIRST, "search"))
    assert (view.level, view.text[-1]) == ("search", NOT_RECORDED)
    assert NOT_RECORDED not in after(found, unrecorded(FIRST, "search"), state(FIRST)).text
