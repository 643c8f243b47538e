from __future__ import annotations

import pytest

from fusion.policy import PRIOR, Policy, prior_log10_odds
from fusion.verdict import Level


def test_the_default_prior_is_one_lorry_in_1250() -> None:
    assert prior_log10_odds(PRIOR) == pytest.approx(-3.0966, abs=1e-4)
    assert Policy().prior_log10_odds == prior_log10_odds(PRIOR)


@pytest.mark.parametrize("share", ["", "0/10", "1/0", "1/2", "2/3", "-1/5", "1/1e3", "0.001", "9" * 10 + "/1"])
def test_a_prior_that_is_no_small_share_is_refused(share: str) -> None:
    with pytest.raises(ValueError, match=r"policy\.prior"):
        prior_log10_odds(share)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"delta": 1.0}, "delta"),
        ({"pfa": float("nan")}, "pfa"),
        ({"looks_s": ()}, "looks_s"),
        ({"looks_s": (5.0, 5.0)}, "looks_s"),
        ({"looks_s": (0.0, 5.0)}, "looks_s"),
        ({"on_timeout": Level.NO_SEARCH}, "on_timeout"),
        ({"prior_log10_odds": float("inf")}, "prior"),
    ],
)
def test_a_policy_that_cannot_be_kept_names_its_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=rf"policy\.{field}"):
        Policy(**change)  # type: ignore[arg-type]
