"""A journal read beside its writer, or long after: nothing is changed, not even a lock file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge import json_text
from edge.journal.chain import COLUMNS, FORM
from edge.journal.journal import JournalFault, Row


def connect(path: Path) -> sqlite3.Connection:
    """Read-only; on a medium that cannot be written, without the shared memory that SQLite would make there."""
    sealed = not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if sealed else ''}", uri=True)


class Reader:
    """One moment of a journal. Made by `reading`."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path, self._db = path, db

    def of_passage(self, passage_id: str) -> list[Row]:
        """All rows of a passage, in order."""
        return self._rows("WHERE passage_id = ? ORDER BY sequence", passage_id)

    def of_kind(self, *kinds: str) -> list[Row]:
        """All rows of these kinds, in order."""
        return self._rows(f"WHERE kind IN ({','.join('?' * len(kinds))}) ORDER BY sequence", *kinds)

    def one(self, sequence: int) -> Row | None:
        """The row of that number."""
        found = self._rows("WHERE sequence = ?", sequence)
        return found[0] if found else None

    def last_sequence(self) -> int:
        """Number of the last row, 0 of an empty journal."""
        return int(self._db.execute("SELECT coalesce(max(sequence), 0) FROM rows").fetchone()[0])

    def between(self, first: int, last: int) -> Iterator[Row]:
        """Rows from ``first`` to ``last``, both included."""
        for columns in self._db.execute(
            f"SELECT {COLUMNS} FROM rows WHERE sequence BETWEEN ? AND ? ORDER BY sequence", (first, last)
        ):
            yield Row(*columns)

    def with_openings(self) -> list[Row]:
        """Rows whose private words, or some of them, are still there."""
        return self._rows("WHERE sequence IN (SELECT sequence FROM private) ORDER BY sequence")

    def first_time_after(self, sequence: int, least_ns: int, most_ns: int) -> int | None:
        """When the first row after ``sequence`` was written whose time lies within these bounds."""
        found = self._db.execute(
            "SELECT written_utc_ns FROM rows WHERE sequence > ? AND written_utc_ns BETWEEN ? AND ?"
            " ORDER BY sequence LIMIT 1",
            (sequence, least_ns, most_ns),
        ).fetchone()
        return None if found is None else int(found[0])

    def opening_texts(self, sequence: int) -> dict[str, str]:
        """Name -> the text that the row committed to, where it was not deleted."""
        return dict(self._db.execute("SELECT name, opening FROM private WHERE sequence = ? ORDER BY name", (sequence,)))

    def openings(self, sequence: int) -> dict[str, Any]:
        """Name -> what the row committed to, where it was not deleted. Raises JsonRefused."""
        return {name: json_text.read(text)["value"] for name, text in self.opening_texts(sequence).items()}

    def openings_called(self, name: str) -> dict[int, Any]:
        """Row -> what it committed to under this name, for all rows that still have it. Raises JsonRefused."""
        found = self._db.execute("SELECT sequence, opening FROM private WHERE name = ?", (name,))
        return {int(sequence): json_text.read(text)["value"] for sequence, text in found}

    def head_from(self, sequence: int) -> tuple[int, str, bytes] | None:
        """The first signed head that covers a row: its number, the text and the signature."""
        found = self._db.execute(
            "SELECT sequence, message, signature FROM heads WHERE sequence >= ? ORDER BY sequence LIMIT 1", (sequence,)
        ).fetchone()
        return None if found is None else (int(found[0]), str(found[1]), bytes(found[2]))

    def _rows(self, where: str, *values: str | int) -> list[Row]:
        return [Row(*columns) for columns in self._db.execute(f"SELECT {COLUMNS} FROM rows {where}", values)]


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """One moment of the journal at ``path``.

    Raises:
        JournalFault: there is none, it is of a newer form, or it is damaged.
    """
    if not path.is_file():
        raise JournalFault(f"{path}: no journal here; give the lane's --root")
    try:
        with closing(connect(path)) as db:
            form = db.execute("PRAGMA user_version").fetchone()[0]
            if form > FORM:
                raise JournalFault(f"{path}: of form {form}, and this program knows up to {FORM}")
            db.execute("BEGIN")
            yield Reader(path, db)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise JournalFault(f"{path}: {error} (lanepulse journal verify)") from None
