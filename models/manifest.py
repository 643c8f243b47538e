"""The manifest of a released model: what binds the file, its features, its check set and its calibration together.

Strict JSON: a name given twice, NaN, an unknown key or a number out of range is refused with its path. Thresholds are
not stored; the tails of the calibration scores are, so that a site's own alpha, delta and pfa give their own bounds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import floor, inf, nextafter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fusion.classifier import Check, Contract
from fusion.decision import Thresholds
from fusion.verdict import MODALITIES
from models.miss_bound import order, spent_over_looks

MANIFEST_BYTES_MOST = 1 << 20  # assumed: ours is some 450 kB, most of it tails
LEAST_AGAINST, LEAST_FOR = -0.5, 0.5  # assumed: no verdict rests on less than three to one, whatever the tails say
LEAST_TAIL, TAIL = 40, 200  # scores kept of each tail; a bound that needs more is not given
SPENT = (0.02, 0.04, 0.08, 0.2, 0.66)  # assumed: of the error budget at each look; early ones decide on little
REACH_ALL = frozenset(
    {"vibration", "xray"}
)  # SCIENCE 2.1, 5: a floor carries, rays go through; 0.6 and 4 on the others
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=256)]
Row = Annotated[tuple[Finite, ...], Field(min_length=1, max_length=256)]


class ManifestRefused(Exception):
    """One line: which field, what was found."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PerModality(_Strict):
    """Feature names, in the model's order."""

    vibration: Names
    co2: Names
    mmwave: Names
    xray: Names


class KnownRow(_Strict):
    """Features of one row of the check set."""

    vibration: Row
    co2: Row
    mmwave: Row
    xray: Row


class KnownCase(_Strict):
    """An input and the contributions that the model must give."""

    features: KnownRow
    measured: tuple[bool, bool, bool, bool]
    context: Row
    look: Annotated[int, Field(ge=0, lt=64)]
    prior_log10_odds: Finite
    log10_lr: tuple[Finite, Finite, Finite, Finite]


class Tails(_Strict):
    """Calibration scores (sums of log10 likelihood ratios, never used in fitting) of one pattern at one look."""

    pattern: Annotated[str, Field(description="modalities that spoke, in order, joined by +")]
    look: Annotated[int, Field(ge=0, lt=64)]
    occupied: Annotated[int, Field(ge=0, description="occupied cases")]
    empty: Annotated[int, Field(ge=0)]
    occupied_lowest: Annotated[tuple[Finite, ...], Field(max_length=TAIL)]
    empty_highest: Annotated[tuple[Finite, ...], Field(max_length=TAIL)]
    cllr: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _sorted_and_whole(self) -> Tails:
        for name, tail, cases in (
            ("occupied_lowest", self.occupied_lowest, self.occupied),
            ("empty_highest", tuple(-s for s in self.empty_highest), self.empty),
        ):
            if list(tail) != sorted(tail) or not min(cases, LEAST_TAIL) <= len(tail) <= cases:
                raise ValueError(f"{self.pattern} look {self.look}: {name} is not the sorted tail of {cases} cases")
        return self


class Manifest(_Strict):
    """See the module. ``trained_on`` is repeated by every verdict.

    Raises:
        ValueError: a part of it does not fit another.
    """

    schema_: Literal["lanepulse.model/1"] = Field("lanepulse.model/1", alias="schema")
    name: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    trained_on: Literal["simulated", "mixed", "recorded"]
    calibration: Annotated[str, Field(max_length=200, description="which cases, from which seed or window")]
    learned: tuple[Literal["vibration", "co2", "mmwave", "xray"], ...]
    features: PerModality
    context: Names
    looks_s: Annotated[tuple[Annotated[float, Field(gt=0, le=600)], ...], Field(min_length=1, max_length=64)]
    spent: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], ...] | None,
        Field(description="share of the error budget of each look; alike where not given"),
    ] = None
    cap_log10_lr: Annotated[float, Field(gt=0, le=6)]
    checks: Annotated[tuple[KnownCase, ...], Field(min_length=1, max_length=256)]
    tails: tuple[Tails, ...]

    @model_validator(mode="after")
    def _fits(self) -> Manifest:
        for index, check in enumerate(self.checks):
            for modality in MODALITIES:
                given, due = len(getattr(check.features, modality)), len(getattr(self.features, modality))
                if given != due:
                    raise ValueError(f"checks.{index}.features.{modality}: {given} values for {due} features")
            if len(check.context) != len(self.context) or check.look >= len(self.looks_s):
                raise ValueError(f"checks.{index}: its context or look is not one of this model's")
        if self.spent is not None and (len(self.spent) != len(self.looks_s) or abs(sum(self.spent) - 1.0) > 1e-9):
            raise ValueError(f"spent: {list(self.spent)}: give a share for each of the looks, 1 together")
        keys = [(tail.pattern, tail.look) for tail in self.tails]
        if len(set(keys)) != len(keys):
            raise ValueError("tails: a pattern and look is given twice")
        return self

    def contract(self) -> Contract:
        """What the classifier holds the file to."""
        checks = tuple(
            Check(
                {m: getattr(c.features, m) for m in MODALITIES},
                c.measured,
                c.context,
                c.look,
                c.prior_log10_odds,
                c.log10_lr,
            )
            for c in self.checks
        )
        names = {m: getattr(self.features, m) for m in MODALITIES}
        looks = len(self.looks_s)
        return Contract(self.name, self.sha256, names, self.context, looks, frozenset(self.learned), checks)

    def thresholds(self, spoke: Sequence[str], look: int, alpha: float, delta: float, pfa: float) -> Thresholds:
        """Both bounds for the modalities that spoke, at one look; alpha, delta and pfa are shared over all looks.

        Either is None where the calibration cases are too few for it, or the pattern was never seen. While the cases
        are simulated, no modality says `no_search` alone: nothing then checks what the simulation left out; and one of
        those that spoke must reach the whole load space, which air in a wind and an imager's half of it do not.
        """
        pattern = "+".join(m for m in MODALITIES if m in spoke)
        tail = next((t for t in self.tails if (t.pattern, t.look) == (pattern, look)), None)
        if tail is None:
            return Thresholds(None, None)
        spent = spent_over_looks(1.0, len(self.looks_s))[0] if self.spent is None else self.spent[look]
        k = order(tail.occupied, alpha * spent, delta * spent)
        if self.trained_on == "simulated" and ("+" not in pattern or REACH_ALL.isdisjoint(spoke)):
            k = None
        kept = tail.occupied_lowest
        no_search = min(kept[k - 1], LEAST_AGAINST) if k is not None and k <= len(kept) else None
        alarms = floor(pfa * spent * tail.empty)  # empty cases that may lie over the bound
        # Strictly above the (alarms + 1)-th highest, because the rule for `search` is "at or over".
        search = None
        if 1 <= alarms < len(tail.empty_highest):
            search = max(nextafter(tail.empty_highest[alarms], inf), LEAST_FOR)
        return Thresholds(no_search, search)


def read_manifest(text: bytes) -> Manifest:
    """A manifest from the bytes of its file.

    Raises:
        ManifestRefused: not strict JSON, or not a manifest; names the field.
    """
    if len(text) > MANIFEST_BYTES_MOST:
        raise ManifestRefused(f"manifest: {len(text)} bytes; at most {MANIFEST_BYTES_MOST}")
    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise ManifestRefused(f"manifest: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise ManifestRefused(f"manifest: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} is given twice")
    return dict(pairs)


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")
