"""The site's rules for turning evidence into a level: error rates wanted, looks, prior, and when time is up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite, log10

from fusion.verdict import Level

LOOKS_S = (5.0, 10.0, 15.0, 30.0, 45.0)  # the last is the time allowed
PRIOR = "1/1250"  # SCIENCE 6.1: one lorry in about 1,250; a site may give 1/300 to 1/2500


@dataclass(frozen=True, slots=True)
class Policy:
    """What a site decides. ``search_log10_lr`` None takes the threshold from the model's manifest.

    Raises:
        ValueError: a share is not strictly between 0 and 1, the looks do not rise, or time-out would mean `no_search`.
    """

    alpha: float = 0.05  # miss bound
    delta: float = 0.05  # confidence, per pattern, all looks together
    pfa: float = 0.01  # false alarms wanted at most
    looks_s: tuple[float, ...] = LOOKS_S
    on_timeout: Level = Level.RECHECK
    prior_log10_odds: float = log10(1 / 1249)
    search_log10_lr: float | None = None
    red_contact_searches: bool = False  # a closed detector's red prompts a search; it carries no weight of its own

    def __post_init__(self) -> None:
        for name in ("alpha", "delta", "pfa"):
            share = getattr(self, name)
            if not 0.0 < share < 1.0:
                raise ValueError(f"policy.{name}: {share}: give a share above 0 and below 1")
        if not self.looks_s or not all(a < b for a, b in zip((0.0, *self.looks_s), self.looks_s, strict=False)):
            raise ValueError(f"policy.looks_s: {list(self.looks_s)}: give rising seconds above 0")
        if self.on_timeout not in (Level.SEARCH, Level.RECHECK):
            raise ValueError(f"policy.on_timeout: {self.on_timeout.value}: give search or recheck, never no_search")
        if not isfinite(self.prior_log10_odds) or self.prior_log10_odds >= 0:
            raise ValueError(f"policy.prior: log10 odds {self.prior_log10_odds}: give a share below one half")


def prior_log10_odds(share: str) -> float:
    """log10 of p / (1 - p) from a share written as ``"1/1250"``.

    Raises:
        ValueError: not of that form, or not a share below one half.
    """
    form = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", share)
    if form is None or int(form[1]) < 1 or 2 * int(form[1]) >= int(form[2]):
        raise ValueError(f'policy.prior: {share[:40]!r}: give one lorry in so many, for example "1/1250"')
    occupied, lorries = int(form[1]), int(form[2])
    return log10(occupied / (lorries - occupied))
