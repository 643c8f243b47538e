"""Practice at the page: marked, scored, kept apart, and over at once when the lane has a vehicle to search."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from edge.booth.drill_desk import DrillDesk
from edge.drill.cases import Truth, load, new_id, write
from edge.drill.session import DrillRefused

CO2 = "time_utc,probe,point,co2_ppm,temperature_c,humidity_pct,pressure_hpa,status\n" + "".join(
    f"2026-02-02T02:40:{second:02}Z,probe,inside,{420 + second},,,,ok\n" for second in range(30)
)


@pytest.fixture(scope="module")
def drills(stage: Any) -> Iterator[Path]:
    """Six cases, three of which held somebody."""
    folder: Path = stage.root / "state" / "drills"
    for number in range(6):
        occupied = number % 2 == 0
        verdict = stage.example("search" if number < 3 else "no_search")
        people = number + 1 if occupied else None
        truth = Truth(schema="lanepulse.drill/1", occupied=occupied, people=people, where=None, kind="recorded")
        write(folder / "cases", new_id(), verdict, truth, {"co2.csv": CO2.encode()})
    yield folder


def truths(drills: Path) -> dict[str, bool]:
    return {case.case_id: case.truth.occupied for case in load(drills / "cases")}


@pytest.fixture
def practice(drills: Path, stage: Any, new_page: Callable[..., Page], address: str) -> Page:
    stage.leave()
    return new_page(f"{address}/drill")


def begin(page: Page) -> None:
    page.locator("#begin [data-count='10']").click()
    expect(page.locator("#prompt")).to_be_visible()


def test_practice_is_marked_where_nobody_can_miss_it(practice: Page) -> None:
    begin(practice)
    expect(practice).to_have_title("Practice, not the lane calais/3")
    for tape in practice.locator(".tape .mark").all():
        expect(tape).to_have_text("Practice, not the lane")
        expect(tape).to_be_in_viewport()
    practice.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    for tape in practice.locator(".tape .mark").all():
        expect(tape).to_be_in_viewport()
    expect(practice.locator("#number")).to_have_text("Practice lorry 1 of 6")


def test_a_drill_is_scored_and_nothing_of_it_is_in_the_record(stage: Any, practice: Page, drills: Path) -> None:
    rows = len(stage.outcomes())
    known = truths(drills)
    begin(practice)
    for number in range(6):
        expect(practice.locator("#number")).to_have_text(f"Practice lorry {number + 1} of 6")
        case_id = practice.evaluate("document.querySelector('#presses').dataset.case")
        expect(practice.locator("#truth")).not_to_be_visible()
        practice.keyboard.press("1" if known[case_id] else "2")
        expect(practice.locator("#truth")).to_have_attribute("data-how", "right")
        if number < 5:
            practice.locator("#presses [data-press='next']").click()
    expect(practice.locator("#truth")).to_contain_text("3 found, 0 overlooked, 0 searched in vain, 3 let go rightly")
    expect(practice.locator("#truth")).to_contain_text("apart from the record")
    (result,) = [json.loads(line) for line in (drills / "results.jsonl").read_text().splitlines()]
    assert (result["score"]["hits"], result["complete"], result["via"]) == (3, True, "booth")
    assert len(stage.outcomes()) == rows


def test_a_case_is_drawn_from_its_own_series(practice: Page) -> None:
    begin(practice)
    expect(practice.locator("[data-modality='co2'] svg")).to_have_count(1)


def test_it_is_over_at_once_when_the_lane_has_somebody_to_search_for(stage: Any, practice: Page, address: str) -> None:
    begin(practice)
    stage.lorry("no_search")
    expect(practice.locator("#live")).to_have_text("The lane: Measured")
    stage.lorry("search")
    practice.wait_for_url(f"{address}/")
    expect(practice.locator("#word")).to_have_text("Search this vehicle")


def test_the_way_to_practice_is_offered_only_while_the_lane_is_empty(stage: Any, page: Page, address: str) -> None:
    stage.leave()
    expect(page.locator("#word")).to_have_text("Waiting for a vehicle")
    expect(page.locator("#drill")).to_be_visible()
    stage.enter()
    expect(page.locator("#drill")).not_to_be_visible()


def test_the_truth_is_not_told_before_the_answer(drills: Path) -> None:
    desk = DrillDesk(drills)
    begun = desk.begin(None, 10)
    assert "occupied" not in json.dumps(begun)
    told = desk.answer(begun["token"], None, begun["next"]["case_id"], "again")
    assert "occupied" not in json.dumps(told["next"])
    assert told["right"] is None


@pytest.mark.parametrize("count", [None, 0, 11, 10**9, "10", True, [10]])
def test_a_drill_has_one_of_the_lengths_that_are_offered(drills: Path, count: object) -> None:
    with pytest.raises(DrillRefused, match="count"):
        DrillDesk(drills).begin(None, count)


def test_nobody_answers_in_anothers_drill_and_forgotten_ones_make_room(drills: Path) -> None:
    now = [0.0]
    desk = DrillDesk(drills, lambda: now[0])
    begun = desk.begin("o17", 10)
    for token, officer in ((begun["token"], "o18"), ("x", "o17"), (None, "o17"), (7, "o17")):
        with pytest.raises(DrillRefused, match="no such drill"):
            desk.answer(token, officer, begun["next"]["case_id"], "search")
    tokens = [desk.begin("o17", 10)["token"] for _ in range(40)]
    with pytest.raises(DrillRefused):
        desk.end(begun["token"], "o17")
    now[0] = 4000.0
    desk.begin("o17", 10)
    with pytest.raises(DrillRefused):
        desk.end(random.choice(tokens), "o17")
