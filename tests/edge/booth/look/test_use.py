"""The page for those who do not see it in full colour, read it enlarged, or press keys only."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

ALL = os.environ.get("LOOKS") == "all"
LEVELS = ("no_search", "recheck", "search", "open_now")
SIGHTS = ("protanopia", "deuteranopia", "tritanopia", "achromatopsia")
LEAST_CONTRAST = 7.0  # SCIENCE 7: outdoors; WCAG asks 4.5
SHAPE_APART = 0.1  # assumed: share of a shape's box in which two shapes differ, to be told apart at a glance
ZOOMED = {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2}  # a screen of 1280 x 800 at 200 %
NARROW = {"viewport": {"width": 320, "height": 640}}  # WCAG 1.4.10: 1280 at 400 %
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const what = one.id || one.dataset.press || one.dataset.passage || one.className || one.tagName;
  return {what, outline: style.outlineStyle, width: parseFloat(style.outlineWidth),
    seen: box.bottom > 0 && box.top < innerHeight};
}"""


def seen(element: Locator, pixels: Callable[[str], NDArray[np.uint8]]) -> NDArray[np.float64]:
    """What is on the screen of an element, as relative luminance 0..1 (WCAG), (rows, columns)."""
    shot = "data:image/png;base64," + base64.b64encode(element.screenshot(animations="disabled")).decode()
    share = pixels(shot)[..., :3] / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]), np.float64)


def contrast(luminance: NDArray[np.float64]) -> float:
    low, high = np.percentile(luminance, (1, 99))
    return float((high + 0.05) / (low + 0.05))


@pytest.mark.parametrize(
    ("sight", "light"), list(product(SIGHTS, ("light", "dark"))) if ALL else [("achromatopsia", "light")]
)
def test_word_and_shape_stand_out_and_shapes_differ_for_every_kind_of_sight(
    show: Callable[[str], str],
    new_page: Callable[..., Page],
    pixels: Callable[[str], NDArray[np.uint8]],
    sight: str,
    light: str,
) -> None:
    page = new_page(viewport={"width": 800, "height": 600}, color_scheme=light, reduced_motion="reduce")
    page.context.new_cdp_session(page).send("Emulation.setEmulatedVisionDeficiency", {"type": sight})
    shapes: dict[str, NDArray[np.bool_]] = {}
    for level in LEVELS:
        show(level)
        expect(page.locator("body")).to_have_attribute("data-level", level)
        assert contrast(seen(page.locator("#word"), pixels)) >= LEAST_CONTRAST, level
        shape = seen(page.locator("#shape svg"), pixels)
        assert contrast(shape) >= LEAST_CONTRAST, level
        shapes[level] = np.abs(shape - shape[0, 0]) > 0.5 * np.abs(shape - shape[0, 0]).max()
    for one, other in combinations(LEVELS, 2):
        assert float((shapes[one] != shapes[other]).mean()) > SHAPE_APART, (one, other)


@pytest.mark.parametrize("options", [ZOOMED, NARROW], ids=["200 %", "320 px"])
@pytest.mark.parametrize("level", LEVELS if ALL else LEVELS[2:3])
def test_enlarged_the_page_only_grows_downwards(
    show: Callable[[str], str], new_page: Callable[..., Page], level: str, options: dict[str, Any]
) -> None:
    show(level)
    page = new_page(**options)
    page.select_option("#language", "de")
    expect(page.locator("body")).to_have_attribute("data-level", level)
    assert page.evaluate(SIDEWAYS) == 0
    for name in ("#word", "#lines", "#presses"):
        box, width = page.locator(name).bounding_box(), options["viewport"]["width"]
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    word = page.locator("#word").bounding_box()
    assert word is not None
    assert word["y"] < options["viewport"]["height"] / 2, "the level is seen before anything is scrolled"


def test_with_keys_only_everything_is_reached_in_order_and_seen_to_be(show: Callable[[str], str], page: Page) -> None:
    show("no_search")
    show("search")
    expect(page.locator("body")).to_have_attribute("data-level", "search")
    expect(page.locator("#last button")).not_to_have_count(0)
    expect(page.locator("#presses button").first).to_be_enabled()
    wanted = page.locator("button:visible, select:visible").evaluate_all(
        "all => all.map((one) => one.id || one.dataset.press || one.dataset.passage || one.className)"
    )
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        reached.append(focus["what"])
        assert focus["outline"] == "solid", focus
        assert focus["width"] >= 3, focus
        assert focus["seen"], focus
    assert reached == wanted


def test_a_panel_keeps_the_focus_and_gives_it_back(show: Callable[[str], str], page: Page) -> None:
    show("search")
    expect(page.locator("#vehicle")).to_be_visible()  # buttons are drawn after the level
    page.locator("#vehicle").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#panel")).to_be_visible()
    for _ in range(page.locator("#panel button").count() + 2):
        page.keyboard.press("Tab")
        inside = page.evaluate(
            "document.activeElement === document.body || Boolean(document.activeElement.closest('#panel'))"
        )
        assert inside
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "vehicle"


def test_a_level_is_spoken_as_an_alert_only_when_life_is_at_risk(show: Callable[[str], str], page: Page) -> None:
    for level in LEVELS:
        show(level)
        expect(page.locator("body")).to_have_attribute("data-level", level)
        expect(page.locator("#spoken")).to_have_attribute("role", "alert" if level == "open_now" else "status")


def test_only_open_now_moves_and_not_for_those_who_asked_for_less(
    show: Callable[[str], str], new_page: Callable[..., Page]
) -> None:
    moving, still = new_page(reduced_motion="no-preference"), new_page(reduced_motion="reduce")
    for level in LEVELS:
        show(level)
        for page in (moving, still):
            expect(page.locator("body")).to_have_attribute("data-level", level)
        count = "document.getAnimations().length"
        assert (moving.evaluate(count) > 0) == (level == "open_now")
        assert still.evaluate(count) == 0
    flash = moving.evaluate("document.getAnimations()[0].effect.getTiming().duration")
    assert flash >= 1000 / 3, "WCAG 2.3.1: at most three a second"
