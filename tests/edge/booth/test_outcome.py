"""What a search found, as an officer enters it: by touch, by keyboard, twice, in two tabs, offline."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

LORRIES = int(os.environ.get("OUTCOMES", "3"))
SEARCH = "Search this vehicle"
COUNT_TOUCHES = "window.touches = 0; window.addEventListener('pointerdown', () => { window.touches += 1; }, true);"


def here(stage: Any, page: Page, level: str = "search") -> str:
    """A judged lorry, on the page for as long as an officer needs to see that it is another one."""
    passage: str = stage.lorry(level)
    expect(page.locator("#outcome")).to_have_attribute("data-passage", passage)
    expect(page.locator("#presses [data-press]").first).to_be_enabled()
    return passage


def recorded(stage: Any, page: Page, passage: str, count: int = 1) -> list[dict[str, Any]]:
    expect(page.locator("#presses [data-press='undo']")).to_be_visible()
    found = [row for row in stage.outcomes() if row["passage_id"] == passage]
    assert len(found) == count
    return found


def press(page: Page, name: str) -> None:
    page.locator(f"#presses [data-press='{name}']").click()


def choose(page: Page, value: str) -> None:
    page.locator(f"#panel [data-value='{value}']").click()


@pytest.fixture
def cabled(new_page: Callable[..., Page], wire: Any) -> Page:
    """A page whose cable can be pulled."""
    return new_page(wire.address)


def test_the_common_three_take_at_most_two_touches_each(stage: Any, page: Page) -> None:
    page.evaluate(COUNT_TOUCHES)
    expected = []
    for number in range(LORRIES):
        passage = here(stage, page)
        touches = page.evaluate("window.touches")
        kind = ("nobody", "found", "not_searched")[number % 3]
        press(page, kind)
        if kind == "found":
            choose(page, str(number % 10 + 1))
        if kind == "not_searched":
            choose(page, "no_time")
        (row,) = recorded(stage, page, passage)
        expected.append((kind, row["outcome"]["response"], row["outcome"]["reason"], row["outcome"]["people"]))
        assert page.evaluate("window.touches") - touches <= 2
    answers = {"nobody": ("agreed", None), "found": ("agreed", None), "not_searched": ("overridden", "no_time")}
    assert expected == [
        (kind, *answers[kind], number % 10 + 1 if kind == "found" else None)
        for number in range(LORRIES)
        for kind in [("nobody", "found", "not_searched")[number % 3]]
    ]


def test_what_was_found_where_and_by_what_is_in_the_record_in_codes(stage: Any, new_page: Callable[..., Page]) -> None:
    page = new_page(locale="fr-FR")
    page.locator("#language").select_option("fr")
    passage = here(stage, page)
    press(page, "how")
    choose(page, "dog")
    expect(page.locator("#presses [data-press='how']")).to_have_text("Fouille : chien")
    press(page, "found")
    page.locator("#panel [data-place='rear']").click()
    choose(page, "3")
    (row,) = recorded(stage, page, passage)
    told = row["outcome"]
    assert (told["technique"], told["people"], told["where"]) == ("dog", 3, "rear")
    assert row["shown"] == {"level": "search", "revision": 1, "audited": False}


def test_all_of_it_by_keyboard(stage: Any, page: Page) -> None:
    passage = here(stage, page)
    page.keyboard.press("3")
    page.keyboard.press("2")
    (row,) = recorded(stage, page, passage)
    assert row["outcome"]["people"] == 2
    page.keyboard.press("u")
    expect(page.locator("#presses [data-press='nobody']")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("5")
    rows = recorded(stage, page, passage, 3)
    assert [row["revision"] for row in rows] == [1, 2, 3]
    assert [row["corrects"] for row in rows] == [None, rows[0]["sequence"], rows[1]["sequence"]]
    assert rows[1]["outcome"] is None
    assert rows[2]["outcome"]["reason"] == page.evaluate(
        "fetch('/settings').then((a) => a.json()).then((s) => s.reasons[4])"
    )


def test_checks_of_the_load_and_seals_are_a_correction_of_their_own(stage: Any, page: Page) -> None:
    passage = here(stage, page)
    press(page, "nobody")
    recorded(stage, page, passage)
    press(page, "details")
    page.locator("#panel [data-press='all_good']").click()
    page.get_by_label("Locks").select_option("broken")
    page.get_by_label("Seal number").fill("UK \u202e4711<b>")
    page.get_by_label("Minutes").fill("11.5")
    page.locator("#panel [data-press='save']").click()
    expect(page.locator("#panel")).not_to_be_visible()
    stage.wait_for_outcomes(passage, 2)
    rows = [row for row in stage.outcomes() if row["passage_id"] == passage]
    told = rows[1]["outcome"]
    assert rows[1]["corrects"] == rows[0]["sequence"]
    assert told["secured"]["locks"] == "broken"
    assert set(told["secured"].values()) == {"ok", "broken"}
    assert (told["seals"][0]["number"], told["minutes"]) == ("UK 4711<b>", 11.5)


def test_a_button_pressed_twice_is_one_record(stage: Any, page: Page) -> None:
    passage = here(stage, page)
    page.locator("#presses [data-press='nobody']").dblclick()
    recorded(stage, page, passage)


def test_two_tabs_of_one_booth_give_one_record(stage: Any, page: Page, address: str) -> None:
    other = page.context.new_page()
    other.goto(address)
    passage = here(stage, page)
    expect(other.locator("#outcome")).to_have_attribute("data-passage", passage)
    expect(other.locator("#presses [data-press='nobody']")).to_be_enabled()
    for tab in (page, other):
        tab.evaluate("""() => {
            const pressing = () => document.querySelector("#presses [data-press=nobody]").click();
            new BroadcastChannel("both").onmessage = pressing;
        }""")
    page.evaluate("new BroadcastChannel('both').postMessage(null)")
    recorded(stage, page, passage)
    recorded(stage, other, passage)


def test_a_second_officers_press_is_shown_the_record_that_stands(
    stage: Any, page: Page, new_page: Callable[..., Page]
) -> None:
    tablet = new_page(viewport={"width": 900, "height": 700})
    passage = here(stage, page)
    expect(tablet.locator("#outcome")).to_have_attribute("data-passage", passage)
    expect(tablet.locator("#presses [data-press='nobody']")).to_be_enabled()
    held: list[Route] = []
    tablet.route("**/outcome", lambda route: held.append(route))
    press(tablet, "found")
    choose(tablet, "4")
    expect(tablet.locator("#unsent")).to_contain_text("4 found (by hand): being sent")
    press(page, "nobody")
    recorded(stage, page, passage)
    held[0].continue_()
    expect(tablet.locator("#note")).to_contain_text("Already recorded, yours was not added. Recorded")
    expect(tablet.locator("#note")).to_contain_text("searched (by hand), nobody")
    recorded(stage, tablet, passage)


def test_a_press_without_network_stays_visible_and_is_sent_once(stage: Any, cabled: Page, wire: Any) -> None:
    passage = here(stage, cabled)
    wire.switch("cut")
    press(cabled, "nobody")
    expect(cabled.locator("#unsent-list li")).to_contain_text("searched (by hand), nobody: kept here")
    expect(cabled.locator("#cover-word")).to_have_text("No contact with the booth's computer")
    expect(cabled.locator("#unsent-list button")).to_be_visible()
    cabled.locator("#unsent-list button").click(trial=True)  # the cover does not lie over it
    other = cabled.context.new_page()  # both tabs would like to send it
    wire.switch("pass")
    other.goto(wire.address)
    expect(cabled.locator("#unsent")).not_to_be_visible()
    expect(other.locator("#unsent")).not_to_be_visible()
    (row,) = recorded(stage, cabled, passage)
    assert row["outcome"]["found"] is False


def test_a_press_survives_the_page_that_it_was_made_on(stage: Any, cabled: Page, wire: Any) -> None:
    passage = here(stage, cabled)
    wire.switch("502")
    press(cabled, "nobody")
    expect(cabled.locator("#unsent-list li")).to_contain_text("kept here")
    later = cabled.context.new_page()
    cabled.close()
    wire.switch("pass")
    later.goto(wire.address)
    expect(later.locator("#outcome")).to_have_attribute("data-passage", passage)
    recorded(stage, later, passage)


def test_a_press_taken_back_before_it_was_sent_is_never_recorded(stage: Any, cabled: Page, wire: Any) -> None:
    passage = here(stage, cabled)
    wire.switch("cut")
    press(cabled, "nobody")
    expect(cabled.locator("#unsent-list li")).to_contain_text("kept here")
    cabled.locator("#unsent-list button").click()
    expect(cabled.locator("#unsent")).not_to_be_visible()
    wire.switch("pass")
    expect(cabled.locator("#presses [data-press='nobody']")).to_be_enabled()
    assert [row for row in stage.outcomes() if row["passage_id"] == passage] == []


def test_the_lorry_that_left_keeps_its_button_until_it_has_an_outcome(stage: Any, page: Page) -> None:
    gone = here(stage, page)
    stage.enter()
    row = page.locator(f'#last [data-passage="{gone}"]')
    expect(row).to_contain_text("outcome not entered")
    row.click()
    expect(page.locator("#outcome")).to_have_attribute("data-passage", gone)
    expect(page.locator("#presses [data-press='nobody']")).to_be_enabled()
    press(page, "nobody")
    expect(row).to_contain_text("searched (by hand), nobody")
    recorded(stage, page, gone)


def test_what_a_push_button_cannot_say_is_asked_for_once(stage: Any, page: Page) -> None:
    passage = here(stage, page)
    outcome = {"searched": False, "technique": None, "found": None, "people": None, "where": None, "minutes": None,
               "by": "officer", "secured": {}, "seals": [], "response": None, "reason": None}  # fmt: skip
    shown = {"level": "search", "revision": 1, "audited": False}
    body = {"schema": "lanepulse.outcome/1", "revision": 1, "corrects": None, "key": "box-0000000000000001",
            "entered_utc": "2026-03-01T10:16:00Z", "officer": None, "via": "buttons lane-io", "shown": shown,
            "outcome": outcome}  # fmt: skip
    stage.order(do="append", kind="outcome", passage_id=passage, body=body)
    press(page, "why")
    choose(page, "load_seen")
    expect(page.locator("#presses [data-press='why']")).to_have_count(0)
    rows = recorded(stage, page, passage, 2)
    assert (rows[1]["corrects"], rows[1]["outcome"]["reason"]) == (rows[0]["sequence"], "load_seen")
