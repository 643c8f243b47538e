"""Every row that can still be read out of a damaged journal, as JSON lines; the journal itself is left as it is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from edge.journal.chain import COLUMNS, row_hash
from edge.journal.journal import SIGN_EVERY_ROWS, JournalFault
from edge.journal.read import connect

NAMES = tuple(COLUMNS.split(", "))
GIVE_UP_AFTER = 20_000  # numbers without a row, where no head says how many there were; assumed


def salvage(journal: Path) -> Iterator[dict[str, Any]]:
    """Rows in order, each with ``intact`` (its own hash is right) and ``follows`` (so is its link to the row before).

    Raises:
        JournalFault: there is no journal, or not one row can be read.
    """
    if not journal.is_file():
        raise JournalFault(f"{journal}: no journal here")
    last, previous, found = 0, "", 0
    try:
        with closing(connect(journal)) as db:
            db.text_factory = bytes
            for columns in _rows(db):
                row = dict(zip(NAMES, (_text(value) for value in columns), strict=True))
                intact = _text(columns[-1]) == row_hash(*columns[:-1])
                yield row | {
                    "intact": intact,
                    "follows": row["sequence"] == last + 1 and row["previous_hash"] == previous,
                }
                last, previous, found = int(columns[0]), row["hash"], found + 1
    except sqlite3.DatabaseError as error:
        raise JournalFault(f"{journal}: {found} rows were read, then: {error}") from None
    if not found:
        raise JournalFault(f"{journal}: not one row can be read; restore a backup")


def _rows(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """All at once, and from where that fails, number by number: one bad page costs its own rows only."""
    at = 0
    try:
        for columns in db.execute(f"SELECT {COLUMNS} FROM rows NOT INDEXED ORDER BY sequence"):
            yield columns
            at = int(columns[0])
        return
    except sqlite3.DatabaseError:
        pass
    missed, signed = 0, _signed(db)
    while at < signed or (not signed and missed < GIVE_UP_AFTER) or (signed and missed < SIGN_EVERY_ROWS):
        at += 1
        try:
            columns = db.execute(f"SELECT {COLUMNS} FROM rows WHERE sequence = ?", (at,)).fetchone()
        except sqlite3.DatabaseError:
            columns = None
        missed = 0 if columns else missed + 1
        if columns:
            yield columns


def _signed(db: sqlite3.Connection) -> int:
    """The last row that a head was signed for; 0 where none can be read."""
    try:
        return int(db.execute("SELECT coalesce(max(sequence), 0) FROM heads").fetchone()[0])
    except (sqlite3.DatabaseError, TypeError, ValueError):
        return 0


def line(row: dict[str, Any]) -> bytes:
    """One line of the file."""
    return json.dumps(row, ensure_ascii=True, sort_keys=True).encode() + b"\n"


def _text(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
