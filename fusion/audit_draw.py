"""The audit draw: which vehicles that would not be searched are searched all the same, unforeseeably.

It is the only honest source of a miss rate (Horvitz-Thompson weights by the inverse of the probability), and it keeps
the rule from being learned. The number is drawn from the passage's id under the site's key before the score is known,
and compared with the stratum's probability after it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from fusion.passage import BodyType
from fusion.verdict import Level

KEY_BYTES = 32  # as long as the digest, RFC 2104 section 3
_RESOLUTION_BITS = 53  # what a double holds exactly


@dataclass(frozen=True, slots=True)
class Stratum:
    """Vehicles that share an audit probability; a field that is None matches every vehicle."""

    name: str
    probability: float
    body_types: frozenset[BodyType] | None = None
    declared_down: bool | None = None  # a declaration lowered suspicion, or forced out_of_limits

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"policy.audit.{self.name}.probability: {self.probability}: give 0 to 1")


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


def audit(
    number: float, level: Level, body_type: BodyType, declared_down: bool, strata: Sequence[Stratum]
) -> Draw | None:
    """Compare the number with the first stratum that fits; None where none does or a search is prompted."""
    if level is not Level.NO_SEARCH:
        return None
    for stratum in strata:
        fits_body = stratum.body_types is None or body_type in stratum.body_types
        fits_declaration = stratum.declared_down is None or stratum.declared_down == declared_down
        if fits_body and fits_declaration:
            return Draw(stratum.name, stratum.probability, number, number < stratum.probability)
    return None
