"""Dark and air correction: what the open beam in the picture says, and what it cannot say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.radiograph import Axis, correct

ROWS, COLUMNS = 64, 256


def truth() -> NDArray[np.float64]:
    """Transmission of a lorry: cab, gap, trailer with something dense, air at both ends and above."""
    picture = np.ones((ROWS, COLUMNS))
    picture[30:, 40:70] = 0.5
    picture[20:, 80:220] = 0.25
    picture[40:, 120:140] = 0.03
    return picture


def measured(dark: NDArray[np.float64] | float = 0.0, seed: int = 1) -> NDArray[np.float32]:
    """As a fan of detector elements sees it: each with its own gain, and photon noise."""
    noise = np.random.default_rng(seed)
    gain = 0.8 - 0.2 * np.linspace(-1, 1, ROWS) ** 2 + noise.normal(0, 0.02, ROWS)
    lines = truth() * gain[:, None] * (1 + noise.normal(0, 0.003, (ROWS, COLUMNS)))
    dark_of_each = np.broadcast_to(np.asarray(dark, dtype=np.float64), (ROWS,))
    return np.asarray(np.clip(lines + dark_of_each[:, None], 0, 1), dtype=np.float32)


def test_gains_and_dark_levels_go_and_air_is_one() -> None:
    dark = np.linspace(0.01, 0.05, ROWS)
    found = correct(measured(dark), dark.astype(np.float32))
    np.testing.assert_allclose(found.transmission, truth(), atol=0.02)
    assert found.axis is Axis.COLUMNS
    assert set(found.air_lines) >= set(range(39)) | set(range(221, COLUMNS))
    assert not set(found.air_lines) & set(range(40, 220))  # the gap between cab and trailer is no air
    assert (found.bad_elements, found.cause) == ((), None)


def test_a_picture_that_is_corrected_already_stays_as_it_is() -> None:
    picture = truth().astype(np.float32)
    found = correct(picture)
    np.testing.assert_allclose(found.transmission, picture, atol=1e-6)
    again = correct(found.transmission)
    np.testing.assert_array_equal(again.transmission, found.transmission)


def test_a_picture_on_its_side_is_corrected_along_its_rows() -> None:
    upright, turned = correct(measured()), correct(np.ascontiguousarray(measured().T))
    assert turned.axis is Axis.ROWS
    np.testing.assert_array_equal(turned.transmission, upright.transmission.T)


def test_dead_stuck_and_saturated_elements_are_masked_and_the_others_are_not() -> None:
    picture = measured()
    picture[10], picture[33], picture[50:52] = 0.0, 0.31, 1.0
    found = correct(picture)
    assert found.bad_elements == (10, 33, 50, 51)
    assert np.isnan(found.transmission[[10, 33, 50, 51]]).all()
    good = np.delete(found.transmission, [10, 33, 50, 51], axis=0)
    np.testing.assert_allclose(good, np.delete(truth(), [10, 33, 50, 51], axis=0), atol=0.02)


def test_a_saturated_sky_is_no_row_of_dead_elements() -> None:
    picture = measured()
    picture[:18] = 1.0  # nothing but air above the roof, at the top of the range
    assert correct(picture).bad_elements == ()


@pytest.mark.parametrize("kind", ["no air", "inverted", "dark"])
def test_without_an_open_beam_the_picture_stays_and_that_is_said(kind: str) -> None:
    picture = measured()
    if kind == "no air":
        picture = picture[25:, 85:215]
    elif kind == "inverted":
        picture = np.asarray(1 - np.clip(picture / picture.max(), 0, 1), dtype=np.float32)
    else:
        picture = picture * np.float32(0.01)
    found = correct(picture)
    assert found.cause is not None
    assert "no open beam" in found.cause
    np.testing.assert_array_equal(found.transmission, picture)
    assert found.air_level is None


def test_missing_rows_stay_missing_and_the_rest_is_corrected() -> None:
    picture = measured()
    picture[40:] = np.nan
    found = correct(picture)
    assert np.isnan(found.transmission[40:]).all()
    np.testing.assert_allclose(found.transmission[:40], truth()[:40], atol=0.02)


def test_a_dark_level_that_drifted_is_seen_as_too_much_transmission_and_not_hidden() -> None:
    drifted = correct(measured(0.05), 0.0)
    assert np.nanmedian(drifted.transmission[45:60, 125:135]) > 0.06  # 0.03 in truth


@pytest.mark.parametrize("dark", [np.zeros(7, dtype=np.float32), float("nan"), float("inf")])
def test_a_dark_level_that_does_not_fit_is_refused(dark: NDArray[np.float32] | float) -> None:
    with pytest.raises(ValueError, match="dark"):
        correct(measured(), dark)


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        correct(np.empty((0, 0), dtype=np.float32))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_any_picture_gives_shares_of_the_open_beam_or_nan(rows: int, columns: int, seed: int) -> None:
    noise = np.random.default_rng(seed)
    picture = noise.random((rows, columns)).astype(np.float32)
    picture[noise.random((rows, columns)) < 0.2] = np.nan
    found = correct(picture)
    there = found.transmission[~np.isnan(found.transmission)]
    assert ((there >= 0) & (there <= 1)).all()
    assert found.transmission.shape == picture.shape
