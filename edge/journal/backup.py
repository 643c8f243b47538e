"""A copy of a journal while its lane runs, and a copy put back: both are judged before they count."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.journal.journal import JournalFault
from edge.journal.read import connect
from edge.journal.verify import Verification, verify

PAGES_AT_ONCE = 1024  # the writer goes on between two steps
HEADS = ("head.json", "head.sig")


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy, and what its check found."""

    path: Path
    found: Verification


def backup(journal: Path, copy: Path, public_key: Ed25519PublicKey | None) -> Copied:
    """Copy a journal, one moment of it, to ``copy``; the lane may go on writing.

    Raises:
        JournalFault: there is no journal, the copy is there already, or it is not whole; nothing is left then.
    """
    if not journal.is_file():
        raise JournalFault(f"{journal}: no journal here; give the lane's --root")
    if copy.exists():
        raise JournalFault(f"{copy}: is there already; a backup is never overwritten")
    beside = copy.with_name(f".{copy.name}.{os.getpid()}.new")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # it holds plates
        with closing(connect(journal)) as db, closing(sqlite3.connect(beside)) as other:
            db.backup(other, pages=PAGES_AT_ONCE)
            other.execute("PRAGMA journal_mode=DELETE")  # one file that needs no other beside it
        found = verify(beside, public_key, beside=False)
        if not found.ok:
            raise JournalFault(f"{journal}: not copied, it is not whole: {found.cause}; see journal salvage")
        _sync(beside)
        beside.rename(copy)
        _sync(copy.parent)
    except (sqlite3.Error, OSError) as error:
        raise JournalFault(f"{copy}: {error}; nothing was kept") from None
    finally:
        beside.unlink(missing_ok=True)
    return Copied(copy, found)


def restore(copy: Path, journal: Path, public_key: Ed25519PublicKey | None, aside: str) -> tuple[Copied, Path | None]:
    """Put a copy in the journal's place, while no lane runs; what was there is kept beside under ``aside``.

    Raises:
        JournalFault: the copy is not whole, a lane runs, or the journal that is there is whole and not behind the copy.
    """
    if not copy.is_file():
        raise JournalFault(f"{copy}: no such file")
    found = verify(copy, public_key, beside=False)
    if not found.ok:
        raise JournalFault(f"{copy}: not put back, it is not whole: {found.cause}")
    journal.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with Path(f"{journal}.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalFault(f"{journal}: a lane writes it; stop it first") from None
        there = verify(journal, public_key) if journal.is_file() else None
        if there is not None and there.ok and there.rows >= found.rows:
            raise JournalFault(f"{journal}: is whole, with {there.rows} rows; the copy has {found.rows}: not put back")
        beside = journal.with_name(f".{journal.name}.new")
        with copy.open("rb") as source, beside.open("wb") as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        kept = _set_aside(journal, aside)
        beside.rename(journal)
        _sync(journal.parent)
    return Copied(journal, found), kept


def _set_aside(journal: Path, aside: str) -> Path | None:
    """Everything of the journal that is there goes into a folder of its own."""
    names = [journal.name, f"{journal.name}-wal", f"{journal.name}-shm", *HEADS]
    there = [journal.with_name(name) for name in names if journal.with_name(name).exists()]
    if not there:
        return None
    folder = journal.with_name(aside)
    folder.mkdir(mode=0o700)
    for path in there:
        path.rename(folder / path.name)
    _sync(folder)
    return folder


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
