"""A share with its exact interval (Clopper and Pearson 1934), for reports of evaluations and of the record alike."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import betaincinv

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value between ``low`` and ``high`` at 95 %; None where there is nothing to estimate from, or no bound."""

    value: float | None
    low: float | None
    high: float | None

    def document(self) -> dict[str, float | None]:
        """For JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


UNKNOWN = Estimate(None, None, None)


def exact_share(cases: int, of: int, confidence: float = CONFIDENCE) -> Estimate:
    """``cases / of`` with Beta quantiles, half of the tail beyond either end; nothing out of nothing is unknown.

    Raises:
        ValueError: more cases than there are, or a negative count.
    """
    if not 0 <= cases <= of:
        raise ValueError(f"share: {cases} cases out of {of}; a share needs 0 <= cases <= of")
    if of == 0:
        return UNKNOWN
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if cases == 0 else float(betaincinv(cases, of - cases + 1, tail))
    high = 1.0 if cases == of else float(betaincinv(cases + 1, of - cases, 1.0 - tail))
    return Estimate(cases / of, low, high)
