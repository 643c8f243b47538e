"""Is this journal whole? Reads only, while the daemon runs or long after, and names the first bad row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge import json_text
from edge.journal.chain import COLUMNS, FIRST_PREVIOUS, FORM, PRIVATE, REDACTION, commitment, head_message, row_hash
from edge.journal.read import connect

_PRIVATE_KEY = f'"{PRIVATE}":{{'.encode()  # canonical JSON has no spaces: a body without these bytes commits to nothing


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found; ``first_bad`` is the number of the first row that is wrong or missing, None where none is."""

    rows: int  # good rows before the first bad one
    first_bad: int | None
    cause: str
    signed_to: int  # rows up to this one are covered by a signature that was checked; 0 without a public key
    openings: int = 0  # private values that are there, and are what was committed to
    deleted: int = 0  # private values that a redaction row says were deleted

    @property
    def ok(self) -> bool:
        """Nothing was found wrong."""
        return self.first_bad is None


class _Bad(Exception):
    def __init__(self, sequence: int, cause: str) -> None:
        super().__init__(cause)
        self.sequence = sequence


@dataclass(slots=True)
class _Walk:
    """How far the rows were good, and what they promised."""

    public_key: Ed25519PublicKey | None
    rows: int = 0
    hash: str = FIRST_PREVIOUS
    signed_to: int = 0
    promised: dict[int, dict[str, str]] = field(default_factory=dict)
    redacted: set[int] = field(default_factory=set)


def verify(path: Path, public_key: Ed25519PublicKey | None, *, beside: bool = True) -> Verification:
    """Walk the chain, the heads and the private values; see ``edge/journal/chain.py`` for what is hashed.

    Args:
        path: the journal, or a copy of one.
        public_key: of the lane; None checks no signature.
        beside: whether ``head.json`` in the same folder is of this journal; of a copy it is not.

    Raises:
        FileNotFoundError: there is no journal at ``path``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no journal here")
    walk = _Walk(public_key)
    openings = 0
    try:
        head_file = _head_file(path) if beside else None  # before the rows: what it signs is in the journal by then
        with closing(connect(path)) as db:
            db.text_factory = bytes  # damaged text must be hashed, not decoded
            form = db.execute("PRAGMA user_version").fetchone()[0]
            if form > FORM:
                raise _Bad(1, f"the journal is of form {form}, and this program knows up to {FORM}")
            db.execute("BEGIN")  # one moment of a journal that may be growing
            heads = _heads(db, head_file)
            _rows(walk, db, heads)
            openings = _openings(walk, db) if form >= FORM else 0
    except _Bad as bad:
        return Verification(min(walk.rows, bad.sequence - 1), bad.sequence, str(bad), 0)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # SQLite's own message may hold damaged bytes
        return Verification(walk.rows, walk.rows + 1, f"the file is damaged: {error}", 0)
    signed_to = walk.signed_to if public_key else 0
    deleted = sum(len(walk.promised[sequence]) for sequence in walk.promised.keys() & walk.redacted)
    return Verification(walk.rows, None, "", signed_to, openings, deleted)


def _rows(walk: _Walk, db: sqlite3.Connection, heads: Iterator[tuple[Any, Any, Any]]) -> None:
    """Every row in order, and every head at its row. Raises _Bad."""
    head = next(heads, None)
    for columns in db.execute(f"SELECT {COLUMNS} FROM rows ORDER BY sequence"):
        walk.hash = _row(columns, walk.rows + 1, walk.hash)
        walk.rows += 1
        _take_note(walk, columns)
        while head is not None and isinstance(head[0], int) and head[0] <= walk.rows:
            _head(walk, *head)
            head = next(heads, None)
    while head is not None:
        _head(walk, *head)
        head = next(heads, None)


def _row(columns: tuple[bytes | int | None, ...], expected: int, previous: str) -> str:
    """The row's hash, when number, link and hash are right."""
    sequence, stored_previous, stored_hash = columns[0], columns[-2], columns[-1]
    if sequence != expected:
        raise _Bad(expected, f"row {expected} is missing: row {sequence!r} comes next")
    if stored_previous != previous.encode():
        raise _Bad(expected, f"row {expected} does not follow from the row before it")
    digest = row_hash(*columns[:-1])
    if stored_hash != digest.encode():
        raise _Bad(expected, f"row {expected} does not match its hash: it was changed")
    return digest


