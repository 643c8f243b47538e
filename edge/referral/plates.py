"""Plates out of the journal, as long as they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.xray.plates import Same, same
from edge.journal.read import Reader
from edge.referral.book import PLATES
from fusion.bundle.times import format_utc


@dataclass(frozen=True, slots=True)
class Kept:
    """What was recorded last of a passage; ``plates`` None where they have been deleted."""

    sequence: int
    plates: tuple[dict[str, Any], ...] | None
    no_trailer: bool
    positions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A passage with a plate that was asked for; ``asked`` is which one."""

    passage_id: str
    same: Same
    position: str
    seen_utc: str
    asked: str


def plates_of(reader: Reader, passage_id: str) -> Kept | None:
    """The plates of a passage; None where none were recorded."""
    rows = [row for row in reader.of_passage(passage_id) if row.kind == PLATES]
    if not rows:
        return None
    row, body = rows[-1], rows[-1].document()
    plates = reader.openings(row.sequence).get("plates")
    return Kept(row.sequence, None if plates is None else tuple(plates), body["no_trailer"], tuple(body["positions"]))


def passages_with(reader: Reader, asked: Sequence[str]) -> Iterator[Match]:
    """Passages whose standing plates are, or may be, one of those that are asked for; each once, in order."""
    standing = {row.passage_id: row for row in reader.of_kind(PLATES)}
    kept = reader.openings_called("plates")
    for passage_id, row in standing.items():
        plates = kept.get(row.sequence) or ()
        answers = [(same(text, plate["text"]), plate["position"], text) for plate in plates for text in asked]
        near = [answer for answer in answers if answer[0] is not Same.NO]
        if near and passage_id is not None:
            best = min(near, key=lambda answer: answer[0] is not Same.YES)
            yield Match(passage_id, best[0], best[1], format_utc(row.written_utc_ns), best[2])
