"""Every face of the page at every size, by day and night, in every language: nothing spills over, nothing is too small
to touch, and axe finds nothing against WCAG 2.2 AA. `make test-browser` takes all of them, the tests a sample; pictures
of each are kept where SCREENSHOTS says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

SIZES = {"booth": (1920, 1080), "tablet": (820, 1180), "phone": (390, 844)}
LIGHTS = {"day": "light", "night": "dark"}
LANGUAGES = ("en", "fr", "nl", "de")
LEVELS = ("no_search", "recheck", "search", "open_now")
STATES = (*LEVELS, "measuring", "waiting")
TOUCH_PX = 60
ALL = os.environ.get("LOOKS") == "all"
AA = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
# Elements that reach beyond the window, and boxes whose text is wider than they are.
SPILLS = """() => [...document.querySelectorAll('body *')].filter((one) => {
  const box = one.getBoundingClientRect();
  if (!box.width || !box.height || !one.checkVisibility() || one.closest('.aside, svg, [hidden]')) return false;
  const scrolls = ['auto', 'scroll'].includes(getComputedStyle(one).overflowX);
  const wide = !scrolls && one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1;
  return box.right > innerWidth + 1 || box.left < -1 || wide;
}).map((one) => `${one.tagName} ${one.id} ${one.className} ${one.textContent.slice(0, 40)}`)"""
# Boxes that hold their text only because a word of it was cut in two.
CUT = """() => {
  document.body.style.overflowWrap = "normal";
  document.getElementById("word").style.overflowWrap = "normal";
  const cut = [...document.querySelectorAll('h1, h2, h3, p, li, button, span')].filter((one) => one.checkVisibility()
    && !one.closest('.aside') && one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1);
  return cut.map((one) => one.textContent.slice(0, 60));
}"""
SMALL = """(least) => [...document.querySelectorAll('button, select, input, a')].filter((one) => {
  const box = one.getBoundingClientRect();
  return one.checkVisibility() && box.width && (box.width < least - 0.5 || box.height < least - 0.5);
}).map((one) => `${one.id} ${one.textContent.slice(0, 40)} ${JSON.stringify(one.getBoundingClientRect())}`)"""


def cases() -> Iterator[tuple[str, str, str, str]]:
    """All faces, or of each state and size one, so chosen that lights and languages take turns."""
    every = product(STATES, SIZES, LIGHTS, LANGUAGES)
    if ALL:
        yield from every
        return
    lights, languages = tuple(LIGHTS), LANGUAGES
    for row, state in enumerate(LEVELS):
        for column, size in enumerate(SIZES):
            yield state, size, lights[(row + column) % 2], languages[(row + column) % 4]
    yield "measuring", "phone", "night", "de"
    yield "waiting", "booth", "day", "fr"
    yield "open_now", "phone", "day", "de"  # the longest words beside the widest frame


def opened(new_page: Callable[..., Page], size: str, light: str, language: str) -> Page:
    width, height = SIZES[size]
    page = new_page(viewport={"width": width, "height": height}, color_scheme=LIGHTS[light])
    page.select_option("#language", language)
    expect(page.locator("html")).to_have_attribute("lang", language)
    return page


def settled(page: Page, state: str) -> None:
    """The state is on the screen, its pictures are there, and nothing moves."""
    expect(page.locator("body")).to_have_attribute("data-covered", "no")
    expect(page.locator("body")).to_have_attribute(
        "data-phase", state if state in ("measuring", "waiting") else "prompt"
    )
    expect(page.locator("body")).to_have_attribute("data-level", state if state in LEVELS else "none")
    if state in LEVELS:
        expect(page.locator(".seen img")).to_have_count(2)
        page.locator(".seen img").evaluate_all("all => Promise.all(all.map((one) => one.decode()))")
    page.evaluate("document.getAnimations().forEach((one) => { one.pause(); one.currentTime = 0; })")


def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def violations(page: Page) -> list[str]:
    found: Any = Axe().run(page, options=AA).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in found]


@pytest.mark.parametrize(("state", "size", "light", "language"), list(cases()))
def test_each_face_fits_is_large_enough_to_touch_and_has_no_fault_that_axe_knows(
    show: Callable[[str], str], new_page: Callable[..., Page], state: str, size: str, light: str, language: str
) -> None:
    show(state)
    page = opened(new_page, size, light, language)
    settled(page, state)
    keep(page, f"{state}-{size}-{light}-{language}")
    assert page.evaluate(SPILLS) == []
    assert page.evaluate(SMALL, TOUCH_PX) == []
    assert violations(page) == []
    assert page.evaluate(CUT) == []
    prompt = page.locator("#prompt").bounding_box()
    assert prompt is not None
    assert prompt["y"] + prompt["height"] <= SIZES[size][1], "the whole prompt is seen without scrolling"
