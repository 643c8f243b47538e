"""The audit draw: which vehicles that would not be searched are searched all the same, unforeseeably.

It is the only honest source of a miss rate (Horvitz-Thompson weights by the inverse of the probability), and it keeps
the rule from being learned. The number is drawn from the passage's id under the site's key before the score is known,
and compared with the stratum's probability after it. A declaration that lowered suspicion raises the probability.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from fusion.passage import BodyType
from fusion.verdict import Level, Reason, State, Verdict

KEY_BYTES = 32  # as long as the digest, RFC 2104 section 3
_RESOLUTION_BITS = 53  # what a double holds exactly
_CHANGE_LOG10 = 1e-9  # of the log10 odds; verdicts add up to this
REASONS = {"audit.random": "Random check", "policy.search": "The site's rules ask for a search"}


@dataclass(frozen=True, slots=True)
class Case:
    """What of a judged vehicle decides on its stratum."""

    level: Level
    body_type: BodyType
    hour: int  # 0 to 23, of the site's clock
    margin_log10_lr: float | None = None  # how far under the bound of `no_search`; None where nobody can tell
    declared_down: bool = False  # a declaration lowered suspicion, or silenced a sensor


@dataclass(frozen=True, slots=True)
class Stratum:
    """Vehicles that share an audit probability; a field that is None matches every vehicle.

    Raises:
        ValueError: the probability is none.
    """

    name: str
    probability: float
    body_types: frozenset[BodyType] | None = None
    hours: tuple[int, int] | None = None  # from, to (excluded); (22, 6) is the night
    near_log10_lr: float | None = None  # no further than this under the bound of `no_search`

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"policy.audit.{self.name}.probability: {self.probability}: give 0 to 1")

    @property
    def fits_all(self) -> bool:
        """Whether every vehicle belongs to it."""
        return self.body_types is None and self.hours is None and self.near_log10_lr is None

    def fits(self, case: Case) -> bool:
        """Whether the vehicle belongs to it."""
        if self.body_types is not None and case.body_type not in self.body_types:
            return False
        if self.hours is not None:
            first, end = self.hours
            if (case.hour - first) % 24 >= ((end - first) % 24 or 24):
                return False
        near = self.near_log10_lr
        return near is None or (case.margin_log10_lr is not None and case.margin_log10_lr <= near)


@dataclass(frozen=True, slots=True)
class Draw:
    """What the journal keeps and nobody publishes."""

    stratum: str
    probability: float
    number: float
    searched: bool


def keyed_number(key: bytes, passage_id: str) -> float:
    """Uniform in [0, 1), the same for the same passage, unforeseeable without the key (HMAC-SHA-256).

    Raises:
        ValueError: the key is shorter than 32 bytes.
    """
    if len(key) < KEY_BYTES:
        raise ValueError(f"policy.audit.key: {len(key)} bytes; give at least {KEY_BYTES}")
    digest = hmac.new(key, b"lanepulse audit draw/1\0" + passage_id.encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _RESOLUTION_BITS)) / (1 << _RESOLUTION_BITS)


def key_id(key: bytes) -> str:
    """What the journal calls the key: it tells two keys apart and nothing about either."""
    return hashlib.sha256(b"lanepulse audit key/1\0" + key).hexdigest()[:16]


def audit(number: float, case: Case, strata: Sequence[Stratum], declared_times: float = 1.0) -> Draw | None:
    """Compare the number with the first stratum that fits; None where none does or a search is prompted.

    ``declared_times`` multiplies the probability where a declaration lowered suspicion.
    """
    if case.level is not Level.NO_SEARCH:
        return None
    for stratum in strata:
        if stratum.fits(case):
            name, probability = stratum.name, stratum.probability
            if case.declared_down and declared_times != 1.0:
                name, probability = f"{name}, declared", min(1.0, probability * declared_times)
            return Draw(name, probability, number, number < probability)
    return None


def declared_down(said: Verdict, unsaid: Verdict) -> bool:
    """Whether what somebody declared lowered suspicion or silenced a sensor: ``unsaid`` is judged without it."""
    if said.log10_odds < unsaid.log10_odds - _CHANGE_LOG10:
        return True
    pairs = zip(said.evidence, unsaid.evidence, strict=True)
    return any(a.state is not State.MEASURED and b.state is State.MEASURED for a, b in pairs)


def told(verdict: Verdict, code: str) -> Verdict:
    """The verdict of a vehicle that was drawn: a search, for the reason that the site gives.

    That the evidence speaks against somebody is no longer said first; the contributions stay what they are.

    Raises:
        ValueError: the verdict is not `no_search`, or the code is no reason for a draw.
    """
    if verdict.level is not Level.NO_SEARCH or code not in REASONS:
        raise ValueError(f"{code[:40]}: no reason to draw a vehicle with the verdict {verdict.level.value}")
    rest = tuple(reason for reason in verdict.reasons if reason.code != "score.under")
    first = Reason(code=code, text=REASONS[code])
    return verdict.model_copy(update={"level": Level.SEARCH, "reasons": (first, *rest)})
