"""What an officer sees, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

WORDS = {
    "no_search": "No search prompted",
    "recheck": "Measure again",
    "search": "Search this vehicle",
    "open_now": "Open now, life at risk",
}


@pytest.mark.parametrize("level", WORDS)
def test_each_level_has_its_word_its_place_and_its_colour(stage: Any, page: Page, level: str) -> None:
    stage.lorry(level)
    expect(page.locator("#word")).to_have_text(WORDS[level])
    expect(page.locator("body")).to_have_attribute("data-level", level)
    expect(page.locator("#rail li.here")).to_have_count(1)
    place = page.locator("#rail li").evaluate_all("all => all.findIndex((one) => one.classList.contains('here'))")
    assert place == list(WORDS).index(level)


def test_a_search_says_where_and_why_and_what_was_not_measured(stage: Any, page: Page) -> None:
    stage.lorry("search")
    expect(page.locator("#lines li")).to_have_text(["Where: rear", "Heartbeat-like rhythm, 72 a minute"])
    cards = page.locator(".part")
    expect(cards.nth(1)).to_contain_text("Not measuredthe probe was not put in")
    expect(page.locator("#trained")).to_have_text("Model trained on simulated lorries")


def test_measuring_says_how_long_and_what_to_do(stage: Any, page: Page) -> None:
    passage = stage.enter()
    measuring = {"code": "measuring", "text": "Measuring goes on"}
    stage.verdict(passage, "recheck", final=False, reasons=[measuring])
    expect(page.locator("#word")).to_have_text("Measuring")
    expect(page.locator("#seconds")).to_contain_text("of 45 s")
    expect(page.locator("#do")).to_have_text("Put the probe in. Now: Vibration and CO2.")
    expect(page.locator("body")).to_have_attribute("data-level", "none")


def test_the_next_lorry_takes_the_prompt_away(stage: Any, page: Page) -> None:
    stage.lorry("search")
    expect(page.locator("#word")).to_have_text("Search this vehicle")
    stage.enter()
    expect(page.locator("#word")).to_have_text("Measuring")
    expect(page.locator("#last button").first).to_contain_text("Search this vehicle")
    stage.leave()
    expect(page.locator("#word")).to_have_text("Waiting for a vehicle")


def test_a_verdict_that_cannot_be_read_is_no_all_clear(stage: Any, page: Page) -> None:
    stage.lorry("no_search", evidence=[])
    expect(page.locator("#word")).to_have_text("This prompt cannot be read: decide without it")
    expect(page.locator("body")).to_have_attribute("data-level", "none")


def test_nothing_the_lane_says_becomes_markup(stage: Any, page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202e</li>"
    stage.lorry("search", reasons=[{"code": "plate.odd", "text": hostile}], trained_on=hostile)
    expect(page.locator("#lines")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("main img").count() == 0
    assert "\u202e" not in page.locator("#lines").inner_text()


def test_a_late_change_of_an_earlier_lorry_is_told_in_the_list_only(stage: Any, page: Page) -> None:
    gone = stage.lorry("no_search")
    expect(page.locator("#word")).to_have_text("No search prompted")
    stage.enter()
    expect(page.locator("#word")).to_have_text("Measuring")
    stage.verdict(gone, "search", revision=2)
    expect(page.locator(f'[data-passage="{gone}"]')).to_contain_text("changed after it left")
    expect(page.locator("#word")).to_have_text("Measuring")


def test_the_page_asks_nothing_of_any_other_machine(stage: Any, new_page: Callable[..., Page], address: str) -> None:
    page = new_page("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    stage.lorry("search")
    expect(page.locator("#word")).to_have_text("Search this vehicle")
    assert asked
    assert [url for url in asked if not url.startswith(address)] == []


def test_what_is_known_of_the_vehicle_is_shown_with_who_said_it(stage: Any, page: Page) -> None:
    stage.enter()
    expect(page.locator("#word")).to_have_text("Measuring")
    page.locator("#vehicle").click()
    engine = page.locator("#panel fieldset", has=page.locator("[data-word='engine']"))
    expect(engine.locator("legend")).to_have_text("Engine")
    engine.locator("[data-value='off']").click()
    expect(engine.locator("[data-value='off']")).to_have_attribute("aria-pressed", "true")
    page.locator("#panel-close").click()
    page.wait_for_function("() => document.getElementById('vehicle').dataset.known === '3'")
    page.locator("#vehicle").click()
    expect(engine.locator("legend")).to_have_text("Engine: said at the booth")
    expect(engine.locator("[data-value='off']")).to_have_attribute("aria-pressed", "true")
    body = page.locator("#panel fieldset", has=page.locator("[data-word='body_type']"))
    expect(body.locator("legend")).to_have_text("Body: as usual on this lane")
    assert stage.order(do="context")[-1]["engine"] == "off"
    assert stage.order(do="context")[-1]["source"].startswith("booth, uid ")
    page.locator("#panel-close").click()
    stage.enter()
    expect(page.locator("#vehicle")).to_have_attribute("data-known", "2")


def test_a_lane_that_cannot_write_shows_its_level_and_says_so_whatever_stood_there_before(
    stage: Any, page: Page
) -> None:
    stage.lorry("no_search")
    expect(page.locator("body")).to_have_attribute("data-level", "no_search")
    for level in ("recheck", "open_now"):
        stage.order(do="full", level=level)
        expect(page.locator("#word")).to_have_text(WORDS[level])
        expect(page.locator("#lines")).to_have_text("The lane cannot write its record: decide without it")
        expect(page.locator("#lane-note")).to_contain_text("Nothing is recorded")
    stage.order(do="full", level=None)
    expect(page.locator("#word")).to_have_text(WORDS["no_search"])
    expect(page.locator("#lane-note")).to_have_text("")
