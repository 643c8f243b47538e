from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from models.miss_bound import fewest_cases, no_search_threshold, order, spent_over_looks


@pytest.mark.parametrize(("alpha", "cases"), [(0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598), (0.001, 2_995)])
def test_the_fewest_cases_are_those_of_the_published_rule(alpha: float, cases: int) -> None:
    assert fewest_cases(alpha, 0.05) == cases
    assert order(cases, alpha, 0.05) == 1
    assert order(cases - 1, alpha, 0.05) is None


@pytest.mark.parametrize(
    ("cases", "orders"),
    [(200, (5, 1, None)), (500, (17, 5, 2)), (1_000, (39, 13, 5)), (5_000, (225, 84, 39))],
)
def test_the_order_agrees_with_scipy_and_the_worked_table(cases: int, orders: tuple[int | None, ...]) -> None:
    for alpha, expected in zip((0.05, 0.02, 0.01), orders, strict=True):
        k = order(cases, alpha, 0.05)
        assert k == expected
        if k is not None:
            assert binom.cdf(k - 1, cases, alpha) <= 0.05 < binom.cdf(k, cases, alpha)


def test_too_few_cases_give_no_threshold() -> None:
    assert no_search_threshold([0.5] * 58, 0.05, 0.05) is None


def test_the_bound_is_kept_on_fresh_data_as_often_as_it_is_promised() -> None:
    # True miss rate of a Gaussian class is known, so no second sample is drawn; 95 % of calibrations must keep it.
    random = np.random.default_rng(20180202)
    broken = 0
    for _ in range(400):
        threshold = no_search_threshold(list(random.normal(2.0, 1.0, 300)), 0.05, 0.05)
        assert threshold is not None
        broken += threshold > 2.0 - 1.6448536269514722
    # At most 5 % may break it: 20 of 400; 40 would be 4.6 standard errors above that.
    assert broken <= 40


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        no_search_threshold([float("nan")] * 100, 0.05, 0.05)


def test_the_budget_over_looks_is_the_budget() -> None:
    assert sum(spent_over_looks(0.05, 5)) == pytest.approx(0.05)
