"""What a search found, as one record: a press is taken once, a correction is a new record, nothing is replaced.

`weigh` decides, from the press and the records that a passage has already, whether a new one is written. It is pure:
journal, file and clock are `edge.records.outcome_book`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fusion.verdict import Level

SCHEMA: Literal["lanepulse.outcome/1"] = "lanepulse.outcome/1"
LONGEST_WHERE = 120  # letters; assumed: "behind the third row of pallets, under the tarpaulin" has 53
MOST_PEOPLE = 200  # assumed: more than ever were found in one lorry; a slip of the finger is refused
LONGEST_SEARCH_MIN = 1_440.0  # a day
OLDEST_PRESS_S = 7 * 86_400.0  # assumed: a tablet that was offline for a week still counts
TERMINAL = "[A-Za-z0-9: -]{1,64}"
MOST_SEALS = 12  # assumed: a trailer has two to four
# The checks that the carriers' schedule lists (SI 2023/29 schedule, read in part: SCIENCE 8), in its order.
CHECKS = (
    "entries",
    "locks",
    "seals",
    "security_devices",
    "documents",
    "tir_cable",
    "straps",
    "eyelets",
    "curtain",
    "external_compartments",
    "wind_deflectors",
    "beneath",
    "inside",
    "roof",
)

Technique = Literal["physical", "dog", "heartbeat", "co2", "mmwave", "xray", "scope", "documents", "other"]
By = Literal["officer", "contractor", "port", "police", "driver", "other"]
CheckState = Literal["ok", "missing", "broken", "cut", "open", "not_checked"]
SealState = Literal["intact", "broken", "missing", "changed"]
Reason = Literal[
    "load_seen", "documents", "known_traffic", "other_information", "no_time", "reading_doubted", "supervisor", "other"
]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")]
OfficerId = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Seal(_Strict):
    """One seal: its number as it stands there, and how it was found."""

    number: Annotated[str, Field(min_length=1, max_length=40)]
    state: SealState

    @field_validator("number")
    @classmethod
    def _on_one_line(cls, text: str) -> str:
        return printable(text)


class Outcome(_Strict):
    """FORMATS' ``outcome.json``, with ``response``, ``reason`` and ``seals`` of our own.

    Raises:
        ValueError: an unsearched vehicle has findings, people were counted where none was found, or an override has
            no reason.
    """

    searched: bool
    technique: Technique | None = None
    found: bool | None = None
    people: Annotated[int, Field(ge=1, le=MOST_PEOPLE)] | None = None
    where: Annotated[str, Field(max_length=LONGEST_WHERE)] | None = None
    minutes: Annotated[float, Field(ge=0, le=LONGEST_SEARCH_MIN)] | None = None
    by: By = "officer"
    secured: dict[str, CheckState] = {}
    seals: Annotated[list[Seal], Field(max_length=MOST_SEALS)] = []
    response: Literal["agreed", "overridden"] | None = None
    reason: Reason | None = None

    @field_validator("where")
    @classmethod
    def _on_one_line(cls, text: str | None) -> str | None:
        return None if text is None else printable(text) or None

    @field_validator("secured")
    @classmethod
    def _known_checks(cls, secured: dict[str, CheckState]) -> dict[str, CheckState]:
        unknown = [name for name in secured if name not in CHECKS]
        if unknown:
            raise ValueError(f"{unknown[0][:40]!r} is no check of the schedule; known: {', '.join(CHECKS)}")
        return secured

    @model_validator(mode="after")
    def _hangs_together(self) -> Outcome:
        if not self.searched and (self.found is not None or self.technique is not None):
            raise ValueError("not searched says nothing about what is inside: leave technique and found out")
        if self.searched and self.found is None:
            raise ValueError("searched: say whether anybody was found")
        if self.found is not True and (self.people is not None or self.where is not None):
            raise ValueError("nobody was found: leave people and where out")
        if (self.response == "overridden") != (self.reason is not None):
            raise ValueError("an override, and only that, has one reason")
        return self


class Shown(_Strict):
    """The prompt that the officer saw when pressing: overrides are counted by it."""

    level: Annotated[Level, Field(strict=False)]
    revision: Annotated[int, Field(ge=1, le=10_000)]
    audited: bool = False  # it said that it was a random check


class Press(_Strict):
    """One press, as it comes from the page or the command line. ``outcome`` None takes the standing record back.

    ``key`` is made by whoever presses, once for each press, so that sending it again records nothing twice.
    ``corrects`` is the journal row that the officer saw as standing; None where none was to be seen.
    """

    passage_id: Identifier
    key: Key
    outcome: Outcome | None
    corrects: Annotated[int, Field(ge=1)] | None = None
    shown: Shown | None = None
    officer: OfficerId | None = None
    terminal: Annotated[str, Field(pattern=f"^{TERMINAL}$")] | None = None  # where it was sent from
    pressed_ago_s: Annotated[float, Field(ge=0, le=OLDEST_PRESS_S)] = 0.0

    @model_validator(mode="after")
    def _takes_something_back(self) -> Press:
        if self.outcome is None and self.corrects is None:
            raise ValueError("nothing to take back: give the record that is to be undone")
        return self


class OutcomeRefused(ValueError):
    """One line: which field of a press is wrong, and why."""


class Answer(StrEnum):
    """What became of a press."""

    RECORDED = "recorded"
    AGAIN = "again"  # this very press is recorded already
    EXISTS = "exists"  # somebody recorded an outcome before
    CHANGED = "changed"  # the record that was to be corrected no longer stands


@dataclass(frozen=True, slots=True)
class Record:
    """One outcome row of the journal; ``outcome`` None took back the one that it corrects."""

    sequence: int
    document: Mapping[str, Any]

    @property
    def undone(self) -> bool:
        """Whether it took its predecessor back."""
        return self.document["outcome"] is None


def press_of(document: object) -> Press:
    """A press from JSON types.

    Raises:
        OutcomeRefused: the first thing that is wrong.
    """
    try:
        return Press.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"]) or "outcome"
        raise OutcomeRefused(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def weigh(press: Press, earlier: Sequence[Record]) -> tuple[Answer, Record | None]:
    """What becomes of a press, and the record that it meets: its own, the one in its way, or the one it corrects."""
    for record in earlier:
        if record.document["key"] == press.key:
            return Answer.AGAIN, record
    standing = earlier[-1] if earlier else None
    if press.corrects is None:
        taken = standing is not None and not standing.undone
        return (Answer.EXISTS if taken else Answer.RECORDED), standing
    if standing is None or standing.sequence != press.corrects:
        return Answer.CHANGED, standing
    if press.outcome is None and standing.undone:
        return Answer.CHANGED, standing
    return Answer.RECORDED, standing


def row(press: Press, standing: Record | None, entered_utc: str, via: str) -> dict[str, Any]:
    """The journal's body of a press that is to be recorded."""
    return {
        "schema": SCHEMA,
        "revision": 1 if standing is None else int(standing.document["revision"]) + 1,
        "corrects": None if standing is None else standing.sequence,
        "key": press.key,
        "entered_utc": entered_utc,
        "officer": press.officer,
        "via": via if press.terminal is None else f"{press.terminal}, {via}",
        "shown": None if press.shown is None else press.shown.model_dump(mode="json"),
        "outcome": None if press.outcome is None else press.outcome.model_dump(mode="json"),
    }


def file_document(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """``outcome.json`` of a journal row; None where it was taken back and so nobody knows."""
    outcome = body["outcome"]
    return None if outcome is None else {**outcome, "revision": body["revision"], "entered_utc": body["entered_utc"]}


def printable(text: str) -> str:
    """On one line, without control characters and without those that turn the direction of writing."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
