from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from math import sqrt
from random import Random
from typing import Any

import pytest

from fusion.audit_draw import Case, Draw, Stratum, audit, keyed_number
from fusion.passage import BodyType
from fusion.ulid import ulid
from fusion.verdict import Level

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
IDS = [ulid(1_770_000_000_000_000_000 + n * 18_000_000_000, n.to_bytes(10, "big")) for n in range(100_000)]


def test_over_100_000_passages_the_frequencies_are_the_policy() -> None:
    numbers = [keyed_number(KEY, passage_id) for passage_id in IDS]
    for probability in (0.001, 0.005, 0.05, 0.5):
        share = sum(number < probability for number in numbers) / len(numbers)
        # Five standard errors of a binomial share: by chance once in 1.7 million keys, and this key is fixed.
        assert abs(share - probability) < 5 * sqrt(probability * (1 - probability) / len(numbers))


def test_neither_another_key_nor_the_passage_before_tells_the_number() -> None:
    numbers = [keyed_number(KEY, passage_id) for passage_id in IDS[:20_000]]
    others = [keyed_number(OTHER, passage_id) for passage_id in IDS[:20_000]]
    for pairs in (zip(numbers, others, strict=True), pairwise(numbers)):
        mean = sum((a - 0.5) * (b - 0.5) for a, b in pairs) / 20_000 * 12
        assert abs(mean) < 5 / sqrt(20_000)


def test_the_same_passage_draws_the_same_number() -> None:
    assert keyed_number(KEY, IDS[0]) == keyed_number(KEY, IDS[0])


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least 32"):
        keyed_number(b"short", IDS[0])


def case(**changes: Any) -> Case:
    return Case(**({"level": Level.NO_SEARCH, "body_type": BodyType.TANKER, "hour": 12} | changes))


def test_only_a_vehicle_that_would_not_be_searched_is_drawn() -> None:
    strata = [Stratum("all", 1.0)]
    assert audit(0.3, case(level=Level.SEARCH), strata) is None
    assert audit(0.3, case(level=Level.RECHECK), strata) is None
    drawn = audit(0.3, case(), strata)
    assert drawn is not None
    assert drawn.searched


def test_a_declaration_that_lowered_suspicion_draws_more() -> None:
    strata = [Stratum("rest", 0.05)]
    declared, rest = audit(0.1, case(declared_down=True), strata, 4.0), audit(0.1, case(), strata, 4.0)
    assert declared == Draw("rest, declared", 0.2, 0.1, True)
    assert rest == Draw("rest", 0.05, 0.1, False)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"hour": 22}, "night"),
        ({"hour": 5}, "night"),
        ({"hour": 6, "body_type": BodyType.REFRIGERATED}, "cold"),
        ({"hour": 21, "margin_log10_lr": 0.2}, "near"),
        ({"hour": 21, "margin_log10_lr": 0.21}, "rest"),
        ({"hour": 12, "margin_log10_lr": None}, "rest"),
    ],
)
def test_the_first_stratum_that_fits_decides(changes: dict[str, Any], fits: str) -> None:
    strata = [
        Stratum("night", 0.1, hours=(22, 6)),
        Stratum("cold", 0.1, body_types=frozenset({BodyType.REFRIGERATED})),
        Stratum("near", 0.1, near_log10_lr=0.2),
        Stratum("rest", 0.1),
    ]
    drawn = audit(0.5, case(**changes), strata)
    assert drawn is not None
    assert drawn.stratum == fits


def test_over_100_000_passages_each_stratum_has_its_share_whatever_the_score() -> None:
    strata = [Stratum("near", 0.05, near_log10_lr=0.3), Stratum("rest", 0.005)]
    random, counts, scores = Random(8), Counter[str](), defaultdict[bool, list[float]](list)
    for passage_id in IDS:
        number = keyed_number(KEY, passage_id)  # before the score is known
        margin = random.expovariate(1.0)
        drawn = audit(number, case(margin_log10_lr=margin, declared_down=random.random() < 0.1), strata, 5.0)
        assert drawn is not None
        counts[drawn.stratum] += 1
        counts[f"{drawn.stratum}: drawn"] += drawn.searched
        if drawn.stratum == "rest":
            scores[drawn.searched].append(margin)
    for name, probability in {"near": 0.05, "rest": 0.005, "near, declared": 0.25, "rest, declared": 0.025}.items():
        cases, drawn_cases = counts[name], counts[f"{name}: drawn"]
        assert abs(drawn_cases / cases - probability) < 5 * sqrt(probability * (1 - probability) / cases)
    means = [sum(each) / len(each) for each in (scores[True], scores[False])]
    # Beyond 0.3 the margin is exponential again: one standard deviation is 1, and drawn lorries are the small sample.
    assert abs(means[0] - means[1]) < 5 / sqrt(len(scores[True]))
