"""From a passage's id to a sealed pack: who asks is recorded first, what was made is recorded last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge import keys
from edge.journal.read import reading
from edge.places import Places
from edge.referral.book import ACCESS, MADE
from edge.referral.case import Missing, gather, missing
from edge.referral.control import record, sign
from edge.referral.pack import Sealed, seal
from edge.referral.words import Look, WordsRefused, case_id_of, read_words
from fusion.bundle.times import format_utc


class Incomplete(Exception):
    """The case cannot stand yet; ``fields`` says what is missing."""

    def __init__(self, passage_id: str, fields: list[Missing]) -> None:
        super().__init__(
            "\n".join(f"{case_id_of(passage_id)}: {field.field} is missing: {field.mend}" for field in fields)
        )
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for a pack, and why."""

    passage_id: str
    purpose: str
    officer: str | None
    again: bool = False  # a pack was made before, and another is wanted


def make(places: Places, asked: Asked, out: Path, now_utc_ns: Callable[[], int]) -> Sealed:
    """Seal the pack of a passage at ``out``.

    Raises:
        Incomplete: fields are missing; nothing was made.
        WordsRefused: the passage is unknown, or has a pack already.
        PackFault, Unsigned, JournalFault, ControlFault, KeyFault, OSError: one line; nothing was made.
    """
    look = {
        "what": "referral make",
        "purpose": asked.purpose,
        "passages": [asked.passage_id],
        "count": 1,
        "officer": asked.officer,
    }
    read_words(Look, look)
    key = keys.load_signing(places.signing)
    with reading(places.journal) as reader:
        case = gather(reader, places, asked.passage_id)
        if not case.rows:
            raise WordsRefused(f"passage {asked.passage_id}: not in this lane's record; see lanepulse verdicts")
        if case.made_before and not asked.again:
            raise WordsRefused(f"{case_id_of(asked.passage_id)}: has a pack already; --again makes another")
        lacking = missing(case, places)
    if lacking:
        raise Incomplete(asked.passage_id, lacking)
    record(places, ACCESS, look)
    sign(places)
    with reading(places.journal) as reader:  # anew: the signature covers all of it now
        sealed = seal(gather(reader, places, asked.passage_id), reader, places, key, format_utc(now_utc_ns()), out)
    try:
        words = {
            "passage_id": asked.passage_id,
            "case_id": case_id_of(asked.passage_id),
            "pack_sha256": sealed.sha256,
            "kind": case.kind,
            "purpose": asked.purpose,
            "officer": asked.officer,
        }
        record(places, MADE, words)
    except BaseException:
        for name in (out.name, f"{out.name}.sha256", f"{out.name}.sha256.sig"):
            out.with_name(name).unlink(missing_ok=True)
        raise
    return sealed
