"""The engineer's page: what each device answers, what was calibrated, how it drifts, and what helps."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Page, expect

from calibration.store import Store
from edge.booth.faults import MOST_FAULTS, Faults
from edge.places import Places

SIZES = {"booth": (1920, 1080), "tablet": (820, 1180), "phone": (390, 844)}
ALL = os.environ.get("LOOKS") == "all"
LANGUAGES, LIGHTS = (("en", "fr", "nl", "de"), ("light", "dark")) if ALL else (("en",), ("dark",))
AA = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
DEVICES = """
[devices.probe]
driver = "co2.vaisala_gmp25x"
port = "/dev/no-such-probe"
point = "inside"
"""
NO_CONTACT = "no connection within 5 s; check its power, cable and address"


def draft(day: int, zero_ppm: float) -> dict[str, Any]:
    until = "2026-02-01T00:00:00.000Z"
    return {
        "device": {"name": "probe", "modality": "co2", "driver": "co2.vaisala_gmp25x", "serial": "X1"},
        "procedure": "two-point", "procedure_version": 1, "performed_utc": f"2026-01-{day:02d}T00:00:00.000Z",
        "valid_until_utc": until, "operator": "uid 1000", "verdict": "pass", "activates": True,
        "results": [{"name": "zero", "unit": "ppm", "value": zero_ppm, "standard_uncertainty": 2.0}],
        "settings": {"scale": {"value": {"gain": 1.02, "offset_ppm": -3.0}, "valid_until_utc": until}},
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def equipped(stage: Any) -> None:
    """The lane has a probe whose zero runs away, and whose calibration is over."""
    with (stage.root / "lane.toml").open("a") as file:
        file.write(DEVICES)
    store, key = Store(Places.under(stage.root).calibrations), Ed25519PrivateKey.generate()
    for day, zero_ppm in enumerate((0.0, 1.0, -1.0, 0.5, -0.5, 30.0, 45.0, 60.0), 1):
        store.append(draft(day, zero_ppm), None, key)


@pytest.fixture
def desk(stage: Any, address: str, new_page: Callable[..., Page]) -> Callable[..., Page]:
    def opened(**options: Any) -> Page:
        page = new_page(f"{address}/engineer", **options)
        expect(page.locator("#devices tr")).to_have_count(2)
        return page

    return opened


def test_each_device_gives_three_answers(stage: Any, desk: Callable[..., Page]) -> None:
    page = desk()
    expect(page.locator("#devices tr").first.locator("td.answer")).to_have_text(["✓ yes", "✓ yes", "✓ yes"])
    stage.order(do="sick", sick={"co2": NO_CONTACT})
    row = page.locator("#devices tr", has_text="CO2")
    expect(row.locator("td.answer")).to_have_text(["✗ no", "✗ no", "✗ no"])
    expect(row).to_contain_text(NO_CONTACT)
    stage.order(do="sick", sick={})
    expect(row.locator("td.answer.no")).to_have_count(0)


def test_a_fault_stays_listed_with_what_helps_and_when_it_ended(stage: Any, desk: Callable[..., Page]) -> None:
    stage.order(do="sick", sick={"vibration": "flat at 0 counts"})
    page = desk()
    row = page.locator("#faults tr", has_text="flat at 0 counts")
    expect(row).to_contain_text("stuck at one value", timeout=15_000)
    expect(row).to_contain_text("Switch it off and on")
    expect(row.locator("td").nth(1)).to_have_text("still")
    stage.order(do="sick", sick={})
    expect(row.locator("td").nth(1)).not_to_have_text("still", timeout=15_000)


def test_a_calibration_that_is_over_and_a_zero_that_runs_away_are_said(desk: Callable[..., Page]) -> None:
    row = desk().locator("#calibrations tr")
    expect(row).to_contain_text("two-point, 8")
    expect(row).to_contain_text("2026-02-01 ✗ calibration expired")
    expect(row.locator(".drift")).to_contain_text("two-point: zero")
    expect(row.locator(".drift")).to_contain_text("OUT OF LIMITS")


def test_the_last_vehicles_signals_are_drawn(show: Callable[[str], str], desk: Callable[..., Page]) -> None:
    show("search")
    page = desk()
    expect(page.locator("#signals .part")).to_have_count(4, timeout=15_000)
    expect(page.locator("#signals img")).to_have_count(2)


def test_clock_record_and_disk_are_told(desk: Callable[..., Page]) -> None:
    facts = desk().locator("#facts")
    expect(facts).to_contain_text("synchronised, ± 0.001 ms")
    expect(facts).to_contain_text("written")
    expect(facts).to_contain_text("GB free", timeout=15_000)


def test_a_silent_lane_leaves_nothing_that_looks_true(stage: Any, desk: Callable[..., Page]) -> None:
    page = desk()
    stage.stop(kill=True)
    expect(page.locator("#note")).to_contain_text("No contact with the lane")
    expect(page.locator("#devices tr")).to_have_count(0)
    stage.start()
    expect(page.locator("#devices tr")).to_have_count(2)
    expect(page.locator("#note")).to_have_text("")


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_it_fits_and_axe_finds_nothing(
    stage: Any, desk: Callable[..., Page], show: Callable[[str], str], size: str, light: str, language: str
) -> None:
    show("search")
    stage.order(do="sick", sick={"co2": NO_CONTACT})
    width, height = SIZES[size]
    page = desk(viewport={"width": width, "height": height}, color_scheme=light)
    if language != "en":
        page.evaluate("(name) => localStorage.setItem('lanepulse.language', name)", language)
        page.reload()
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator("#calibrations tr")).to_have_count(1)
    expect(page.locator("#signals img")).to_have_count(2, timeout=15_000)
    page.locator("#signals img").evaluate_all("all => Promise.all(all.map((one) => one.decode()))")
    expect(page.locator("#devices td.answer.no")).to_have_count(3)
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"engineer-{size}-{light}-{language}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    found: Any = Axe().run(page, options=AA).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
    stage.order(do="sick", sick={})


def status(cause: str | None) -> dict[str, Any]:
    good = cause is None
    device = {"name": "probe", "modality": "co2", "there": good, "on_time": good, "believes_itself": good}
    return {"devices": [{**device, "cause": cause}]}


def test_a_fault_that_keeps_its_kind_is_one_fault_whatever_its_figures() -> None:
    faults = Faults()
    for second in range(5):
        faults.see(status(f"silent for {second}.0 s"), second * 1000)
    faults.see(status(None), 9000)
    (one,) = faults.document()
    assert (one["began_ms"], one["ended_ms"], one["cause"]["text"]) == (0, 9000, "silent for 4.0 s")


def test_faults_are_bounded_and_a_device_that_is_gone_has_no_open_one() -> None:
    faults = Faults()
    for second in range(3 * MOST_FAULTS):
        faults.see(status("frozen" if second % 2 else None), second)
    faults.see({"devices": "no list"}, 10_000)
    assert len(faults.document()) == MOST_FAULTS
    assert faults.document()[0]["ended_ms"] == 10_000
