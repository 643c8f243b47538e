"""The lane's record: append-only, chained, and on disk before anybody is told.

One process writes. ``append`` returns after SQLite has committed with ``synchronous=FULL``; what it returned is there
after a kill and, as far as the disk keeps its promises, after a power cut.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge import json_text
from edge.journal.chain import (
    COLUMNS,
    FIRST_PREVIOUS,
    FORM,
    PRIVATE,
    REDACTION,
    SCHEMA,
    commitment,
    head_message,
    opening,
    row_hash,
)

SIGN_EVERY_ROWS = 256  # assumed: a signature costs less than one commit
SIGN_EVERY_S = 60.0  # assumed: the longest tail that a thief could cut off unseen
SALT_BYTES = 32
MOST_REDACTED = 10_000  # rows in one redaction row; the caller comes again with the rest
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class JournalFault(Exception):
    """One line: the journal cannot be opened, or a row did not reach the disk."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; ``body`` is canonical JSON text."""

    sequence: int
    boot_id: str
    kind: str
    passage_id: str | None
    written_utc_ns: int
    body: str
    previous_hash: str
    hash: str

    def document(self) -> Any:
        """The body, parsed. Raises JsonRefused."""
        return json_text.read(self.body)


class Journal:
    """Made by `open`; safe to share between threads of the one process that holds the lock."""

    def __init__(
        self,
        path: Path,
        lock: IO[bytes],
        db: sqlite3.Connection,
        key: Ed25519PrivateKey | None,
        boot_id: str,
        now_utc_ns: Callable[[], int],
    ) -> None:
        self.path, self.boot_id = path, boot_id
        self._lock, self._db, self._key, self._now_utc_ns = lock, db, key, now_utc_ns
        self._guard = threading.RLock()
        self._fault: str | None = None
        self._signed_at_s = time.monotonic()
        tail = self._select("ORDER BY sequence DESC LIMIT 1")
        self._sequence, self._hash = (tail[0].sequence, tail[0].hash) if tail else (0, FIRST_PREVIOUS)
        if tail and row_hash(*_columns(tail[0])) != self._hash:
            raise JournalFault(f"{path}: row {self._sequence} does not match its hash; run: lanepulse journal verify")
        signed = db.execute("SELECT max(sequence) FROM heads").fetchone()[0]
        self._signed_sequence = int(signed or 0)
        if self._signed_sequence > self._sequence:
            raise JournalFault(f"{path}: row {signed} was signed, but the last is {self._sequence}; restore a backup")

    @classmethod
    def open(
        cls,
        path: Path,
        signing_key: Ed25519PrivateKey | None,
        *,
        boot_id: str | None = None,
        now_utc_ns: Callable[[], int] = time.time_ns,
    ) -> Self:
        """Open or create the journal, and hold its lock until `close`.

        Raises:
            JournalFault: another process holds it, or the file is damaged or not a journal.
        """
        lock = Path(f"{path}.lock").open("ab")  # noqa: SIM115 - held as long as the journal is open
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                _prepare(db, path)
                return cls(path, lock, db, signing_key, boot_id or BOOT_ID.read_text().strip(), now_utc_ns)
            except BaseException:
                db.close()
                raise
        except BlockingIOError:
            lock.close()
            raise JournalFault(f"{path}: another process writes this journal; stop it first") from None
        except (sqlite3.Error, OSError) as error:
            lock.close()
            raise JournalFault(f"{path}: {error}; nothing was changed (lanepulse journal verify)") from error
        except BaseException:
            lock.close()
            raise

    def append(
        self, kind: str, passage_id: str | None, body: Mapping[str, Any], private: Mapping[str, Any] | None = None
    ) -> int:
        """Add a row; its number is returned only after the commit has reached the disk.

        ``private`` is what may have to be forgotten: the body commits to it, and `redact` deletes it.

        Raises:
            JournalFault: the row is not in the journal. After an input/output error nothing more is accepted: the
                kernel may have dropped pages that it called written, so only opening again tells what is there.
            JsonRefused: the body has no JSON form.
        """
        if kind == REDACTION or PRIVATE in body:
            raise ValueError(f"{kind}: {PRIVATE!r} and {REDACTION!r} are the journal's own words")
        openings = {name: opening(name, value, os.urandom(SALT_BYTES)) for name, value in (private or {}).items()}
        promised = {PRIVATE: {name: commitment(text) for name, text in openings.items()}} if openings else {}
        return self._append(kind, passage_id, {**body, **promised}, openings, ())

    def redact(self, sequences: Sequence[int], cause: str) -> int:
        """Delete the openings of rows, and say so in a row of its own: both in one commit; its number.

        Raises:
            JournalFault: nothing was deleted.
            ValueError: none or too many rows in one go, or one that is not there.
        """
        if not 0 < len(sequences) <= MOST_REDACTED or not all(0 < one <= self._sequence for one in sequences):
            raise ValueError(f"redact: give 1 to {MOST_REDACTED} rows of this journal")
        return self._append(REDACTION, None, {"rows": sorted(set(sequences)), "cause": cause}, {}, sequences)

    def purge(self) -> bool:
        """Take what was deleted out of the write-ahead log too; False while a reader of an earlier moment is there."""
        with self._guard:
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def openings(self, sequence: int) -> dict[str, Any]:
        """Name -> what the row committed to and still has. Raises JsonRefused."""
        with self._guard:
            found = self._db.execute("SELECT name, opening FROM private WHERE sequence = ?", (sequence,)).fetchall()
        return {name: json_text.read(text)["value"] for name, text in found}

    def _append(
        self,
        kind: str,
        passage_id: str | None,
        body: Mapping[str, Any],
        openings: Mapping[str, str],
        gone: Sequence[int],
    ) -> int:
        text = json_text.write(body)
        with self._guard:
            if self._fault:
                raise JournalFault(self._fault)
            sequence, now = self._sequence + 1, self._now_utc_ns()
            columns = (sequence, self.boot_id, kind, passage_id, now, text, self._hash)
            digest = row_hash(*columns)
            steps: list[tuple[str, tuple[Any, ...]]] = [
                (f"INSERT INTO rows ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?)", (*columns, digest)),
                *(("INSERT INTO private VALUES (?,?,?)", (sequence, *item)) for item in openings.items()),
                *(("DELETE FROM private WHERE sequence = ?", (one,)) for one in gone),
            ]
            self._commit(steps)
            self._sequence, self._hash = sequence, digest
            unsigned = sequence - self._signed_sequence
            if unsigned >= SIGN_EVERY_ROWS or time.monotonic() - self._signed_at_s >= SIGN_EVERY_S:
                self._sign_or_latch()
            return sequence

    def rows(self, first: int = 1, limit: int = 1000, kind: str | None = None) -> list[Row]:
        """At most ``limit`` rows from number ``first`` on, in order, of one kind or of all."""
        if kind is None:
            return self._select("WHERE sequence >= ? ORDER BY sequence LIMIT ?", first, limit)
        return self._select("WHERE kind = ? AND sequence >= ? ORDER BY sequence LIMIT ?", kind, first, limit)

    def of_passage(self, passage_id: str, kind: str) -> list[Row]:
        """All rows of a kind that belong to a passage, in order."""
        return self._select("WHERE kind = ? AND passage_id = ? ORDER BY sequence", kind, passage_id)

    def has(self, passage_id: str, kind: str) -> bool:
        """Whether there is a row of that kind for a passage; out of an index, no row is read."""
        with self._guard:
            asked = "SELECT 1 FROM rows WHERE passage_id = ? AND kind = ? LIMIT 1"
            return self._db.execute(asked, (passage_id, kind)).fetchone() is not None

    def last(self, kind: str) -> Row | None:
        """The newest row of a kind."""
        found = self._select("WHERE kind = ? ORDER BY sequence DESC LIMIT 1", kind)
        return found[0] if found else None

    def sign_head(self) -> None:
        """Sign the last row, in the table and in ``head.json`` with ``head.sig``. Raises JournalFault."""
        with self._guard:
            if self._key is None or self._sequence == 0:
                return
            message = head_message(self._sequence, self._hash)
            signature = self._key.sign(message.encode())
            if self._sequence > self._signed_sequence:
                row = (self._sequence, message, signature)
                self._commit([("INSERT INTO heads (sequence, message, signature) VALUES (?,?,?)", row)])
            self._signed_sequence, self._signed_at_s = self._sequence, time.monotonic()
            _replace(self.path.with_name("head.sig"), signature)
            _replace(self.path.with_name("head.json"), message.encode())

    def close(self) -> None:
        """Sign what is unsigned, close, and let the lock go."""
        with self._guard:
            try:
                if not self._fault:
                    self.sign_head()
            finally:
                self._db.close()
                self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sign_or_latch(self) -> None:
        """The row is safe already: a signature that fails must not make it look lost; the next append says so."""
        try:
            self.sign_head()
        except (JournalFault, OSError):
            self._signed_at_s = time.monotonic()  # tried again after the interval, not at every row

    def _select(self, where: str, *values: str | int) -> list[Row]:
        with self._guard:
            return [Row(*columns) for columns in self._db.execute(f"SELECT {COLUMNS} FROM rows {where}", values)]

    def _commit(self, steps: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, values in steps:
                self._db.execute(statement, values)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
            cause = f"{self.path}: row not written: {error}; " + ("make room" if full else "check the disk, restart")
            self._fault = None if full else cause
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise JournalFault(cause) from error


def _columns(row: Row) -> tuple[int | str | None, ...]:
    return (row.sequence, row.boot_id, row.kind, row.passage_id, row.written_utc_ns, row.body, row.previous_hash)


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):  # SQLite goes on with another mode, unasked
        raise JournalFault(f"{path}: no write-ahead log can be kept here; check the disk, and use a local one")
    form = db.execute("PRAGMA user_version").fetchone()[0]
    if form > FORM:
        raise JournalFault(f"{path}: of form {form}, and this program knows up to {FORM}: install the newer one again")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten, not only forgotten
    db.executescript(SCHEMA)
    if form < FORM:
        db.execute(f"PRAGMA user_version = {FORM}")
    _sync(Path(f"{path}-wal"), 0)  # rows that a killed writer left unsynced are safe before anybody is shown them
    _sync(path.parent, os.O_DIRECTORY)  # the names of a new journal and its log must survive too


def _replace(path: Path, content: bytes) -> None:
    """Whole old content or whole new, whatever happens in between."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync(path.parent, os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
