"""What a drill was worth: found and overlooked, let go and searched in vain, and whether prompts were followed blindly.

``d_prime`` is how well the officer tells one from the other, whatever their inclination to search: Hautus' log-linear
form (Behavior Research Methods 1995, 27, 46), which stays finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Any, Literal

Answer = Literal["search", "let_go", "again"]
Kind = Literal["recorded", "simulated", "mixed", "projected"]
FEWEST_EACH = 3  # assumed: below, d' says nothing


@dataclass(frozen=True, slots=True)
class Answered:
    """One case, and what the officer did."""

    case_id: str
    kind: Kind
    occupied: bool
    level: str
    answer: Answer
    seconds: float

    @property
    def right(self) -> bool | None:
        """Whether it was right; None where it was to be measured again."""
        return None if self.answer == "again" else (self.answer == "search") == self.occupied


def score(answered: Sequence[Answered]) -> dict[str, Any]:
    """Counts, shares with their 95 % intervals, and d'."""
    from fusion.evaluation.exact_share import exact_share  # scipy.special: not for a booth that nobody practises at

    counts = {
        "hits": _count(answered, True, "search"),
        "overlooked": _count(answered, True, "let_go"),
        "in_vain": _count(answered, False, "search"),
        "let_go_rightly": _count(answered, False, "let_go"),
        "again": sum(one.answer == "again" for one in answered),
    }
    occupied, empty = counts["hits"] + counts["overlooked"], counts["in_vain"] + counts["let_go_rightly"]
    misled = [one for one in answered if _misleads(one)]
    return counts | {
        "cases": len(answered),
        "found": exact_share(counts["hits"], occupied).document(),
        "searched_in_vain": exact_share(counts["in_vain"], empty).document(),
        "d_prime": _d_prime(counts["hits"], occupied, counts["in_vain"], empty),
        "misleading_prompts": len(misled),
        "not_misled": sum(one.right is True for one in misled),
        "median_s": round(median(one.seconds for one in answered), 1) if answered else None,
    }


def _count(answered: Sequence[Answered], occupied: bool, answer: Answer) -> int:
    return sum(one.occupied is occupied and one.answer == answer for one in answered)


def _misleads(one: Answered) -> bool:
    """The prompt said the contrary of what was there."""
    return one.level == ("no_search" if one.occupied else "search")


def _d_prime(hits: int, occupied: int, in_vain: int, empty: int) -> float | None:
    if min(occupied, empty) < FEWEST_EACH:
        return None
    z = NormalDist().inv_cdf
    return round(z((hits + 0.5) / (occupied + 1)) - z((in_vain + 0.5) / (empty + 1)), 2)
