from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from fusion.evaluation.exact_share import UNKNOWN
from fusion.evaluation.exact_share import exact_share as share
from fusion.evaluation.metrics import TAIL, Merit, merit

Floats = NDArray[np.float64]


def drawn(seed: int, n: int, m: int, decimals: int = 6) -> tuple[Floats, Floats]:
    """Calibrated bi-Gaussian ratios, d' = 1.5 (SCIENCE 6.4), as log10."""
    random, d = np.random.default_rng(seed), 1.5
    shift, spread = d * d / 2 / np.log(10), d / np.log(10)
    return random.normal(shift, spread, n).round(decimals), random.normal(-shift, spread, m).round(decimals)


def roc_auc(occupied: Floats, empty: Floats) -> float:
    truth = np.concatenate([np.ones(len(occupied)), np.zeros(len(empty))])
    return float(roc_auc_score(truth, np.concatenate([occupied, empty])))


@pytest.mark.parametrize("decimals", [6, 1, 0])
def test_auc_is_that_of_scikit_learn_ties_too(decimals: int) -> None:
    occupied, empty = drawn(1, 80, 150, decimals)
    assert merit(occupied, empty).auc.value == pytest.approx(roc_auc(occupied, empty), abs=1e-12)


def test_cllr_is_the_formula_by_hand() -> None:
    occupied, empty = np.array([1.0, 2.0]), np.array([-1.0, 0.0, 1.0])
    by_hand = 0.5 * ((log2(1 + 1 / 10) + log2(1 + 1 / 100)) / 2 + (log2(1 + 0.1) + log2(1 + 1) + log2(1 + 10)) / 3)
    assert merit(occupied, empty).cllr.value == pytest.approx(by_hand, abs=1e-12)


def test_cllr_of_two_independent_gaussian_modalities_is_that_of_science_6_3() -> None:
    both = [one + other for one, other in zip(drawn(2, 20_000, 20_000, 2), drawn(3, 20_000, 20_000, 2), strict=True)]
    assert merit(*both).cllr.value == pytest.approx(0.475, abs=0.01)


def test_ratios_that_say_nothing_cost_1_and_have_an_auc_of_one_half() -> None:
    found = merit(np.zeros(10), np.zeros(20))
    assert (found.auc.value, found.cllr.value, found.cllr_min.value) == (0.5, 1.0, 1.0)


@pytest.mark.parametrize("decimals", [6, 1])
def test_cllr_min_is_cllr_after_the_isotonic_regression_of_scikit_learn(decimals: int) -> None:
    occupied, empty = drawn(3, 60, 120, decimals)
    truth = np.concatenate([np.ones(60), np.zeros(120)])
    p = IsotonicRegression(y_min=0, y_max=1).fit_transform(np.concatenate([occupied, empty]), truth)
    with np.errstate(divide="ignore"):
        odds = p / (1 - p) / (60 / 120)
        by_hand = 0.5 * (np.mean(np.log2(1 + 1 / odds[:60])) + np.mean(np.log2(1 + odds[60:])))
    assert merit(occupied, empty).cllr_min.value == pytest.approx(by_hand, abs=1e-9)


@given(
    st.lists(st.floats(-6, 6).map(lambda x: round(x, 2)), min_size=1, max_size=12),
    st.lists(st.floats(-6, 6).map(lambda x: round(x, 2)), min_size=1, max_size=12),
)
def test_no_calibration_that_keeps_the_order_costs_less_than_cllr_min(
    occupied: list[float], empty: list[float]
) -> None:
    found = merit(np.array(occupied), np.array(empty))
    assert found.cllr.value is not None and found.cllr_min.value is not None and found.auc.value is not None
    assert -1e-12 <= found.cllr_min.value <= min(1.0, found.cllr.value) + 1e-9
    assert 0.0 <= found.auc.value <= 1.0
    for part in (found.auc, found.cllr, found.cllr_min):
        assert part.low is None or (
            part.value is not None and part.high is not None and part.low <= part.value <= part.high
        )


def test_the_same_cases_give_the_same_interval_in_any_order() -> None:
    occupied, empty = drawn(4, 50, 70)
    assert merit(occupied, empty) == merit(occupied[::-1], empty[::-1])


def test_the_interval_of_the_auc_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = 0.8556  # Phi(1.5 / sqrt(2))
    held = 0
    for seed in range(60):
        found = merit(*drawn(100 + seed, 40, 80)).auc
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    assert held >= 52  # P(Bin(60, .93) < 52) < 3 %; the seeds are fixed


def test_separated_classes_are_not_surer_than_their_few_cases() -> None:
    found = merit(np.arange(10.0) + 1, -np.arange(30.0))
    assert (found.auc.value, found.auc.high) == (1.0, 1.0)
    assert found.auc.low == pytest.approx(binomtest(10, 10).proportion_ci(0.95, "exact").low)
    assert (found.cllr_min.value, found.cllr_min.high) == (0.0, None)


def test_one_class_alone_has_no_figures_and_few_cases_no_interval() -> None:
    assert merit(np.array([1.0]), np.array([])) == Merit(UNKNOWN, UNKNOWN, UNKNOWN)
    found = merit(np.array([1.0]), np.array([0.0, 2.0]))
    assert found.auc.value == 0.5 and found.auc.low is None


def test_a_ratio_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        merit(np.array([np.nan]), np.array([0.0]))


@pytest.mark.parametrize(("hits", "cases"), [(0, 10), (10, 10), (3, 10), (285, 300), (59, 59), (1, 1)])
def test_shares_have_the_exact_interval(hits: int, cases: int) -> None:
    due = binomtest(hits, cases).proportion_ci(0.95, "exact")
    found = share(hits, cases)
    assert (found.value, found.low, found.high) == pytest.approx((hits / cases, due.low, due.high), abs=1e-9)


def test_the_interval_of_none_in_n_is_by_hand() -> None:
    assert share(0, 20).high == pytest.approx(1 - TAIL ** (1 / 20))


def test_no_cases_are_no_share_and_more_hits_than_cases_an_error() -> None:
    assert share(0, 0) == UNKNOWN
    with pytest.raises(ValueError, match="3 cases out of 2"):
        share(3, 2)
