from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edge.records.intervals import (
    Blocks,
    block_share,
    chapman,
    count_bounds,
    per_exposure,
    per_find,
    quantile_ranks,
    share,
    weighted_count,
)


def test_a_share_is_what_scipy_says() -> None:
    for cases, of in ((0, 7), (7, 7), (285, 300), (1, 40_000)):
        ours = share(cases, of).estimate
        theirs = stats.binomtest(cases, of).proportion_ci(0.95, "exact")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_three_hundred_volunteers_of_whom_fifteen_were_missed() -> None:
    found = share(285, 300).estimate  # SCIENCE 6.7
    assert [round(x or 0, 3) for x in (found.value, found.low, found.high)] == [0.95, 0.919, 0.972]


def test_a_count_over_time_has_garwoods_bounds() -> None:
    assert count_bounds(0) == pytest.approx((0.0, 3.6889), abs=1e-4)
    assert count_bounds(10) == pytest.approx((4.7954, 18.3904), abs=1e-4)
    rate = per_exposure(10, 4.0)
    assert (rate.value, rate.low) == pytest.approx((2.5, 4.7954 / 4), abs=1e-4)


def test_the_worked_year_of_audits_comes_out_to_the_digit() -> None:
    missed = weighted_count((6, 2, 0), (1 / 0.05, 1 / 0.005, 1 / 0.001))  # SCIENCE 6.7
    assert [round(x or 0) for x in (missed.value, missed.low, missed.high)] == [520, 118, 4132]


def test_no_find_gives_the_rule_of_three() -> None:
    clean = weighted_count((0,), (1.0,))
    assert (clean.value, clean.low, clean.high) == (0.0, 0.0, pytest.approx(2.9957, abs=1e-4))


def test_two_blind_modalities_give_one_hundred_and_forty_four() -> None:
    there = chapman(120, 90, 75)  # SCIENCE 6.7
    assert (round(there.estimate.value or 0), round(there.standard_error), there.seen) == (144, 4, 135)
    assert (there.estimate.low or 0) > 135 - 1 and (there.estimate.high or 0) < 170


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_share_lies_inside_its_interval(cases: int, more: int) -> None:
    found = share(cases, cases + more).estimate
    if found.value is not None and found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_intervals_cover_what_they_promise() -> None:
    random = np.random.default_rng(5)
    means, weights = (4.0, 1.5, 0.4), (20.0, 200.0, 1000.0)
    truth = sum(m * w for m, w in zip(means, weights, strict=True))
    inside = 0
    for _ in range(400):
        there = weighted_count([int(random.poisson(m)) for m in means], weights)
        inside += (there.low or 0) <= truth <= (there.high or 0)
    assert stats.binomtest(inside, 400, 0.95, alternative="less").pvalue > 0.001


@pytest.mark.parametrize(("cases", "of"), [(2, 1), (-1, 4)])
def test_impossible_counts_are_refused(cases: int, of: int) -> None:
    with pytest.raises(ValueError, match="share"):
        share(cases, of)


def blocks(x: np.ndarray, n: np.ndarray) -> Blocks:
    return Blocks(int(x @ x), int(x @ n), int(n @ n), int((n > 0).sum()))


def test_days_that_are_alike_inside_tell_less_than_their_vehicles_and_the_interval_knows() -> None:
    random, inside, plain = np.random.default_rng(7), 0, 0
    for _ in range(300):
        n = random.poisson(50, 100)
        x = random.binomial(n, random.beta(2, 8, 100))  # a windy day prompts more
        found = block_share(int(x.sum()), int(n.sum()), blocks(x, n)).estimate
        inside += (found.low or 0) <= 0.2 <= (found.high or 0)
        naive = share(int(x.sum()), int(n.sum())).estimate
        plain += (naive.low or 0) <= 0.2 <= (naive.high or 0)
    assert stats.binomtest(inside, 300, 0.95, alternative="less").pvalue > 0.001
    assert plain < 200, "vehicles taken as independent would promise too much"


def test_days_that_do_not_differ_give_nearly_the_exact_interval() -> None:
    random = np.random.default_rng(8)
    n = random.poisson(50, 365)
    x = random.binomial(n, 0.03)
    ours, exact = block_share(int(x.sum()), int(n.sum()), blocks(x, n)).estimate, share(int(x.sum()), int(n.sum()))
    assert (ours.low or 0) <= (exact.estimate.low or 0) and (ours.high or 0) >= (exact.estimate.high or 0)
    assert (ours.high or 0) - (ours.low or 0) < 1.25 * ((exact.estimate.high or 0) - (exact.estimate.low or 0))


def test_one_day_alone_bounds_hardly_anything() -> None:
    found = block_share(50, 100, Blocks(2500, 5000, 10_000, 1)).estimate
    assert (found.low or 0) < 0.1 and (found.high or 0) > 0.9


def test_nobody_found_is_an_effort_of_at_least_so_much() -> None:
    assert per_find(300.0, 0).low == pytest.approx(300 / 3.6889, rel=1e-4)
    assert per_find(300.0, 0).high is None
    ten = per_find(300.0, 10)
    assert (ten.low, ten.value, ten.high) == pytest.approx((300 / 18.3904, 30.0, 300 / 4.7954), rel=1e-4)


def test_the_ranks_of_a_median_are_those_of_the_sign_test() -> None:
    assert quantile_ranks(0.5, 20) == (6, 15)  # the sign test leaves five at either end
    assert quantile_ranks(0.5, 5) == (None, None)
    for of, quantile in ((100, 0.5), (400, 0.95)):
        low, high = quantile_ranks(quantile, of)
        assert low and high
        inside = stats.binom.cdf(high - 1, of, quantile) - stats.binom.cdf(low - 1, of, quantile)
        assert 0.95 <= inside < 0.985