def _take_note(walk: _Walk, columns: tuple[Any, ...]) -> None:
    """What the row commits to, and what it says was deleted."""
    kind, body = columns[2], columns[5]
    if _PRIVATE_KEY not in body and kind != REDACTION.encode():
        return
    try:
        document = json_text.read(body)
        promised = document.get(PRIVATE)
        if isinstance(promised, dict):
            walk.promised[walk.rows] = {str(name): str(text) for name, text in promised.items()}
        if kind == REDACTION.encode():
            walk.redacted |= {int(sequence) for sequence in document["rows"] if int(sequence) < walk.rows}
    except (json_text.JsonRefused, AttributeError, KeyError, TypeError, ValueError):
        raise _Bad(walk.rows, f"row {walk.rows} cannot be read, though its hash is right") from None


def _openings(walk: _Walk, db: sqlite3.Connection) -> int:
    """How many private values are there; each is what was committed to, and each that is not there was redacted."""
    there: dict[int, set[str]] = {}
    for sequence, raw_name, raw in db.execute("SELECT sequence, name, opening FROM private ORDER BY sequence, name"):
        name = bytes(raw_name).decode("utf-8", "replace")
        expected = walk.promised.get(sequence, {}).get(name)
        if expected is None:
            raise _Bad(max(1, sequence), f"row {sequence} never committed to the private value {name[:40]!r}")
        if sequence in walk.redacted:
            raise _Bad(sequence, f"the private value {name!r} of row {sequence} is there, though it was deleted")
        if not isinstance(raw, bytes) or commitment(raw) != expected:
            raise _Bad(sequence, f"the private value {name!r} of row {sequence} is not what the row committed to")
        there.setdefault(sequence, set()).add(name)
    for sequence, promised in walk.promised.items():
        missing = sorted(promised.keys() - there.get(sequence, set()))
        if missing and sequence not in walk.redacted:
            raise _Bad(sequence, f"the private value {missing[0]!r} of row {sequence} is gone, and no row says why")
    return sum(map(len, there.values()))


def _head(walk: _Walk, sequence: object, message: object, signature: object) -> None:
    """A head agrees with the row that it signs, and is signed where a key is given. Raises _Bad."""
    if not isinstance(sequence, int) or not isinstance(message, bytes) or not isinstance(signature, bytes):
        raise _Bad(walk.rows + 1, "a signed head is not readable")
    if sequence > walk.rows:
        raise _Bad(walk.rows + 1, f"row {walk.rows + 1} is missing: the journal was signed up to {sequence}")
    if sequence < walk.rows or message != head_message(sequence, walk.hash).encode():
        raise _Bad(max(sequence, 1), f"row {sequence} is not the row that was signed")
    if walk.public_key is not None:
        try:
            walk.public_key.verify(signature, message)
        except InvalidSignature:
            raise _Bad(sequence, f"the signature of the head at row {sequence} is not of this key") from None
    walk.signed_to = max(walk.signed_to, sequence)


def _heads(db: sqlite3.Connection, beside: tuple[int, bytes, bytes] | None) -> Iterator[tuple[Any, Any, Any]]:
    """The heads of the table in order, and that of the files among them, which finds a cut at the end of both tables.

    A crash between the two files leaves a new signature beside an old text: such a text stands in the table.
    """
    for head in db.execute("SELECT sequence, message, signature FROM heads ORDER BY sequence"):
        if beside is not None and isinstance(head[0], int) and beside[0] <= head[0]:
            if beside[1] != head[1]:
                yield beside
            beside = None
        yield head
    if beside is not None:
        yield beside


def _head_file(path: Path) -> tuple[int, bytes, bytes] | None:
    """What ``head.json`` and ``head.sig`` beside the journal say. Raises _Bad."""
    message_file, signature_file = path.with_name("head.json"), path.with_name("head.sig")
    if not message_file.is_file():
        return None
    with message_file.open("rb") as file:
        message = file.read(4096)
    try:
        sequence = json_text.read(message)["sequence"]
        if not isinstance(sequence, int) or isinstance(sequence, bool):
            raise TypeError
    except (json_text.JsonRefused, KeyError, TypeError):
        raise _Bad(1, f"{message_file.name} is not a signed head") from None
    signature = signature_file.read_bytes()[:64] if signature_file.is_file() else b""
    return sequence, message, signature
