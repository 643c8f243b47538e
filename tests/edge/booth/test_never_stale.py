"""The screen never shows what is no longer known: whatever is killed, frozen, cut or asleep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

LONGEST_STALE_MS = 3_000 + 500  # three seconds of silence, and the page's own looking

# Each 50 ms what is on the screen, with the time since the last event came through the wire.
WATCH = """
window.seen = []; window.sounds = 0; window.heardAt = null;
const Source = window.EventSource;
window.EventSource = class extends Source {
  constructor(...given) {
    super(...given);
    super.addEventListener("lane", () => { window.heardAt = performance.now(); });
  }
};
const sound = AudioContext.prototype.createOscillator;
AudioContext.prototype.createOscillator = function () { window.sounds += 1; return sound.call(this); };
setInterval(() => {
  if (!document.body) return;
  const { covered, level } = document.body.dataset;
  window.seen.push({ silent: performance.now() - window.heardAt, covered: covered === "yes", level });
}, 50);
"""

# The script stands still for two seconds; what comes over the network meanwhile waits for it.
SLEEP = "setTimeout(() => { const end = Date.now() + 2000; while (Date.now() < end); }, 0)"


@pytest.fixture
def watched(new_page: Callable[..., Page]) -> Callable[[str], Page]:
    def opened(address: str) -> Page:
        page = new_page("about:blank")
        page.add_init_script(WATCH)
        page.goto(address)
        return page

    return opened


@pytest.fixture
def witness(page: Page) -> Page:
    """Another officer's page, which tells when the booth knows something."""
    return page


def stale(page: Page) -> list[Any]:
    """What was on the screen although nothing had been heard for too long."""
    seen: list[dict[str, Any]] = page.evaluate("window.seen")
    assert seen
    return [one for one in seen if one["silent"] > LONGEST_STALE_MS and not one["covered"]]


def test_a_killed_lane_is_covered_and_comes_back_by_itself(stage: Any, watched: Any, address: str) -> None:
    stage.lorry("no_search")
    page = watched(address)
    expect(page.locator("#word")).to_have_text("No search prompted")
    stage.stop(kill=True)
    expect(page.locator("#cover-word")).to_have_text("No contact with the lane")
    expect(page.locator("#word")).not_to_be_visible()
    stage.start()
    expect(page.locator("body")).to_have_attribute("data-covered", "no")
    expect(page.locator("#word")).to_have_text("Waiting for a vehicle")
    stage.lorry("search")
    expect(page.locator("#word")).to_have_text("Search this vehicle")
    assert stale(page) == []


@pytest.mark.parametrize(
    ("who", "says"), [("stage", "No contact with the lane"), ("booth", "No contact with the booth's computer")]
)
def test_what_is_frozen_is_covered(
    stage: Any, watched: Any, request: pytest.FixtureRequest, address: str, who: str, says: str
) -> None:
    passage = stage.lorry("no_search")
    page = watched(address)
    expect(page.locator("#word")).to_have_text("No search prompted")
    with request.getfixturevalue(who).frozen():
        expect(page.locator("#cover-word")).to_have_text(says)
        expect(page.locator("body")).to_have_attribute("data-level", "none")
    expect(page.locator("body")).to_have_attribute("data-covered", "no")
    expect(page.locator("#word")).to_have_text("No search prompted")
    stage.verdict(passage, "open_now", revision=2)
    expect(page.locator("#word")).to_have_text("Open now, life at risk")
    assert stale(page) == []


def test_a_gateway_that_refuses_is_covered_and_live_again_when_it_no_longer_does(
    stage: Any, watched: Any, wire: Any
) -> None:
    stage.lorry("no_search")
    page = watched(wire.address)
    expect(page.locator("#word")).to_have_text("No search prompted")
    wire.switch("cut")
    expect(page.locator("#cover-word")).to_have_text("No contact with the booth's computer")
    wire.switch("502")
    stage.leave()
    wire.switch("pass")
    expect(page.locator("#word")).to_have_text("Waiting for a vehicle")
    assert stale(page) == []


