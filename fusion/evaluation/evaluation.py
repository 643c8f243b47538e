"""Many passages whose outcome is known, summed up: the object of FORMATS ``lanepulse.evaluation/1``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fusion.evaluation.case import ALARMS, Case
from fusion.evaluation.exact_share import Estimate, exact_share
from fusion.evaluation.metrics import Merit, difference, merit
from fusion.passage import BodyType
from fusion.verdict import MODALITIES, Level

SCHEMA = "lanepulse.evaluation/1"
DECIMALS = 6
LOOKS_MOST = 20  # assumed: a dataset of one kind of lane has five; bounds the work of strange ones
Kind = Literal["recorded", "simulated", "mixed"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one score is worth. Pd and Pfa are shares of found and of empty passages that alarmed."""

    merit: Merit
    pd: Estimate
    pfa: Estimate
    n_pos: int
    n_neg: int

    def document(self) -> dict[str, Any]:
        """The form of FORMATS."""
        parts = {"auc": self.merit.auc, "cllr": self.merit.cllr, "cllr_min": self.merit.cllr_min}
        parts |= {"pd": self.pd, "pfa": self.pfa}
        return {name: _rounded(part) for name, part in parts.items()} | {"n_pos": self.n_pos, "n_neg": self.n_neg}


@dataclass(frozen=True, slots=True)
class Decisions:
    """What became of vehicles: abstaining is not winning, so what was left open is counted too.

    ``decided``: share of all that were not asked to be measured again; ``cleared`` and ``asked``: shares of empty ones
    that needed no search, and that were searched or measured again; ``missed``: share of those with people that were
    told to need no search.
    """

    decided: Estimate
    cleared: Estimate
    asked: Estimate
    missed: Estimate
    n_pos: int
    n_neg: int

    def document(self) -> dict[str, Any]:
        """As JSON."""
        names = ("decided", "cleared", "asked", "missed")
        return {name: _rounded(getattr(self, name)) for name in names} | {"n_pos": self.n_pos, "n_neg": self.n_neg}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of a dataset. ``by_look`` is of what was known at each look, by its seconds."""

    dataset: str
    kind: Kind
    cases: tuple[Case, ...]
    fused: Figures
    by_modality: Mapping[str, Figures]
    by_body_type: Mapping[BodyType, Figures]
    by_wind: Mapping[str, Figures]
    by_look: Mapping[str, Figures]
    by_people: Mapping[str, Figures]
    three_less_one: Estimate  # Pd of three people less that of one (SCIENCE 0.4: a rhythm alone does worse with more)
    decisions: Mapping[str, Decisions]  # "all", then by wind band, then by which modalities spoke

    @property
    def positives(self) -> int:
        """Passages in which somebody was found."""
        return sum(case.found for case in self.cases)

    def levels(self) -> dict[str, dict[str, int]]:
        """Level -> how many found and empty passages ended there."""
        counted = Counter((case.level, case.found) for case in self.cases)
        return {level.value: {"n_pos": counted[level, True], "n_neg": counted[level, False]} for level in Level}

    def document(self, cases_detail: str | None) -> dict[str, Any]:
        """The object that ``evaluate --json`` prints."""
        return {
            "schema": SCHEMA,
            "dataset": self.dataset,
            "kind": self.kind,
            "cases": len(self.cases),
            "positives": self.positives,
            "fused": self.fused.document(),
            "by_modality": {name: figures.document() for name, figures in self.by_modality.items()},
            "by_body_type": {body.value: figures.document() for body, figures in self.by_body_type.items()},
            "by_wind": {name: figures.document() for name, figures in self.by_wind.items()},
            "by_look": {name: figures.document() for name, figures in self.by_look.items()},
            "by_people": {name: figures.document() for name, figures in self.by_people.items()},
            "pd_three_less_one": _rounded(self.three_less_one),
            "decisions": {name: made.document() for name, made in self.decisions.items()},
            "levels": self.levels(),
            "cases_detail": cases_detail,
        }


def evaluation(dataset: str, kind: Kind, cases: Iterable[Case]) -> Evaluation:
    """Sum up. The order of the cases does not matter.

    Fused: every case, with a ratio of 1 where nothing was measured, alarmed by its level. A modality: the cases in
    which it was measured, alarmed by its own threshold. A body type, a wind band: fused, over its cases. A look: fused,
    by the newest verdict until then, over the cases that had one. People: those with so many, and all empty ones.
    """
    ordered = tuple(sorted(cases, key=lambda case: (case.name, case.passage_id)))
    by_body = _grouped(ordered, lambda case: case.body_type.value)
    by_wind = _grouped(ordered, lambda case: case.wind_band)
    by_pattern = _grouped(ordered, lambda case: case.pattern)
    empty = [case for case in ordered if not case.found]
    crowds = _grouped([case for case in ordered if case.crowd], lambda case: str(case.crowd))
    return Evaluation(
        dataset,
        kind,
        ordered,
        _fused(ordered),
        {name: _alone(ordered, name) for name in MODALITIES},
        {body: _fused(by_body[body.value]) for body in BodyType if body.value in by_body},
        {name: _fused(group) for name, group in by_wind.items()},
        {f"{look_s:g}": _by_then(ordered, look_s) for look_s in _looks_s(ordered)},
        {crowd: _fused([*found, *empty]) for crowd, found in crowds.items()},
        _three_less_one(crowds),
        {"all": _decisions(ordered)}
        | {name: _decisions(group) for name, group in by_wind.items()}
        | {name: _decisions(group) for name, group in by_pattern.items()},
    )


def _grouped(cases: Sequence[Case], group: Callable[[Case], str]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(group(case), []).append(case)
    return {name: found[name] for name in sorted(found)}


def _looks_s(cases: Sequence[Case]) -> list[float]:
    return sorted({step.look_s for case in cases for step in case.steps})[:LOOKS_MOST]


def _by_then(cases: Sequence[Case], look_s: float) -> Figures:
    then = [(case.found, step) for case in cases if (step := case.by_then(look_s)) is not None]
    scored = [(found, step.log10_lr) for found, step in then]
    return _figures(scored, [(found, step.level in ALARMS) for found, step in then])


def _three_less_one(crowds: Mapping[str, Sequence[Case]]) -> Estimate:
    three, one = crowds.get("3", ()), crowds.get("1", ())
    hits = [sum(case.level in ALARMS for case in group) for group in (three, one)]
    return difference(hits[0], len(three), hits[1], len(one))


def _decisions(cases: Sequence[Case]) -> Decisions:
    found = [case.level for case in cases if case.found]
    empty = [case.level for case in cases if not case.found]
    asked = len(empty) - empty.count(Level.NO_SEARCH)
    return Decisions(
        exact_share(len(cases) - (found + empty).count(Level.RECHECK), len(cases)),
        exact_share(empty.count(Level.NO_SEARCH), len(empty)),
        exact_share(asked, len(empty)),
        exact_share(found.count(Level.NO_SEARCH), len(found)),
        len(found),
        len(empty),
    )


def _fused(cases: Sequence[Case]) -> Figures:
    scored = [(case.found, case.total_log10_lr) for case in cases]
    return _figures(scored, [(case.found, case.level in ALARMS) for case in cases])


def _alone(cases: Sequence[Case], modality: str) -> Figures:
    scored = [(case.found, case.log10_lr[modality]) for case in cases if modality in case.log10_lr]
    return _figures(scored, [(case.found, case.over[modality]) for case in cases if modality in case.over])


def _figures(scored: Sequence[tuple[bool, float]], alarmed: Sequence[tuple[bool, bool]]) -> Figures:
    occupied = np.array([score for found, score in scored if found], np.float64)
    empty = np.array([score for found, score in scored if not found], np.float64)
    counted = Counter(alarmed)
    return Figures(
        merit(occupied, empty),
        exact_share(counted[True, True], counted[True, True] + counted[True, False]),
        exact_share(counted[False, True], counted[False, True] + counted[False, False]),
        len(occupied),
        len(empty),
    )


def _rounded(part: Estimate) -> dict[str, float | None]:
    return {
        name: None if value is None else round(value, DECIMALS) + 0.0
        for name, value in (("value", part.value), ("low", part.low), ("high", part.high))
    }
