"""How journal rows are chained, and what a signed head says: shared by the writer and the verifier.

A row's hash is SHA-256, in lower-case hex, over the columns in table order without the hash itself, each as a
netstring of its UTF-8 text (``<length>:<bytes>,``; integers in decimal) and NULL as ``-,``.
"""

from __future__ import annotations

from hashlib import sha256

from edge import json_text

FIRST_PREVIOUS = "0" * 64
HEAD_SCHEMA = "lanepulse.journal-head/1"
COLUMNS = "sequence, boot_id, kind, passage_id, written_utc_ns, body, previous_hash, hash"
SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    sequence INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, kind TEXT NOT NULL, passage_id TEXT,
    written_utc_ns INTEGER NOT NULL, body TEXT NOT NULL, previous_hash TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS rows_by_kind ON rows (kind, sequence);
CREATE TABLE IF NOT EXISTS heads (sequence INTEGER PRIMARY KEY, message TEXT NOT NULL, signature BLOB NOT NULL);
CREATE TRIGGER IF NOT EXISTS rows_stay BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS rows_keep BEFORE DELETE ON rows BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS heads_stay BEFORE UPDATE ON heads BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER IF NOT EXISTS heads_keep BEFORE DELETE ON heads BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
"""


def row_hash(*columns: bytes | str | int | float | None) -> str:
    """Hash of a row's columns, ``sequence`` to ``previous_hash``."""
    digest = sha256()
    for column in columns:
        if column is None:
            digest.update(b"-,")
            continue
        raw = column if isinstance(column, bytes) else str(column).encode()
        digest.update(b"%d:%b," % (len(raw), raw))
    return digest.hexdigest()


def head_message(sequence: int, row_hash_hex: str) -> str:
    """The text that is signed: the last row's number and hash. The hash covers everything before it."""
    return json_text.write({"schema": HEAD_SCHEMA, "sequence": sequence, "hash": row_hash_hex})
