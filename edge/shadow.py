"""A second signed model beside the active one: the same evidence, the same looks, its verdicts in the journal alone.

It never prompts and is never announced, it comes after the verdict that counts, and whatever goes wrong with it is said
once and changes nothing. What it would have done is read by ``lanepulse models shadow``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from edge.active_model import ActiveModel
from edge.journal.journal import Journal, JournalFault
from fusion.evidence.evidence import Evidence
from fusion.judge import Issue, Look, judge
from fusion.passage import Passage
from fusion.policy import Policy
from fusion.verdict import Level, ProducedBy, Verdict

KIND = "shadow"
log = logging.getLogger("lanepulse.shadow")


@dataclass(slots=True)
class _Spoken:
    """What it has said of the passage in hand: its own decision stands as long as an active one would."""

    passage_id: str = ""
    revision: int = 0
    final: bool = False
    opened: bool = False
    searched: bool = False


class Shadow:
    """``model`` is set once it is loaded; without one nothing is done. Calls come one at a time."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._spoken = _Spoken()
        self._fault = ""
        self.model: ActiveModel | None = None

    def weigh(
        self,
        passage: Passage,
        look: Look,
        evidence: tuple[Evidence, ...],
        policy: Policy,
        beside: Verdict,
        sequence: int,
    ) -> None:
        """Judge what was just judged, and journal it.

        Args:
            passage: as it was at the look.
            look: the active model's own.
            evidence: of that look, as it was gathered.
            policy: of the passage.
            beside: the active model's verdict, before any audit.
            sequence: its row.
        """
        if self.model is None:
            return
        if self._spoken.passage_id != passage.passage_id:
            self._spoken = _Spoken(passage.passage_id)
        try:
            verdict = judge(passage, look, self.model.model, policy, self._issue(beside), evidence)
            self._journal.append(KIND, passage.passage_id, _body(verdict, beside, sequence))
        except JournalFault as fault:
            self._once(str(fault))
        except Exception as error:  # it must never cost the lane anything
            self._once(f"{self.model.name}: {type(error).__name__}: {error}")
        else:
            self._fault = ""
            self._keep(verdict)

    def _issue(self, beside: Verdict) -> Issue:
        assert self.model is not None
        made = beside.produced_by.model_dump() | {"model": self.model.name, "model_sha256": self.model.sha256}
        spoken = self._spoken
        return Issue(
            spoken.revision + 1,
            beside.issued_utc,
            ProducedBy.model_validate(made),
            final_before=spoken.final,
            opened_before=spoken.opened,
            searched_before=spoken.searched,
        )

    def _keep(self, verdict: Verdict) -> None:
        spoken = self._spoken
        spoken.revision = verdict.revision
        spoken.final = spoken.final or verdict.final
        spoken.opened = spoken.opened or verdict.level is Level.OPEN_NOW
        spoken.searched = spoken.searched or (verdict.final and verdict.level is Level.SEARCH)

    def _once(self, cause: str) -> None:
        if cause != self._fault:
            log.error("the model in the shadow gave nothing: %s; the lane goes on without it", cause)
        self._fault = cause


def _body(verdict: Verdict, beside: Verdict, sequence: int) -> dict[str, Any]:
    """Without the features, which stand in the active model's row."""
    parts = [
        {"modality": part.modality, "state": part.state.value, "log10_lr": part.log10_lr} for part in verdict.evidence
    ]
    return {
        "model": verdict.produced_by.model,
        "model_sha256": verdict.produced_by.model_sha256,
        "revision": verdict.revision,
        "final": verdict.final,
        "level": verdict.level.value,
        "score": verdict.score,
        "log10_odds": verdict.log10_odds,
        "evidence": parts,
        "reasons": [reason.code for reason in verdict.reasons],
        "beside": {
            "sequence": sequence,
            "model": beside.produced_by.model,
            "level": beside.level.value,
            "final": beside.final,
            "log10_odds": beside.log10_odds,
        },
    }
