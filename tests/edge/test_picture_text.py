from __future__ import annotations

import numpy as np
import pytest

from drivers.reading import ClockQuality, Radiograph, RadiometricFrame, Stamp
from edge.picture_text import PLAIN, SHADES, contrast, picture
from edge.watching import PICTURE_ROWS, Panel
from hil.devices.gigevision import Scene

STAMP = Stamp(1_770_000_000_000_000_000, 1_770_000_000_000_000_000, 0, ClockQuality(True, 1))


def frame(place: float = 0.25) -> RadiometricFrame:
    scene = Scene(60, 80, 1)
    scene.show({"place": place})
    return RadiometricFrame("imager", STAMP, scene.look(), 1, "left")


def test_a_warm_shape_stands_where_it_is_and_the_bad_pixels_are_marked() -> None:
    image = np.zeros((32, 64), np.float32)
    image[8:24, 8:16] = 10.0
    image[0:4, 60:64] = np.nan
    rows = picture(image, 32, 8, 0.0, 10.0)
    assert [len(row) for row in rows] == [32] * 8
    assert rows[4][4:8] == SHADES[-1] * 4
    assert rows[4].count(SHADES[-1]) == 4
    assert rows[0].endswith("××")
    assert picture(image, 32, 8, 0.0, 10.0, ascii_only=True)[4][4:8] == PLAIN[-1] * 4


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (400, 2), (48, 64), (2000, 4000)])
@pytest.mark.parametrize("width", [1, 9, 76, 400])
def test_a_picture_of_any_size_fits_its_place(shape: tuple[int, int], width: int) -> None:
    rows = picture(np.ones(shape, np.float32), width, PICTURE_ROWS, 0.0, 1.0)
    assert 1 <= len(rows) <= PICTURE_ROWS
    assert {len(row) for row in rows} == {len(rows[0])}
    assert 1 <= len(rows[0]) <= width


def test_contrast_leaves_out_the_outermost_and_does_not_blow_up_noise() -> None:
    image = np.full((100, 100), 283.0, np.float32)
    image[0, 0] = 900.0
    assert contrast(image, 2.0) == (282.0, 284.0)
    assert contrast(np.full((2, 2), np.nan, np.float32), 2.0) == (0.0, 2.0)


@pytest.mark.parametrize("width", [40, 79, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_imagers_panel_is_a_live_picture_with_its_scale(width: int, ascii_only: bool) -> None:
    panel = Panel("imager", {})
    panel.see(frame(0.25))
    left = panel.rows(width, "ok", ascii_only=ascii_only)
    panel.see(frame(0.75))
    right = panel.rows(width, "ok", ascii_only=ascii_only)
    full = (PLAIN if ascii_only else SHADES)[-1]

    def middle(rows: list[str]) -> float:
        at = [row.index(full) / len(row) for row in rows[2:-1] if full in row]
        return sum(at) / len(at)

    assert max(map(len, left)) <= width
    assert len(left) <= 24
    assert left[-1].startswith("  empty 28")
    assert middle(left) < middle(right)


def test_a_radiograph_is_shown_too() -> None:
    panel = Panel("scanner", {})
    image = np.full((64, 128), 0.9, np.float32)
    image[20:, 30:60] = 0.1
    nothing = {"passage_hint": None, "dose_usv": None, "path": None, "sop_uid": ""}
    panel.see(Radiograph("scanner", STAMP, image, 0.004, 0.004, None, None, **nothing))  # type: ignore[arg-type]
    rows = panel.rows(79, "ok", ascii_only=True)
    assert "radiograph 64 x 128" in rows[1]
    assert "@" in rows[2]
    assert rows[-1] == "  empty 0.10, full 0.90 of the beam"