def test_a_page_that_is_opened_before_the_booth_answers_waits_for_it(stage: Any, watched: Any, wire: Any) -> None:
    stage.lorry("search")
    page = watched(wire.address)
    page.context.route("**/settings", lambda route: route.fulfill(status=502, body="<h1>502</h1>"))
    page.reload()
    expect(page.locator("#cover")).to_be_visible()
    expect(page.locator("#word")).not_to_be_visible()
    page.context.unroute("**/settings")
    expect(page.locator("#word")).to_have_text("Search this vehicle")


def test_what_a_slow_network_kept_back_is_not_shown_as_new(stage: Any, watched: Any, wire: Any) -> None:
    stage.leave()
    page = watched(wire.address)
    expect(page.locator("#word")).to_have_text("Waiting for a vehicle")
    wire.switch("swallow")
    stage.lorry("open_now")
    expect(page.locator("#cover")).to_be_visible()
    stage.leave()
    stage.lorry("no_search")
    wire.switch("pass")
    expect(page.locator("#word")).to_have_text("No search prompted")
    assert page.evaluate("window.sounds") == 0
    assert [one for one in page.evaluate("window.seen") if one["level"] == "open_now"] == []


def test_a_tab_that_slept_shows_the_present_lorry_only_and_makes_no_old_sound(
    stage: Any, watched: Any, witness: Page, address: str
) -> None:
    left = stage.lorry("no_search")
    page = watched(address)
    expect(page.locator("#word")).to_have_text("No search prompted")
    page.evaluate(SLEEP)
    danger = stage.lorry("open_now")
    stage.lorry("recheck")
    expect(witness.locator("#word")).to_have_text("Measure again")
    expect(page.locator("#word")).to_have_text("Measure again")
    expect(page.locator(f'[data-passage="{danger}"]')).to_contain_text("Open now, life at risk")
    expect(page.locator(f'[data-passage="{left}"]')).to_contain_text("No search prompted")
    assert page.evaluate("window.sounds") == 0
    assert [one for one in page.evaluate("window.seen") if one["level"] == "open_now"] == []


def test_an_hour_of_sleep_covers_the_page_until_it_has_heard_anew(stage: Any, watched: Any, address: str) -> None:
    stage.lorry("no_search")
    page = watched("about:blank")
    page.clock.install()
    page.goto(address)
    expect(page.locator("#word")).to_have_text("No search prompted")
    with stage.frozen():  # nothing new comes: only the clock tells that the world went on
        page.clock.fast_forward("01:00:00")
        expect(page.locator("#cover")).to_be_visible()
    page.clock.resume()
    expect(page.locator("body")).to_have_attribute("data-covered", "no")


def test_a_tab_in_the_background_shows_nothing_and_sounds_nothing(
    stage: Any, watched: Any, witness: Page, address: str
) -> None:
    stage.leave()
    page = watched(address)
    expect(page.locator("#word")).to_have_text("Waiting for a vehicle")
    page.evaluate("""() => {
        Object.defineProperty(document, "visibilityState", { get: () => window.shownState ?? "hidden" });
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    stage.lorry("open_now")
    expect(page.locator("body")).to_have_attribute("data-covered", "yes")
    stage.leave()
    stage.enter()
    expect(witness.locator("#word")).to_have_text("Measuring")
    page.evaluate("""() => { window.shownState = "visible"; document.dispatchEvent(new Event("visibilitychange")); }""")
    expect(page.locator("#word")).to_have_text("Measuring")
    assert page.evaluate("window.sounds") == 0


def test_only_danger_sounds_and_it_is_silenced_in_every_tab(stage: Any, watched: Any, address: str) -> None:
    stage.lorry("search")
    page = watched(address)
    expect(page.locator("#word")).to_have_text("Search this vehicle")
    page.locator("#time").click()
    assert page.evaluate("window.sounds") == 0
    stage.lorry("open_now")
    page.wait_for_function("() => window.sounds > 0")
    other = page.context.new_page()
    other.add_init_script(WATCH)
    page.locator("#silence").click()
    other.goto(address)
    expect(other.locator("#word")).to_have_text("Open now, life at risk")
    assert other.evaluate("window.sounds") == 0
    expect(page.locator("#silence")).not_to_be_visible()
