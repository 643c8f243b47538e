from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from edge.records.intervals import chapman
from edge.records.misses import VERIFICATION_BIAS, Stratum, audit, detected, missed

YEAR = (  # SCIENCE 6.7
    Stratum("near", 0.05, 80_000, 4_000, 4_000, 6),
    Stratum("middle", 0.005, 400_000, 2_000, 2_000, 2),
    Stratum("far", 0.001, 1_120_000, 1_120, 1_120, 0),
)


def test_the_worked_year_is_told_in_one_statement_to_the_digit() -> None:
    told = missed(YEAR, 1_250, 300, 285, chapman(120, 90, 75), [("vehicles were to be measured again", 10)])
    assert told.audit is not None
    assert told.audit.searches == 7_120
    assert [round(x or 0) for x in (told.audit.missed.value, told.audit.missed.low, told.audit.missed.high)] == [
        520,
        118,
        4_132,
    ]
    assert [round(x or 0, 2) for x in (told.audit_pd.value, told.audit_pd.low, told.audit_pd.high)] == [
        0.71,
        0.23,
        0.91,
    ]
    words = " ".join(told.statement)
    for part in ("about 520", "118 to 4,132", "71 % (95 %: 23 to 91 %)", "95 % (95 %: 92 to 97 %)", "about 144", "135"):
        assert part in words
    assert "between 23 and 97 of 100" in words
    assert VERIFICATION_BIAS in told.not_known
    assert any("10 vehicles were to be measured again" in said for said in told.not_known)


def test_clean_audits_give_an_upper_bound_and_no_value_to_boast_of() -> None:
    clean = audit([replace(YEAR[0], found=0)])
    assert clean is not None
    assert (clean.missed.value, round(clean.missed.high or 0)) == (0.0, 60)  # 3.0 / 0.05
    told = missed([replace(YEAR[0], found=0)], 10, 0, 0, None)
    assert "found nobody: at most 60" in told.statement[0]


def test_eighteen_thousand_seven_hundred_clean_audits_show_a_residual_under_one_in_six_thousand() -> None:
    clean = audit([Stratum("all", 0.01, 1_870_000, 18_700, 18_700, 0)])
    assert clean is not None and clean.missed.high is not None
    assert clean.missed.high / 1_870_000 == pytest.approx(1.6e-4, rel=0.01)  # SCIENCE 6.7


def test_a_stratum_that_is_never_drawn_is_named_and_all_of_it_may_be_missed() -> None:
    found = audit([*YEAR, Stratum("vip", 0.0, 700, 0, 0, 0)])
    assert found is not None
    assert found.unreached == (("vip", 700),)
    assert round(found.missed.high or 0) == 4_132 + 700 and round(found.missed.value or 0) == 520


def test_draws_that_nobody_followed_weigh_on_those_that_were() -> None:
    half = Stratum("near", 0.05, 80_000, 4_000, 2_000, 3)
    found = audit([half])
    assert found is not None
    assert found.missed.value == pytest.approx(3 * 40.0)
    assert (found.discipline.cases, found.discipline.of) == (2_000, 4_000)


def test_no_more_can_be_missed_than_there_were() -> None:
    found = audit([Stratum("rare", 0.001, 50, 1, 1, 1)])
    assert found is not None
    assert (found.missed.value, found.missed.high) == (50, 50)


def test_nothing_known_stays_unknown() -> None:
    told = missed([], 0, 0, 0, None)
    assert told.together.low is None and told.audit is None
    assert "not known" in told.statement[0]
    assert detected(0, told.audit_pd).value is None


def test_the_audit_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    sizes, occupied, chances = (4_000, 20_000, 50_000), (40, 25, 10), (0.05, 0.02, 0.01)
    inside = 0
    for _ in range(300):
        strata = []
        for size, people, chance in zip(sizes, occupied, chances, strict=True):
            found, clean = int(random.binomial(people, chance)), int(random.binomial(size - people, chance))
            strata.append(Stratum(str(size), chance, size, found + clean, found + clean, found))
        told = audit(strata)
        assert told is not None
        inside += (told.missed.low or 0) <= sum(occupied) <= (told.missed.high or 0)
    assert stats.binomtest(inside, 300, 0.95, alternative="less").pvalue > 0.001
