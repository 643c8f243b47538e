"""Vehicles of a lane, joined once: a file beside the record that is made anew when anything that it came from changes.

It is no record: whoever deletes ``lake/kept`` loses a minute. A file that is not what was written is made anew, and so
is one that another version of the question made. Where the lake may not be written it is made for this time only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.records.lake import File, Listed, replace_file

FOLDER = "kept"
LONGEST_NOTE = 65_536  # bytes
QUESTION = Path(__file__).with_name("relations.py")  # what a vehicle is
Join = Callable[[Sequence[File], Path], None]


class _Kept(BaseModel):
    """What is kept of a lane: ``of`` is what it was made from, ``stamp`` size, change time and inode when ``sha256``
    was last found right, ``before`` the file that a reader may still have open."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    of: str
    name: str
    sha256: str
    stamp: tuple[int, int, int]
    before: str = ""


def vehicles_kept(found: Listed, scratch: Path, tables: Sequence[str], join: Join) -> list[Path]:
    """One file a lane, in the lanes' order; ``join`` makes those that are not there, out of ``tables``.

    What is kept was made of files that were right then. While the list names the same ones they need not be looked at.

    Raises:
        OSError: neither the lake nor the scratch folder can be written.
    """
    question = hashlib.sha256(QUESTION.read_bytes()).hexdigest()
    paths = []
    for site, lane in found.lanes:
        of = hashlib.sha256(f"{question} {found.digest(site, lane)}".encode()).hexdigest()
        path = _standing(found.lake, f"{site}.{lane}", of)
        if path is None:
            right = found.right(site, lane, tables)
            if len(right) < sum(file.table in tables for file in found.files(site, lane)):
                of = _of(question, right)  # never taken for whole: the next question looks at the files again
            path = _kept(found.lake, scratch, f"{site}.{lane}", of, partial(join, right))
        paths.append(path)
    return paths


def _of(question: str, files: Sequence[File]) -> str:
    return hashlib.sha256("\n".join([question, *(f"{file.path} {file.sha256}" for file in files)]).encode()).hexdigest()


def _standing(lake: Path, lane: str, of: str) -> Path | None:
    """What is kept, if it was made of this and is what was written."""
    folder = lake / FOLDER
    known = _note(folder / f"{lane}.json")
    return folder / known.name if known is not None and known.of == of and _right(folder, lane, known) else None


def _kept(lake: Path, scratch: Path, lane: str, of: str, make: Callable[[Path], None]) -> Path:
    folder = lake / FOLDER
    standing = _standing(lake, lane, of)
    if standing is not None:
        return standing
    known = _note(folder / f"{lane}.json")
    with _alone(folder, lane) as alone:
        if not alone:
            make(scratch / f"{lane}.parquet")
            return scratch / f"{lane}.parquet"
        path = folder / f"{lane}.{of[:16]}.parquet"
        beside = path.with_name(f"{path.name}.new")
        make(beside)
        beside.replace(path)
        before = known.name if known is not None and known.name != path.name else ""
        _write_note(folder, lane, _Kept(of=of, name=path.name, sha256=_digest(path), stamp=_stamp(path), before=before))
        for other in folder.glob(f"{lane}.*.parquet*"):
            if other.name not in (path.name, before):
                other.unlink(missing_ok=True)
    return path


def _right(folder: Path, lane: str, known: _Kept) -> bool:
    """Whether the file is what was written. A digest is not computed again while its stamp is the same."""
    path = folder / known.name
    try:
        if Path(known.name).name != known.name or path.is_symlink():
            return False
        if _stamp(path) == known.stamp:
            return True
        right = _digest(path) == known.sha256
        if right and os.access(folder, os.W_OK):
            _write_note(folder, lane, known.model_copy(update={"stamp": _stamp(path)}))
    except OSError:
        return False
    return right


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_ctime_ns, status.st_ino


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(path: Path) -> _Kept | None:
    try:
        return _Kept.model_validate_json(path.read_bytes()[:LONGEST_NOTE])
    except (OSError, ValidationError):
        return None


def _write_note(folder: Path, lane: str, known: _Kept) -> None:
    replace_file(folder / f"{lane}.json", known.model_dump_json().encode())


@contextmanager
def _alone(folder: Path, lane: str) -> Iterator[bool]:
    """Whether we may write here and nobody else does."""
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / f"{lane}.lock").open("ab")
    except OSError:
        yield False
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
