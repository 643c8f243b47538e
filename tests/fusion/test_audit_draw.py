from __future__ import annotations

from itertools import pairwise
from math import sqrt

import pytest

from fusion.audit_draw import Stratum, audit, keyed_number
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


def test_only_a_vehicle_that_would_not_be_searched_is_drawn() -> None:
    strata = [Stratum("all", 1.0)]
    assert audit(0.3, Level.SEARCH, BodyType.TANKER, False, strata) is None
    drawn = audit(0.3, Level.NO_SEARCH, BodyType.TANKER, False, strata)
    assert drawn is not None
    assert drawn.searched


def test_a_declaration_that_lowered_suspicion_draws_from_its_own_stratum() -> None:
    strata = [Stratum("declared", 0.2, declared_down=True), Stratum("rest", 0.01)]
    declared = audit(0.1, Level.NO_SEARCH, BodyType.SOFT_SIDED, True, strata)
    rest = audit(0.1, Level.NO_SEARCH, BodyType.SOFT_SIDED, False, strata)
    assert declared is not None
    assert rest is not None
    assert (declared.searched, rest.searched) == (True, False)
