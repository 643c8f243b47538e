"""How journal rows are chained, and what a signed head says: shared by the writer and the verifier.

A row's *content digest* is SHA-256, in lower-case hex, over the columns ``sequence`` to ``body`` in table order, each
as a netstring of its UTF-8 text (``<length>:<bytes>,``; integers in decimal) and NULL as ``-,``. Its *hash* is SHA-256
over the netstrings of the content digest and of the previous row's hash: so what a row says can be proved to a stranger
with nothing of other rows but their digests.

What may have to be forgotten (a plate, a driver's words) is never in a body. The body commits to it by
``"private": {name: "sha256:…"}``; what was committed to, the *opening*, lies in a table of its own and can be deleted.
The chain does not notice, the commitment is salted and gives nothing away, and a row of kind `REDACTION` names the rows
whose openings are gone.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from edge import json_text

FORM = 2  # of the tables, in PRAGMA user_version; a program that knows only older forms refuses by name
REDACTION = "redaction"  # kind of the rows that say which openings were deleted
PRIVATE = "private"  # the key of a body under which its commitments stand
FIRST_PREVIOUS = "0" * 64
HEAD_SCHEMA = "lanepulse.journal-head/1"
COLUMNS = "sequence, boot_id, kind, passage_id, written_utc_ns, body, previous_hash, hash"
SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    sequence INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, kind TEXT NOT NULL, passage_id TEXT,
    written_utc_ns INTEGER NOT NULL, body TEXT NOT NULL, previous_hash TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS rows_by_kind ON rows (kind, sequence);
CREATE INDEX IF NOT EXISTS rows_by_passage ON rows (passage_id, kind, sequence) WHERE passage_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS heads (sequence INTEGER PRIMARY KEY, message TEXT NOT NULL, signature BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS private (
    sequence INTEGER NOT NULL, name TEXT NOT NULL, opening TEXT NOT NULL, PRIMARY KEY (sequence, name));
CREATE TRIGGER IF NOT EXISTS private_stays BEFORE UPDATE ON private
    BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS rows_stay BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS rows_keep BEFORE DELETE ON rows BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS heads_stay BEFORE UPDATE ON heads BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS heads_keep BEFORE DELETE ON heads BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
"""


def row_hash(*columns: bytes | str | int | float | None) -> str:
    """Hash of a row's columns, ``sequence`` to ``previous_hash``."""
    return sha256(netstrings(sha256(netstrings(*columns[:-1])).hexdigest(), columns[-1])).hexdigest()


def netstrings(*columns: bytes | str | int | float | None) -> bytes:
    """The bytes that are hashed."""
    raws = (column if column is None or isinstance(column, bytes) else str(column).encode() for column in columns)
    return b"".join(b"-," if raw is None else b"%d:%b," % (len(raw), raw) for raw in raws)


def opening(name: str, value: Any, salt: bytes) -> str:
    """The text whose SHA-256 a body commits to. ``salt`` is 32 random bytes: plates could be tried one by one."""
    return json_text.write({"name": name, "salt": salt.hex(), "value": value})


def commitment(opening_text: str | bytes) -> str:
    """What stands in the body for an opening."""
    return "sha256:" + sha256(opening_text if isinstance(opening_text, bytes) else opening_text.encode()).hexdigest()


def head_message(sequence: int, row_hash_hex: str) -> str:
    """The text that is signed: the last row's number and hash. The hash covers everything before it."""
    return json_text.write({"schema": HEAD_SCHEMA, "sequence": sequence, "hash": row_hash_hex})
