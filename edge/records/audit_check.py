"""Were the audit's draws made as the site says? Each number is made again under the key, and frequencies are weighed.

Only who holds the secret can ask. What is checked: that key and strata stood in the journal before the vehicle came,
that the number is the key's, that it was compared with the probability written beside it, and that each verdict under
which a vehicle was let pass has its draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import comb, exp, lgamma, log
from typing import Any

from edge.audit import KIND, KIND_KEY
from edge.journal.journal import Row
from fusion.audit_draw import key_id, keyed_number

KINDS = (KIND, KIND_KEY, "passage.opened", "verdict")
UNLIKELY = 0.001  # two-sided; assumed: below, a supervisor looks


@dataclass(frozen=True, slots=True)
class Share:
    """One stratum: of ``vehicles`` under a probability, ``drawn`` were searched; ``p`` is the exact binomial's."""

    stratum: str
    probability: float
    vehicles: int
    drawn: int
    p: float


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found. ``faults`` name rows; ``other_keys`` are draws under secrets that are not at hand."""

    draws: int
    other_keys: int
    shares: tuple[Share, ...]
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong, and no stratum is off by more than chance explains."""
        return not self.faults and all(share.p >= UNLIKELY for share in self.shares)


def check(rows: Iterable[Row], key: bytes) -> Checked:
    """All draws of a journal; ``rows`` are those of `KINDS`, in order."""
    own, walk = key_id(key), _Walk(key)
    for row in rows:
        walk.take(row)
    counts: dict[tuple[str, float], list[int]] = {}
    for body in walk.draws:
        counted = counts.setdefault((str(body["stratum"]), float(body["probability"])), [0, 0])
        counted[0] += 1
        counted[1] += bool(body["drawn"])
    shares = tuple(
        Share(name, probability, of, drawn, binomial_p(drawn, of, probability))
        for (name, probability), (of, drawn) in sorted(counts.items())
    )
    others = sum(body.get("key_id") != own for body in walk.draws)
    return Checked(len(walk.draws), others, shares, tuple(walk.faults))


class _Walk:
    """The journal in its order: what was announced when a vehicle came, and what was drawn for it."""

    def __init__(self, key: bytes) -> None:
        self._key, self._own = key, key_id(key)
        self._announced: Mapping[str, Any] | None = None
        self._came_under: dict[str, str | None] = {}  # passage -> key that was announced when it came
        self._drawn: set[str] = set()
        self.draws: list[Mapping[str, Any]] = []
        self.faults: list[str] = []

    def take(self, row: Row) -> None:
        """One row."""
        body, passage_id = row.document(), row.passage_id or ""
        if row.kind == KIND_KEY:
            self._announced = body
        elif row.kind == "passage.opened":
            self._came_under[passage_id] = None if self._announced is None else self._announced["key_id"]
        elif row.kind == KIND:
            self.draws.append(body)
            self.faults += (f"row {row.sequence}: passage {passage_id}: {cause}" for cause in self._wrong(row, body))
            self._drawn.add(passage_id)
        elif body["level"] == "no_search" and self._came_under.get(passage_id) and passage_id not in self._drawn:
            self.faults.append(f"row {row.sequence}: passage {passage_id}: let pass without a draw")

    def _wrong(self, row: Row, body: Mapping[str, Any]) -> Iterator[str]:
        passage_id = row.passage_id or ""
        if passage_id in self._drawn:
            yield "drawn a second time"
        if self._came_under.get(passage_id) != body["key_id"]:
            yield "its key was not announced before the vehicle came"
        if body["key_id"] == self._own and body["number"] != keyed_number(self._key, passage_id):
            yield "its number is not the key's"
        if bool(body["drawn"]) != (body["number"] < body["probability"]):
            yield "number and probability say otherwise than what was done"


def binomial_p(successes: int, trials: int, probability: float) -> float:
    """Two-sided exact p: all outcomes that are no likelier than this one (as R's binom.test)."""
    if probability in (0.0, 1.0):
        return 1.0 if successes == trials * probability else 0.0
    here = _log_mass(successes, trials, probability)
    masses = (_log_mass(k, trials, probability) for k in range(trials + 1))
    return min(1.0, sum(exp(mass) for mass in masses if mass <= here + 1e-7))


def _log_mass(k: int, n: int, p: float) -> float:
    ways = log(comb(n, k)) if n < 64 else lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return ways + k * log(p) + (n - k) * log(1 - p)
