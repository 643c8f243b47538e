"""Covert tests: volunteers hidden on purpose. What is tried is sealed before, and opened after.

Before the test only a digest goes into the journal, so that nobody who can read it knows; after it the words that the
digest was made of are entered with the passage that it was. So a test can neither be guessed nor be made up, and one
that went badly cannot be left out unseen: a seal that is never opened stays in the list.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge import json_text
from edge.journal.journal import Journal, Row
from edge.records.outcome import printable
from fusion.bundle.times import format_utc

ENTERED, REVEALED = "covert.entered", "covert.revealed"
SCHEMA: Literal["lanepulse.covert/1"] = "lanepulse.covert/1"
SALT_BYTES = 32
MOST_TESTS = 10_000  # of one journal; assumed: one an hour for a year
_SEAL = re.compile(r"[0-9a-f]{64}")


class CovertRefused(ValueError):
    """One line: what is wrong with a test, or with its order."""


class Test(BaseModel):
    """What is tried. No names: volunteers are counted, as everybody else."""

    __test__ = False  # pytest takes the name for one of its own
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    people: Annotated[int, Field(ge=1, le=50)]
    place: Annotated[str, Field(max_length=120)] | None = None
    aboard_s: Annotated[float, Field(ge=0, le=604_800)] | None = None
    load: Annotated[str, Field(max_length=120)] | None = None

    @field_validator("place", "load")
    @classmethod
    def _on_one_line(cls, text: str | None) -> str | None:
        return None if text is None else printable(text) or None


class Secret(BaseModel):
    """What the supervisor keeps until the test is over."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_: Literal["lanepulse.covert/1"] = Field(SCHEMA, alias="schema")
    test: Test
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def seal(self) -> str:
        """SHA-256 of salt and words, in hexadecimal."""
        words = json_text.write({"salt": self.salt, "test": self.test.model_dump(mode="json")})
        return hashlib.sha256(b"lanepulse covert test/1\0" + words.encode()).hexdigest()


def new_secret(words: Mapping[str, Any]) -> Secret:
    """A test with a salt of its own. Raises CovertRefused."""
    return secret_of({"schema": SCHEMA, "test": dict(words), "salt": os.urandom(SALT_BYTES).hex()})


def secret_of(document: object) -> Secret:
    """A secret from JSON types. Raises CovertRefused."""
    try:
        return Secret.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"]) or "secret"
        raise CovertRefused(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


class CovertBook:
    """One lane's covert tests. Calls block (journal)."""

    def __init__(self, journal: Journal, now_utc_ns: Callable[[], int]) -> None:
        self._journal, self._now_utc_ns = journal, now_utc_ns
        self._one_at_a_time = threading.Lock()

    def enter(self, seal: object, via: str) -> dict[str, Any]:
        """Keep a seal before its test.

        Raises:
            CovertRefused: it is none, or it is there already.
            JournalFault: it is not recorded.
        """
        if not isinstance(seal, str) or not _SEAL.fullmatch(seal):
            raise CovertRefused("seal: give 64 hexadecimal digits, as lanepulse covert enter makes them")
        with self._one_at_a_time:
            if self._entered(seal) is not None:
                raise CovertRefused(f"seal {seal[:12]}…: is entered already; each test has its own")
            body = {"schema": SCHEMA, "seal": seal, "entered_utc": format_utc(self._now_utc_ns()), "via": via}
            return {"sequence": self._journal.append(ENTERED, None, body), "seal": seal}

    def reveal(self, document: object, passage_id: object, via: str) -> dict[str, Any]:
        """Say after the test which passage it was, and what was tried.

        Raises:
            CovertRefused: the seal is unknown, the vehicle came before it was entered, or one of both is used already.
            JournalFault: it is not recorded.
        """
        secret = secret_of(document)
        if not isinstance(passage_id, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", passage_id):
            raise CovertRefused("passage: give the passage's id")
        with self._one_at_a_time:
            entered = self._entered(secret.seal)
            if entered is None:
                raise CovertRefused("these words were never sealed on this lane; enter a test before it is made")
            opened = self._journal.of_passage(passage_id, "passage.opened")
            if not opened:
                raise CovertRefused(f"passage {passage_id}: not in this lane's record; see lanepulse verdicts")
            if opened[0].sequence < entered.sequence:
                raise CovertRefused(f"passage {passage_id}: came before the test was entered; it cannot be that test")
            for row in self._revealed():
                if row.document()["seal"] == secret.seal or row.passage_id == passage_id:
                    raise CovertRefused(f"test or passage is revealed already, in row {row.sequence}")
            told = secret.test.model_dump(mode="json")
            when = format_utc(self._now_utc_ns())
            body = {"schema": SCHEMA, "seal": secret.seal, "salt": secret.salt, **told, "entered": entered.sequence}
            sequence = self._journal.append(REVEALED, passage_id, body | {"revealed_utc": when, "via": via})
            return {"sequence": sequence, "passage_id": passage_id, **told}

    def tests(self) -> list[dict[str, Any]]:
        """All tests in the order of entering; those that are still sealed have no passage."""
        revealed = {row.document()["seal"]: row for row in self._revealed()}
        found = []
        for row in self._journal.rows(1, MOST_TESTS, ENTERED):
            entered, after = row.document(), revealed.get(row.document()["seal"])
            words = {} if after is None else {name: after.document().get(name) for name in Test.model_fields}
            found.append(
                {
                    "sequence": row.sequence,
                    "seal": entered["seal"],
                    "entered_utc": entered["entered_utc"],
                    "passage_id": None if after is None else after.passage_id,
                    "level": None if after is None else self._level(str(after.passage_id)),
                    **words,
                }
            )
        return found

    def _entered(self, seal: str) -> Row | None:
        rows = self._journal.rows(1, MOST_TESTS, ENTERED)
        return next((row for row in rows if row.document().get("seal") == seal), None)

    def _revealed(self) -> list[Row]:
        return self._journal.rows(1, MOST_TESTS, REVEALED)

    def _level(self, passage_id: str) -> str | None:
        verdicts = [row.document() for row in self._journal.of_passage(passage_id, "verdict")]
        final = [verdict for verdict in verdicts if verdict["final"]] or verdicts
        return str(final[-1]["level"]) if final else None
