"""What is said of cases, into the journal: the one place where such rows are written, by the daemon or without it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge.journal.journal import Journal
from edge.places import Places
from edge.referral.words import (
    CLOSED,
    MOST_PHOTO_BYTES,
    MOST_PHOTOS,
    Hold,
    Look,
    Made,
    Note,
    Plates,
    Step,
    WordsRefused,
    case_id_of,
    passage_of,
    read_words,
)
from fusion.bundle.times import format_utc, parse_utc

PLATES, NOTE, MADE, STAGE, HOLD, ACCESS = "plates", "case.note", "referral.made", "referral.stage", "hold", "access"
FUTURE_S = 300.0  # assumed: clocks of two offices differ by no more
LOOKED_AT = ("verdict", "passage.opened", "outcome")  # a passage that has none of these is not of this lane


class CaseBook:
    """One lane's cases. Calls block (journal, disk) and come one at a time."""

    def __init__(self, journal: Journal, places: Places, now_utc_ns: Callable[[], int]) -> None:
        self._journal, self._places, self._now_utc_ns = journal, places, now_utc_ns

    def enter(self, do: str, document: Mapping[str, Any], via: str) -> dict[str, Any]:
        """Record one thing that is said; the answer has the number of its row.

        Raises:
            WordsRefused: what is wrong with it.
            JournalFault: it is not recorded.
        """
        writers: dict[str, Callable[[Mapping[str, Any], str], int]] = {
            PLATES: self._plates,
            NOTE: self._note,
            MADE: self._made,
            STAGE: self._stage,
            HOLD: self._hold,
            ACCESS: self._look,
        }
        if do not in writers:
            raise WordsRefused(f"{do[:40]!r}: not known; known: {', '.join(sorted(writers))}")
        return {"sequence": writers[do](document, via)}

    def sign(self) -> None:
        """Have a signed head cover everything up to now. Raises JournalFault."""
        self._journal.sign_head()

    def _plates(self, document: Mapping[str, Any], via: str) -> int:
        said = read_words(Plates, document)
        self._known(said.passage_id)
        body = self._said(via, said.officer) | {
            "positions": [plate.position for plate in said.plates],
            "countries": [plate.country for plate in said.plates],
            "no_trailer": said.no_trailer,
        }
        private = {"plates": [plate.model_dump(mode="json") for plate in said.plates]}
        return self._journal.append(PLATES, said.passage_id, body, private)

    def _note(self, document: Mapping[str, Any], via: str) -> int:
        said = read_words(Note, document)
        self._known(said.passage_id)
        for photo in said.photos:
            self._check_photo(self._places.cases / said.passage_id / photo.file_name, photo.sha256)
        earlier = sum(len(row.document()["photos"]) for row in self._journal.of_passage(said.passage_id, NOTE))
        if earlier + len(said.photos) > MOST_PHOTOS:
            raise WordsRefused(f"photos: {earlier} are there already; a case holds {MOST_PHOTOS}")
        words = said.model_dump(mode="json", include={"entry_point", "checklist", "account", "photos"})
        private = None if said.account_text is None else {"account": said.account_text}
        return self._journal.append(NOTE, said.passage_id, self._said(via, said.officer) | words, private)

    def _made(self, document: Mapping[str, Any], via: str) -> int:
        said = read_words(Made, document)
        self._known(said.passage_id)
        if said.case_id != case_id_of(said.passage_id):
            raise WordsRefused(f"case_id: the case of this passage is {case_id_of(said.passage_id)}")
        words = said.model_dump(mode="json", exclude={"passage_id", "officer"})
        now = format_utc(self._now_utc_ns())
        body = self._said(via, said.officer) | words | {"stage": "referred", "at_utc": now}
        return self._journal.append(MADE, said.passage_id, body)

    def _stage(self, document: Mapping[str, Any], via: str) -> int:
        said = read_words(Step, document)
        passage_id = passage_of(said.case_id)
        earlier = [*self._journal.of_passage(passage_id, MADE), *self._journal.of_passage(passage_id, STAGE)]
        if not earlier:
            raise WordsRefused(f"case_id: {said.case_id} was never referred; see lanepulse referral list")
        last = max(earlier, key=lambda row: row.sequence).document()
        if last["stage"] in CLOSED and said.stage != "referred":
            raise WordsRefused(f"stage: {said.case_id} is {last['stage']}; open it again with: referred")
        at_utc_ns = self._now_utc_ns() if said.at_utc is None else parse_utc(said.at_utc)
        if at_utc_ns > self._now_utc_ns() + round(FUTURE_S * 1e9):
            raise WordsRefused(f"at_utc: {said.at_utc} has not come yet")
        if at_utc_ns < parse_utc(last["at_utc"]) // 1_000_000_000 // 86_400 * 86_400 * 1_000_000_000:
            raise WordsRefused(f"at_utc: {said.at_utc} is before the day on which it was {last['stage']}")
        words = said.model_dump(mode="json", exclude={"officer", "at_utc"})
        return self._journal.append(
            STAGE, passage_id, self._said(via, said.officer) | words | {"at_utc": format_utc(at_utc_ns)}
        )

    def _hold(self, document: Mapping[str, Any], via: str) -> int:
        said = read_words(Hold, document)
        self._known(said.passage_id)
        body = self._said(via, said.officer) | {"held": said.held, "cause": said.cause}
        return self._journal.append(HOLD, said.passage_id, body)

    def _look(self, document: Mapping[str, Any], via: str) -> int:
        said = read_words(Look, document)
        words = said.model_dump(mode="json", exclude={"officer"})
        passage_id = said.passages[0] if len(said.passages) == 1 else None
        return self._journal.append(ACCESS, passage_id, self._said(via, said.officer) | words)

    def _said(self, via: str, officer: str | None) -> dict[str, Any]:
        return {"entered_utc": format_utc(self._now_utc_ns()), "officer": officer, "via": via}

    def _known(self, passage_id: str) -> None:
        if not any(self._journal.of_passage(passage_id, kind) for kind in LOOKED_AT):
            raise WordsRefused(f"passage_id: {passage_id} is not in this lane's record; see lanepulse verdicts")

    @staticmethod
    def _check_photo(path: Path, sha256: str) -> None:
        try:
            with path.open("rb") as file:
                raw = file.read(MOST_PHOTO_BYTES + 1)
        except OSError as error:
            raise WordsRefused(f"photos: {path.name[:24]}… is not in the case's folder: {error.strerror}") from None
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise WordsRefused(f"photos: {path.name[:24]}… is not what its name says; give the photo again")
