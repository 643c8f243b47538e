"""Many passages whose outcome is known, summed up: the object of FORMATS ``lanepulse.evaluation/1``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fusion.evaluation.exact_share import Estimate, exact_share
from fusion.evaluation.metrics import Merit, merit
from fusion.passage import BodyType
from fusion.verdict import MODALITIES, Level

SCHEMA = "lanepulse.evaluation/1"
DECIMALS = 6
ALARMS = (Level.SEARCH, Level.OPEN_NOW)  # the levels at which somebody opens the vehicle
Kind = Literal["recorded", "simulated", "mixed"]


@dataclass(frozen=True, slots=True)
class Case:
    """One passage: what was found, and the last verdict.

    ``log10_lr`` has the modalities that were measured. ``over`` says of each whether it would have alarmed alone, at
    its own threshold for that look; a modality without one is left out.
    """

    name: str
    passage_id: str
    found: bool
    body_type: BodyType
    level: Level
    log10_lr: Mapping[str, float]
    over: Mapping[str, bool]

    @property
    def total_log10_lr(self) -> float:
        """The evidence of all that was measured: 0 where nothing was."""
        return sum(self.log10_lr.get(name, 0.0) for name in MODALITIES)


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
class Evaluation:
    """All figures of a dataset."""

    dataset: str
    kind: Kind
    cases: tuple[Case, ...]
    fused: Figures
    by_modality: Mapping[str, Figures]
    by_body_type: Mapping[BodyType, Figures]

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
            "levels": self.levels(),
            "cases_detail": cases_detail,
        }


def evaluation(dataset: str, kind: Kind, cases: Iterable[Case]) -> Evaluation:
    """Sum up. The order of the cases does not matter.

    Fused: every case, with a ratio of 1 where nothing was measured, alarmed by its level. A modality: the cases in
    which it was measured, alarmed by its own threshold. A body type: fused, over its cases.
    """
    ordered = tuple(sorted(cases, key=lambda case: (case.name, case.passage_id)))
    bodies = [body for body in BodyType if any(case.body_type is body for case in ordered)]
    return Evaluation(
        dataset,
        kind,
        ordered,
        _fused(ordered),
        {name: _alone(ordered, name) for name in MODALITIES},
        {body: _fused([case for case in ordered if case.body_type is body]) for body in bodies},
    )


def case_document(case: Case) -> dict[str, Any]:
    """One line of the file that ``cases_detail`` names."""
    return asdict(case) | {"body_type": case.body_type.value, "level": case.level.value}


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
