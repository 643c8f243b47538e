"""What people say of a case, as it comes from outside: plates, notes, stages, holds, and why they looked.

WordsRefused    one line: which field is wrong, and why
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from drivers.xray.plates import join_key
from edge.records.outcome import CHECKS, Identifier, OfficerId, printable
from fusion.bundle.times import parse_utc

LONGEST_ACCOUNT = 4_000  # letters; assumed: two pages of what a driver said
LONGEST_CAUSE = 200
MOST_PLATES = 4  # as many as a context may name
MOST_PHOTOS = 40  # of one passage; assumed: fourteen checks, each from near and far
MOST_PHOTO_BYTES = 16 * 1024 * 1024
MOST_GBP = 1_000_000.0  # assumed: a hundred entrants at the highest penalty for each (SCIENCE 8)
NO_TRAILER = "none"  # a rigid lorry has one plate; that there is no second is said, not left out

EntryPoint = Literal[
    "rear_doors",
    "side_doors",
    "curtain",
    "roof",
    "front_wall",
    "beneath",
    "external_compartment",
    "cab",
    "not_established",  # looked for and not found; not the same as not looked for
]
Checklist = Literal["shown", "not_shown", "not_asked"]
Account = Literal["given", "declined", "no_driver"]
Stage = Literal["referred", "notified", "objected", "paid", "written_off", "withdrawn"]
STAGES: tuple[Stage, ...] = ("referred", "notified", "objected", "paid", "written_off", "withdrawn")
CLOSED = frozenset({"paid", "written_off", "withdrawn"})
CaseId = Annotated[str, Field(pattern=r"^R-[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Cause = Annotated[str, Field(min_length=3, max_length=LONGEST_CAUSE)]
W = TypeVar("W", bound=BaseModel)


class WordsRefused(ValueError):
    """One line: which field is wrong, and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class PlateWord(_Strict):
    """One plate as somebody read it; the text stays as it was read."""

    text: Annotated[str, Field(min_length=1, max_length=64)]
    country: Annotated[str, Field(pattern=r"^[A-Z]{1,3}$")] | None = None  # as on the vehicle: GB, F, PL
    position: Literal["tractor", "trailer", "unknown"]
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None

    @field_validator("text")
    @classmethod
    def _is_a_plate(cls, text: str) -> str:
        plain = printable(text)
        if join_key(plain) is None:
            raise ValueError("no letter or digit in it; if there is no plate, say so")
        return plain


class Plates(_Strict):
    """The plates of a passage, all of them: a later row replaces an earlier one."""

    passage_id: Identifier
    plates: Annotated[list[PlateWord], Field(min_length=1, max_length=MOST_PLATES)]
    no_trailer: bool = False
    officer: OfficerId | None = None

    @model_validator(mode="after")
    def _hangs_together(self) -> Plates:
        positions = [plate.position for plate in self.plates if plate.position != "unknown"]
        if len(set(positions)) != len(positions):
            raise ValueError("two plates for one of tractor and trailer")
        if self.no_trailer and "trailer" in positions:
            raise ValueError("no trailer, and a trailer's plate: give one of the two")
        return self


class Photo(_Strict):
    """A picture of one check, already in the case's folder under its digest."""

    check: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    suffix: Literal["jpg", "png"]

    @field_validator("check")
    @classmethod
    def _known(cls, check: str) -> str:
        if check not in CHECKS:
            raise ValueError(f"{check[:40]!r} is no check of the schedule; known: {', '.join(CHECKS)}")
        return check

    @property
    def file_name(self) -> str:
        """Name in the case's folder."""
        return f"{self.sha256}.{self.suffix}"


class Note(_Strict):
    """What a case needs beside the outcome. What is not said stays as it was; photos are added."""

    passage_id: Identifier
    entry_point: EntryPoint | None = None
    checklist: Checklist | None = None
    account: Account | None = None
    account_text: Annotated[str, Field(min_length=1, max_length=LONGEST_ACCOUNT)] | None = None
    photos: Annotated[list[Photo], Field(max_length=MOST_PHOTOS)] = []
    officer: OfficerId | None = None

    @model_validator(mode="after")
    def _hangs_together(self) -> Note:
        if (self.account == "given") != (self.account_text is not None):
            raise ValueError("an account that was given, and only that, has a text")
        if self.entry_point is None and self.checklist is None and self.account is None and not self.photos:
            raise ValueError("nothing said")
        return self


class Step(_Strict):
    """What became of a case."""

    case_id: CaseId
    stage: Stage
    at_utc: str | None = None  # when it happened; None is now
    amount_gbp: Annotated[float, Field(ge=0, le=MOST_GBP)] | None = None
    officer: OfficerId | None = None

    @field_validator("at_utc")
    @classmethod
    def _is_a_moment(cls, text: str | None) -> str | None:
        if text is not None:
            parse_utc(text)
        return text

    @model_validator(mode="after")
    def _hangs_together(self) -> Step:
        if self.stage == "paid" and self.amount_gbp is None:
            raise ValueError("paid: say how much, in GBP")
        if self.amount_gbp is not None and self.stage not in ("notified", "objected", "paid"):
            raise ValueError(f"{self.stage}: has no amount")
        return self


class Made(_Strict):
    """A pack that was sealed."""

    passage_id: Identifier
    case_id: CaseId
    pack_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    kind: Literal["entrant", "unsecured"]
    purpose: Cause
    officer: OfficerId | None = None


class Hold(_Strict):
    """Keep a passage's plates and bundle beyond their time, or no longer."""

    passage_id: Identifier
    held: bool
    cause: Cause
    officer: OfficerId | None = None


class Look(_Strict):
    """Somebody looks at what points to a vehicle: recorded before it is shown."""

    what: Annotated[str, Field(pattern=r"^[a-z][a-z ]{2,40}$")]
    purpose: Cause
    passages: Annotated[list[Identifier], Field(max_length=1_000)] = []
    count: Annotated[int, Field(ge=0)] = 0  # of passages, where they are too many to list
    officer: OfficerId | None = None

    @field_validator("purpose")
    @classmethod
    def _on_one_line(cls, text: str) -> str:
        return printable(text)


def read_words(kind: type[W], document: Mapping[str, Any]) -> W:
    """Words of one kind from JSON types.

    Raises:
        WordsRefused: the first thing that is wrong.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise WordsRefused(f"{where}: {message}" if where else message) from None


def case_id_of(passage_id: str) -> str:
    """The case of a passage."""
    return f"R-{passage_id}"


def passage_of(case_id: str) -> str:
    """The passage of a case."""
    return re.sub(r"^R-", "", case_id)
