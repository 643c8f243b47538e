"""Pictures of the passage: what a browser decodes of them, and what it is told where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from edge.booth.images import Images, NoImage
from edge.booth.pictures import pictures
from edge.places import Places

Pixels = Callable[[str], NDArray[np.uint8]]
BOX = "one => ['x', 'y', 'width', 'height'].map((name) => Number(one.getAttribute(name)))"


@pytest.fixture
def lorry(stage: Any, recorded: Callable[..., Any], looked_at: Callable[..., dict[str, Any]]) -> str:
    """A search prompted by all four sensors, each with its picture."""
    passage_id: str = stage.enter()
    stage.verdict(passage_id, "search", **looked_at(recorded(passage_id), "search"))
    return passage_id


def test_the_warm_person_is_bright_within_the_outlined_region(
    page: Page, lorry: str, address: str, pixels: Pixels
) -> None:
    card = page.locator('.part[data-modality="mmwave"]')
    expect(card.locator("img")).to_be_visible()
    image = pixels(address + str(card.locator("img").get_attribute("src")))
    left, top, width, height = (share / 100 for share in card.locator("rect.over").evaluate(BOX))
    rows, columns = image.shape[:2]
    lines = slice(round(top * rows), round((top + height) * rows))
    inside = image[lines, round(left * columns) : round((left + width) * columns), 0]
    assert float(inside.mean()) > float(np.median(image[: rows * 2 // 3, :, 0])) + 60
    assert (image[..., 0] == image[..., 2]).all(), "grey"


def test_a_radiograph_is_as_wide_as_scanned_and_its_person_is_darker_than_the_void(
    page: Page, lorry: str, address: str, pixels: Pixels
) -> None:
    card = page.locator('.part[data-modality="xray"]')
    expect(card.locator("rect.over")).to_have_count(1)
    image = pixels(address + str(card.locator("img").get_attribute("src")))
    assert image.shape[:2] == (431, 1460)  # 14.6 m at 1 cm
    box = card.locator("rect.over").evaluate(BOX)
    at = int((box[0] + box[2] / 2) / 100 * 1460)
    assert abs(at - 580) < 25, "somebody sits 4.6 m from the rear end, which lies 1.2 m into the picture"
    column = image[250:280, at - 60 : at + 60, 0].mean(axis=0)
    assert column[50:70].mean() < column[:15].mean() - 40


def test_the_outline_lies_on_the_picture_and_nowhere_else(stage: Any, page: Page, lorry: str) -> None:
    for modality in ("mmwave", "xray"):
        card = page.locator(f'.part[data-modality="{modality}"]')
        card.locator("img").evaluate("image => image.decode()")
        image, outline = card.locator("img").bounding_box(), card.locator("svg.outline").bounding_box()
        assert image is not None
        assert outline is not None
        assert [round(image[n]) for n in ("x", "y", "width", "height")] == [
            round(outline[n]) for n in ("x", "y", "width", "height")
        ]


def test_curves_show_the_air_inside_over_the_outside_sample(stage: Any, page: Page, lorry: str) -> None:
    card = page.locator('.part[data-modality="co2"]')
    expect(card.locator("polyline.inside")).to_have_count(1)
    lowest_y = card.locator("polyline").evaluate_all(
        "all => all.map((one) => [one.getAttribute('class'), Math.min(...[...one.points].map((point) => point.y))])"
    )
    assert dict(lowest_y)["inside"] < dict(lowest_y)["outside"] - 20
    expect(card.locator(".key li")).to_contain_text(["inside 1,2", "outside 4"])
    expect(page.locator('.part[data-modality="vibration"] .sensors span')).to_have_text(["B1", "B2", "G1 ground"])


def test_a_radiograph_that_cannot_be_read_says_so_and_the_rest_stays(
    stage: Any, new_page: Callable[..., Page], recorded: Callable[..., Any], looked_at: Callable[..., dict[str, Any]]
) -> None:
    passage_id = stage.enter()
    seen = recorded(passage_id)
    file = Places.under(stage.root).bundles / passage_id / "xray.dcs"
    file.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 4096)
    stage.verdict(passage_id, "search", **looked_at(seen, "search"))
    page = new_page()
    expect(page.locator('.part[data-modality="xray"]')).to_contain_text("This picture cannot be read")
    expect(page.locator('.part[data-modality="mmwave"] img')).to_be_visible()


@pytest.mark.parametrize(
    ("passage_id", "name"),
    [("../etc", "frame-0"), ("nobody", "frame-0"), ("p", "frame-99"), ("p", "passage.json"), ("p", "../p/frame-0")],
)
def test_only_pictures_of_passages_are_given(tmp_path: Path, passage_id: str, name: str) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "mmwave.tiff").write_bytes(b"II*\0\x08\0\0\0" + b"\xff" * 400)
    with pytest.raises(NoImage):
        Images(tmp_path).png(passage_id, name)
    assert pictures(tmp_path, "p")["mmwave"] is None
