"""The quick forms against numpy's and scipy's own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fusion.evidence.bands import analytic, band, hann
from fusion.evidence.conditioning import GRID_HZ
from fusion.evidence.median import median, medians
from fusion.evidence.rhythm import lagged
from fusion.evidence.spectra import FRAME, HOP, bins, lasting_power

FINITE = st.floats(-1e15, 1e15)


@given(st.integers(1, 9).flatmap(lambda n: arrays(np.float64, (3, n), elements=FINITE)))
def test_medians_have_the_bits_of_numpys(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    assert medians(values).tolist() == np.median(values, axis=1).tolist()
    assert median(values[0]) == float(np.median(values[0]))


@pytest.mark.parametrize("n", [100, 125, 1124, 1125])
def test_the_analytic_signal_of_a_band_is_hilberts(n: int) -> None:
    waves = np.random.default_rng(n).normal(size=(3, n))
    found = analytic(np.fft.rfft(waves), n, 3.0, 8.0)
    np.testing.assert_allclose(found, scipy.signal.hilbert(band(waves, 3.0, 8.0)), atol=1e-12)


def test_a_band_passes_its_sines_and_no_others() -> None:
    t = np.arange(500) / GRID_HZ
    inside, outside = np.sin(2 * np.pi * 3.0 * t), np.sin(2 * np.pi * 8.05 * t)
    np.testing.assert_allclose(band(inside + outside, 3.0, 8.0), inside, atol=1e-12)


@pytest.mark.parametrize("n", [100, 1125])
@pytest.mark.parametrize("left_out", [slice(0, 0), slice(40, 60), slice(0, None)])
def test_lasting_power_is_that_of_scipys_short_time_transform(n: int, left_out: slice) -> None:
    waves, keep = np.random.default_rng(n).normal(size=(3, n)), np.ones(n, np.bool_)
    keep[left_out] = False
    asked = bins(1.5, 8.0)
    taper = scipy.signal.get_window("hann", FRAME)
    starts = range(0, n - FRAME + 1, HOP)
    power = np.array([np.mean(np.abs(np.fft.rfft(waves[:, a : a + FRAME] * taper)) ** 2, axis=0) for a in starts])
    whole = np.array([keep[a : a + FRAME].all() for a in starts])
    expected = np.median(power[whole] if whole.any() else power, axis=0)[asked]
    np.testing.assert_allclose(lasting_power(waves, keep, asked), expected, rtol=1e-11)


def test_lagged_products_leave_out_what_is_not_kept() -> None:
    waves, keep = np.random.default_rng(1).normal(size=(2, 60)), np.ones(60, np.bool_)
    keep[20:31] = False
    known = np.where(keep, waves, 0.0)
    expected = [[float(known[i, : 60 - lag] @ known[i, lag:]) for lag in range(9)] for i in range(2)]
    np.testing.assert_allclose(lagged(waves, keep, 8), expected, atol=1e-12)


def test_a_window_that_is_shared_cannot_be_written_to() -> None:
    assert hann(64).tolist() == np.hanning(64).tolist()
    with pytest.raises(ValueError, match="read-only"):
        hann(64)[0] = 1.0
