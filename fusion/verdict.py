"""The verdict: level, score, contributions, reasons, and what produced them. The words of FORMATS bind."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MODALITIES = ("vibration", "co2", "mmwave", "xray")
SUM_TOLERANCE = 1e-9  # log10_odds = prior + sum of log10_lr, to this

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Level(StrEnum):
    """What an officer reads."""

    NO_SEARCH = "no_search"
    RECHECK = "recheck"
    SEARCH = "search"
    OPEN_NOW = "open_now"


class State(StrEnum):
    """Whether a modality spoke, and if not, of which kind its silence is."""

    MEASURED = "measured"
    ABSENT = "absent"
    LATE = "late"
    FAULTY = "faulty"
    OUT_OF_LIMITS = "out_of_limits"


class Strict(BaseModel):
    """Immutable, and closed to unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Contribution(Strict):
    """What one modality added to the score; every state but ``measured`` adds exactly 0.0 and says why."""

    modality: Literal["vibration", "co2", "mmwave", "xray"]
    state: State
    log10_lr: Finite
    quality: Annotated[float, Field(ge=0, le=1)] | None
    cause: str | None
    where: str | None
    features: dict[str, Finite | None]

    @model_validator(mode="after")
    def _silence_adds_nothing(self) -> Contribution:
        if self.state is not State.MEASURED and (self.log10_lr != 0.0 or not self.cause):
            raise ValueError(f"{self.modality} is {self.state.value}: log10_lr must be 0.0 and a cause must be given")
        return self


class Reason(Strict):
    """``code`` is stable and documented; ``text`` is for people."""

    code: str
    text: str


class Runtime(Strict):
    """On what it was computed: the same again gives the same bits; elsewhere they agree to the published rounding."""

    processor: str
    onnxruntime: str
    numpy: str
    threads: int
    optimisation: str


class ProducedBy(Strict):
    """What made the verdict, so that it can be made again. ``runtime`` is None where a program did not say it."""

    version: str
    model: str
    model_sha256: str
    config_sha256: str
    calibrations: dict[str, str]
    runtime: Runtime | None = None


class Verdict(Strict):
    """One revision of the judgement of one passage.

    Raises:
        ValueError: the contributions do not add up, or a modality is missing or out of order.
    """

    schema_: Literal["lanepulse.verdict/1"] = Field("lanepulse.verdict/1", alias="schema")
    passage_id: str
    revision: Annotated[int, Field(ge=1)]
    final: bool
    site: str
    lane: str
    issued_utc: str
    level: Level
    score: Annotated[float, Field(ge=0, le=1)]
    log10_odds: Finite
    prior_log10_odds: Finite
    evidence: tuple[Contribution, ...]
    reasons: tuple[Reason, ...]
    trained_on: Literal["simulated", "mixed", "recorded"]
    produced_by: ProducedBy

    @model_validator(mode="after")
    def _adds_up(self) -> Verdict:
        if tuple(part.modality for part in self.evidence) != MODALITIES:
            raise ValueError(f"evidence must list {', '.join(MODALITIES)} in this order")
        total = self.prior_log10_odds + sum(part.log10_lr for part in self.evidence)
        if not isfinite(total) or abs(total - self.log10_odds) > SUM_TOLERANCE:
            raise ValueError(f"log10_odds {self.log10_odds} is not the prior plus the contributions, {total}")
        return self

    def document(self) -> dict[str, Any]:
        """The one JSON form: the same on ZeroMQ, in the journal, in ``verdicts.jsonl`` and from ``--json``."""
        return self.model_dump(mode="json", by_alias=True)
