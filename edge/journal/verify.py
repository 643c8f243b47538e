"""Is this journal whole? Reads only, while the daemon runs or long after, and names the first bad row."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge import json_text
from edge.journal.chain import COLUMNS, FIRST_PREVIOUS, head_message, row_hash


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found; ``first_bad`` is the number of the first row that is wrong or missing, None where none is."""

    rows: int  # good rows before the first bad one
    first_bad: int | None
    cause: str
    signed_to: int  # rows up to this one are covered by a signature that was checked; 0 without a public key

    @property
    def ok(self) -> bool:
        """Nothing was found wrong."""
        return self.first_bad is None


class _Bad(Exception):
    def __init__(self, sequence: int, cause: str) -> None:
        super().__init__(cause)
        self.sequence = sequence


def verify(path: Path, public_key: Ed25519PublicKey | None) -> Verification:
    """Walk the chain and the heads; see ``edge/journal/chain.py`` for what is hashed.

    Raises:
        FileNotFoundError: there is no journal at ``path``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no journal here")
    hashes: list[str] = []  # of rows 1..n
    signed_to = 0
    try:
        with closing(_reader(path)) as db:
            db.text_factory = bytes  # damaged text must be hashed, not decoded
            db.execute("BEGIN")  # one moment of a journal that may be growing
            for columns in db.execute(f"SELECT {COLUMNS} FROM rows ORDER BY sequence"):
                hashes.append(_row(columns, len(hashes) + 1, hashes[-1] if hashes else FIRST_PREVIOUS))
            heads = db.execute("SELECT sequence, message, signature FROM heads ORDER BY sequence").fetchall()
        for sequence, message, signature in heads:
            signed_to = _head(sequence, message, signature, hashes, public_key)
        signed_to = max(signed_to, _head_file(path, heads, hashes, public_key))
    except _Bad as bad:
        return Verification(min(len(hashes), bad.sequence - 1), bad.sequence, str(bad), 0)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # SQLite's own message may hold damaged bytes
        return Verification(len(hashes), len(hashes) + 1, f"the file is damaged: {error}", 0)
    return Verification(len(hashes), None, "", signed_to if public_key else 0)


def _reader(path: Path) -> sqlite3.Connection:
    """Read-only; on a medium that cannot be written, without the shared memory that SQLite would make there."""
    sealed = not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if sealed else ''}", uri=True)


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


def _head(
    sequence: int, message: object, signature: object, hashes: list[str], public_key: Ed25519PublicKey | None
) -> int:
    """The sequence of a head that agrees with the rows, and is signed where a key is given."""
    if not isinstance(sequence, int) or not isinstance(message, bytes) or not isinstance(signature, bytes):
        raise _Bad(len(hashes) + 1, "a signed head is not readable")
    if sequence > len(hashes):
        raise _Bad(len(hashes) + 1, f"row {len(hashes) + 1} is missing: the journal was signed up to {sequence}")
    if sequence < 1 or message != head_message(sequence, hashes[sequence - 1]).encode():
        raise _Bad(max(sequence, 1), f"row {sequence} is not the row that was signed")
    if public_key is not None:
        try:
            public_key.verify(signature, message)
        except InvalidSignature:
            raise _Bad(sequence, f"the signature of the head at row {sequence} is not of this key") from None
    return sequence


def _head_file(
    path: Path, heads: list[tuple[int, bytes, bytes]], hashes: list[str], public_key: Ed25519PublicKey | None
) -> int:
    """As `_head`, for the files beside the journal; a cut at the end of both tables is found by them."""
    message_file, signature_file = path.with_name("head.json"), path.with_name("head.sig")
    if not message_file.is_file():
        return 0
    message = message_file.read_bytes()[:4096]
    try:
        sequence = json_text.read(message)["sequence"]
    except (json_text.JsonRefused, KeyError, TypeError):
        raise _Bad(len(hashes) + 1, f"{message_file.name} is not a signed head") from None
    for _, known, signature in heads:
        if known == message:  # a crash between the two files leaves a new signature beside an old text
            return _head(sequence, message, signature, hashes, public_key)
    signature = signature_file.read_bytes()[:64] if signature_file.is_file() else b""
    return _head(sequence, message, signature, hashes, public_key)
