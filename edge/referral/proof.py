"""Proof that rows stand in the lane's journal, for a stranger: nothing of other rows but their digests.

From the first proved row to a signed head stands, row by row, the content digest; each hash follows from it and from
the hash before (``edge/journal/chain.py``). A segment is a text that a shell reads::

    start 1017 <hash of row 1016>
    1017 <content digest>
    1018 <content digest>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from edge.journal.chain import netstrings
from edge.journal.journal import Row
from edge.journal.read import Reader


class Unsigned(Exception):
    """A row that no signed head covers yet."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows up to one signed head."""

    head: int
    message: str
    signature: bytes
    chain: str


def content(row: Row) -> bytes:
    """The bytes whose SHA-256 is the row's content digest."""
    return netstrings(row.sequence, row.boot_id, row.kind, row.passage_id, row.written_utc_ns, row.body)


def segments(reader: Reader, rows: Sequence[Row]) -> list[Segment]:
    """What proves these rows; rows under one head share a segment.

    Raises:
        Unsigned: no signed head covers one of them.
    """
    firsts: dict[int, int] = {}
    heads: dict[int, tuple[int, str, bytes]] = {}
    for row in sorted(rows, key=lambda row: row.sequence):
        head = reader.head_from(row.sequence)
        if head is None:
            raise Unsigned(f"row {row.sequence}: no signed head covers it yet")
        heads[head[0]] = head
        firsts.setdefault(head[0], row.sequence)
    return [_segment(reader, firsts[number], *heads[number]) for number in sorted(heads)]


def _segment(reader: Reader, first: int, head: int, message: str, signature: bytes) -> Segment:
    lines: list[str] = []
    for row in reader.between(first, head):
        if not lines:
            lines.append(f"start {row.sequence} {row.previous_hash}")
        lines.append(f"{row.sequence} {sha256(content(row)).hexdigest()}")
    return Segment(head, message, signature, "\n".join(lines) + "\n")
