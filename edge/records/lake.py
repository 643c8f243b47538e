"""The record as Parquet: journal rows into tables, by site, lane and day; again and again, each row once.

A lane's list (``lanes/<site>.<lane>.json``) names every file with its digest and says how far the journal was read.
Files are written first, then the list is replaced: what a crash left behind is on no list and is never counted. A file
of the list that is no longer what was written is quarantined and made anew where the journal is at hand, and named
and left out where it is not.

    LakeFault        one line: what cannot be counted, and why
    └── LakeNewer    written by a newer version of this program
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import sqlite3
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge import json_text
from edge.journal.chain import COLUMNS, FIRST_PREVIOUS, row_hash
from edge.journal.journal import Row
from edge.records.rows import table_row
from edge.records.schema import BY_NAME, TABLES, UNDATED, VERSION, Kind, Table

LIST_SCHEMA = "lanepulse.lake/1"
CHUNK_ROWS = 50_000  # between two commits of the list; bounds memory to some 200 MB
MERGE_ROWS = 200_000  # a day's file is made anew with what came later, up to this size; then a second one begins
LONGEST_LIST = 64 * 1024 * 1024  # bytes; ten years of thirteen tables are a tenth of it
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
QUARANTINE = "quarantine"
_LIBC = ctypes.CDLL(None, use_errno=True)


class LakeFault(Exception):
    """One line: what cannot be counted, and why."""


class LakeNewer(LakeFault):
    """Written by a newer version of this program."""


class File(BaseModel):
    """One file of the record: rows ``first`` to ``last`` of a journal, of one table and day."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    sha256: str
    bytes: int
    rows: int
    first: int
    last: int

    @property
    def table(self) -> str:
        """The first part of its path."""
        return self.path.partition("/")[0]


class _List(BaseModel):
    """Everything that counts of one lane."""

    model_config = ConfigDict(extra="forbid")
    schema_: str = Field(LIST_SCHEMA, alias="schema")
    version: int = VERSION
    site: str
    lane: str
    first_hash: str = ""
    through_sequence: int = 0
    through_hash: str = FIRST_PREVIOUS
    clock_back: int = 0
    files: dict[str, list[File]] = {}  # table -> files


@dataclass(frozen=True, slots=True)
class Progress:
    """What an update did; ``mended`` names files that were no longer what had been written."""

    read: int
    through_sequence: int
    mended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """A file that is not counted, and why."""

    path: str
    cause: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What can be counted: table -> files; and what cannot."""

    files: Mapping[str, tuple[Path, ...]]
    troubles: tuple[Trouble, ...] = ()
    clock_back: int = 0  # rows written at an earlier time than the row before them


class Listed:
    """What the lists of some lanes name. A list is read, and files are looked at, only when they are asked for."""

    def __init__(self, lake: Path, raw: Mapping[tuple[str, str], bytes]) -> None:
        self.lake = lake
        self._raw = raw
        self._read: dict[tuple[str, str], _List] = {}

    def _list(self, site: str, lane: str) -> _List:
        if (site, lane) not in self._read:
            self._read[site, lane] = _as_list(self.lake, site, lane, self._raw[site, lane])
        return self._read[site, lane]

    @property
    def _lists(self) -> dict[tuple[str, str], _List]:
        return {key: self._list(*key) for key in self._raw}

    def digest(self, site: str, lane: str) -> str:
        """Of a lane's list, which names every file with its own."""
        return hashlib.sha256(self._raw[site, lane]).hexdigest()

    def rows(self, table: str) -> int:
        """Rows of a table, as the lists say."""
        return sum(file.rows for known in self._lists.values() for file in known.files.get(table, []))

    @property
    def lanes(self) -> tuple[tuple[str, str], ...]:
        """Site and lane, sorted."""
        return tuple(self._raw)

    def files(self, site: str, lane: str) -> list[File]:
        """Every file of a lane that its list names, right or not."""
        return [file for files in self._list(site, lane).files.values() for file in files]

    def through(self, site: str, lane: str) -> str:
        """The last row of the lane's journal that is here, and its hash."""
        known = self._list(site, lane)
        return f"{known.through_sequence}: {known.through_hash}"

    def right(self, site: str, lane: str, tables: Sequence[str] | None = None) -> list[File]:
        """The lane's files (of some tables) that are what was written."""
        return _judged(self.lake, self._list(site, lane), tables)[0]

    def undated(self, table: str) -> int:
        """Rows of a table that were written while the clock was not set."""
        every = (file for known in self._lists.values() for file in known.files.get(table, []))
        return sum(file.rows for file in every if f"/day={UNDATED}/" in file.path)

    def contents(self) -> Contents:
        """Every file, looked at; also those that lie there and are on no list."""
        files: dict[str, list[Path]] = {table.name: [] for table in TABLES}
        troubles = []
        for known in self._lists.values():
            good, bad = _judged(self.lake, known)
            for file in good:
                files[file.table].append(self.lake / file.path)
            troubles += bad
        every = [_as_list(self.lake, *key, raw) for key, raw in _all_lists(self.lake).items()]
        named = {file.path for known in every for each in known.files.values() for file in each}
        unlisted = "on no lane's list: not written by an update that ended"
        troubles += [Trouble(name, unlisted) for name in _names(self.lake) if name not in named]
        back = sum(known.clock_back for known in self._lists.values())
        return Contents({name: tuple(paths) for name, paths in files.items()}, tuple(troubles), back)


@dataclass(slots=True)
class _Chunk:
    """Rows not yet in a file: (table, day) -> values."""

    rows: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0


def update(lake: Path, journal: Path, site: str, lane: str) -> Progress:
    """Bring a lane's tables up to its journal. Nothing is added twice, whenever and however often it is called.

    Raises:
        LakeFault: the journal is not whole, is another one than was read before under this name, or is shorter; or
            another update runs. What was in the lake stays.
        LakeNewer: the lake was written by a newer program.
        OSError: the disk.
    """
    if not (NAME.fullmatch(site) and NAME.fullmatch(lane)):
        raise LakeFault(f"lane {site[:40]!r}/{lane[:40]!r}: not a lane's name; see [lane] in its configuration")
    with _locked(lake, site, lane):
        known = _read_list(lake, site, lane) or _List(site=site, lane=lane, schema=LIST_SCHEMA)
        bad = _judged(lake, known)[1]
        if bad:
            _check_journal(journal, known)  # what is lost here must be there
            for trouble in bad:
                _quarantine(lake, trouble.path)
            _forget(lake, known)
            known = _List(site=site, lane=lane, schema=LIST_SCHEMA)
        _sweep(lake, known)
        before = known.through_sequence
        chunk = _Chunk()
        for row in _rows(journal, known):
            table, values = table_row(row, site, lane)
            chunk.rows[table, values["day"]].append(values)
            chunk.count += 1
            if chunk.count >= CHUNK_ROWS:
                _commit(lake, known, chunk)
                chunk = _Chunk()
        if chunk.count:
            _commit(lake, known, chunk)
        return Progress(
            known.through_sequence - before, known.through_sequence, tuple(f"{t.path}: {t.cause}" for t in bad)
        )


def listed(lake: Path, lanes: Sequence[tuple[str, str]] | None = None) -> Listed:
    """The lists of all lanes or of some. Reads only.

    Raises:
        LakeFault: no lake here, or a lane that is not in it.
        LakeNewer: a list is of a newer program.
    """
    every = _all_lists(lake)
    if not every:
        raise LakeFault(f"{lake}: no record here; give the lane's --root, or a --lake that was written by export")
    for site, lane in lanes or ():
        if (site, lane) not in every:
            names = ", ".join("/".join(key) for key in every)
            raise LakeFault(f"{lake}: no lane {site}/{lane} here; there are: {names}")
    return Listed(lake, {key: raw for key, raw in every.items() if lanes is None or key in lanes})


def contents(lake: Path, lanes: Sequence[tuple[str, str]] | None = None) -> Contents:
    """Every file that counts, of all lanes or of some. Raises as `listed`."""
    return listed(lake, lanes).contents()


def _all_lists(lake: Path) -> dict[tuple[str, str], bytes]:
    found = {}
    for path in sorted((lake / "lanes").glob("*.json")) if (lake / "lanes").is_dir() else ():
        site, _, lane = path.stem.partition(".")
        with path.open("rb") as file:
            found[site, lane] = file.read(LONGEST_LIST + 1)
    return found


def _names(lake: Path) -> Iterator[str]:
    """Every data file that lies in the lake, sorted in each folder."""
    for table in TABLES:
        for folder, folders, names in os.walk(lake / table.name):
            folders.sort()
            inside = folder[len(f"{lake}/") :]
            yield from (f"{inside}/{name}" for name in sorted(names) if ".parquet" in name)


def arrow_schema(table: Table) -> Any:
    """The table's columns as Parquet holds them."""
    import pyarrow as pa

    types = {Kind.TEXT: pa.string(), Kind.WHOLE: pa.int64(), Kind.NUMBER: pa.float64(), Kind.TRUTH: pa.bool_()}
    return pa.schema([pa.field(column.name, types[column.kind]) for column in table.columns])


def _rows(journal: Path, known: _List) -> Iterator[Row]:
    """Rows after those that were read, each checked against its hash and its predecessor's.

    The list is moved on as rows are given: it is true once they are in files.
    """
    with _opened(journal) as db:
        _same_journal(journal, db, known)
        last_ns = 0
        for columns in db.execute(
            f"SELECT {COLUMNS} FROM rows WHERE sequence > ? ORDER BY sequence", (known.through_sequence,)
        ):
            row = Row(*columns)
            follows = row.sequence == known.through_sequence + 1 and row.previous_hash == known.through_hash
            if not follows or row_hash(*columns[:-1]) != row.hash:
                raise LakeFault(
                    f"{journal}: row {known.through_sequence + 1} is not what was written; nothing from it on is"
                    " counted (lanepulse journal verify)"
                )
            known.through_sequence, known.through_hash = row.sequence, row.hash
            known.first_hash = known.first_hash or row.hash
            known.clock_back += row.written_utc_ns < last_ns
            last_ns = row.written_utc_ns
            yield row


@contextmanager
def _opened(journal: Path) -> Iterator[sqlite3.Connection]:
    """Read-only, at one moment of a journal that may be growing."""
    if not journal.is_file():
        raise LakeFault(f"{journal}: no journal here; give the lane's --root")
    try:
        with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")
            yield db
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LakeFault(f"{journal}: {error}; nothing was added (lanepulse journal verify)") from None


def _check_journal(journal: Path, known: _List) -> None:
    with _opened(journal) as db:
        _same_journal(journal, db, known)


def _same_journal(journal: Path, db: sqlite3.Connection, known: _List) -> None:
    for sequence, expected in ((1, known.first_hash), (known.through_sequence, known.through_hash)):
        if known.through_sequence == 0:
            return
        found = db.execute("SELECT hash FROM rows WHERE sequence = ?", (sequence,)).fetchone()
        if found is None:
            raise LakeFault(
                f"{journal}: ends before row {sequence}, which the record of {known.site}/{known.lane} has: an older"
                " copy; nothing was added"
            )
        if found[0] != expected:
            raise LakeFault(
                f"{journal}: another journal than the one read before as {known.site}/{known.lane}: two lanes with one"
                " name? Nothing was added; give one of them another [lane] name, or its own --lake"
            )


def _commit(lake: Path, known: _List, chunk: _Chunk) -> None:
    """Files, then the list, then what the list no longer names."""
    import pyarrow as pa  # here and below: whoever only asks writes nothing, and need not wait for it
    import pyarrow.parquet as pq

    replaced: list[Path] = []
    for (table_name, day), values in sorted(chunk.rows.items()):
        files = known.files.setdefault(table_name, [])
        folder = f"{table_name}/site={known.site}/lane={known.lane}/day={day}"
        rows = pa.Table.from_pylist(values, schema=arrow_schema(BY_NAME[table_name]))
        earlier = next((f for f in files if f.path.startswith(folder + "/") and f.rows < MERGE_ROWS), None)
        if earlier is not None:
            rows = pa.concat_tables([_as_today(pq.read_table(lake / earlier.path), BY_NAME[table_name]), rows])
            files.remove(earlier)
            replaced.append(lake / earlier.path)
        files.append(_write(lake, folder, rows))
        files.sort(key=lambda file: (file.path, file.first))
    _sync_file_system(lake)  # once for all: a year of days is thousands of files
    _write_list(lake, known)
    for path in replaced:
        path.unlink(missing_ok=True)


def _write(lake: Path, folder: str, rows: Any) -> File:
    import pyarrow.parquet as pq

    first, last = rows["sequence"][0].as_py(), rows["sequence"][-1].as_py()
    (lake / folder).mkdir(parents=True, exist_ok=True)
    name = f"{folder}/{first}-{last}.parquet"
    path, beside = lake / name, lake / f"{name}.new"
    meta = rows.replace_schema_metadata({"lanepulse.version": str(VERSION)})
    pq.write_table(meta, beside, compression="zstd", version="2.6")
    beside.replace(path)
    content = path.read_bytes()
    return File(
        path=name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        rows=rows.num_rows,
        first=first,
        last=last,
    )


def _as_today(rows: Any, table: Table) -> Any:
    """A table of an older version: what it lacks is NULL."""
    import pyarrow as pa

    schema = arrow_schema(table)
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _judged(lake: Path, known: _List, tables: Sequence[str] | None = None) -> tuple[list[File], list[Trouble]]:
    """Files (of some tables) that are what was written, and those that are not.

    A digest is not computed again while size, change time and inode are those at which it was last right. That no file
    is of a newer version than its list says is the list's to say, and was looked at when it was read.
    """
    seen_path = lake / "lanes" / f"{known.site}.{known.lane}.seen"
    seen = _seen(seen_path)
    good, bad, now = [], [], dict(seen)
    for table, files in known.files.items():
        if tables is not None and table not in tables:
            continue
        for file in files:
            known_table = table in BY_NAME and file.table == table
            cause = _cause(f"{lake}/{file.path}", file, now) if known_table else f"table {table} is not known here"
            if cause:
                bad.append(Trouble(file.path, cause))
            else:
                good.append(file)
    if now != seen and os.access(seen_path.parent, os.W_OK):
        listed_now = {file.path for files in known.files.values() for file in files}
        replace_file(seen_path, json_text.write({p: stamp for p, stamp in now.items() if p in listed_now}).encode())
    return good, bad


def _cause(path: str, file: File, seen: dict[str, str]) -> str:
    """What is wrong with a file; nothing if it is right, and then ``seen`` has its stamp."""
    if ".." in file.path.split("/"):
        return "its name leads out of the lake"
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return "its name leads out of the lake"
        stamp = f"{status.st_size} {status.st_ctime_ns} {status.st_ino}"
        if seen.get(file.path) != stamp and (status.st_size != file.bytes or _digest(path) != file.sha256):
            return "its content is not what was written"
    except OSError as error:
        return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {str(error)[:80]}"
    seen[file.path] = stamp
    return ""


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seen(path: Path) -> dict[str, str]:
    try:
        document = json_text.read(path.read_bytes()[: json_text.LONGEST_BYTES])
        return {str(name): str(stamp) for name, stamp in document.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # it only saves time


def _read_list(lake: Path, site: str, lane: str) -> _List | None:
    try:
        raw = (lake / "lanes" / f"{site}.{lane}.json").read_bytes()[: LONGEST_LIST + 1]
    except FileNotFoundError:
        return None
    return _as_list(lake, site, lane, raw)


def _as_list(lake: Path, site: str, lane: str, raw: bytes) -> _List:
    """Raises LakeFault, LakeNewer."""
    path = lake / "lanes" / f"{site}.{lane}.json"
    try:
        known = _List.model_validate_json(raw)
    except ValidationError as error:
        raise LakeFault(f"{path}: not a lane's list ({error.error_count()} faults); remove it to read anew") from None
    if known.schema_ != LIST_SCHEMA or known.version > VERSION:
        raise LakeNewer(
            f"{path}: {known.schema_}, version {known.version}; this program knows {LIST_SCHEMA}, {VERSION}"
        )
    if (known.site, known.lane) != (site, lane):
        raise LakeFault(f"{path}: is the list of {known.site[:40]}/{known.lane[:40]}; a copied file?")
    return known


def _write_list(lake: Path, known: _List) -> None:
    known.version = VERSION
    replace_file(lake / "lanes" / f"{known.site}.{known.lane}.json", known.model_dump_json(by_alias=True).encode())


def _forget(lake: Path, known: _List) -> None:
    """The list goes first, then its files: a crash in between leaves files on no list."""
    (lake / "lanes" / f"{known.site}.{known.lane}.json").unlink(missing_ok=True)
    for files in known.files.values():
        for file in files:
            (lake / file.path).unlink(missing_ok=True)


def _sweep(lake: Path, known: _List) -> None:
    """Remove what a crash of ours left behind in this lane's folders: files on no list."""
    listed = {lake / file.path for files in known.files.values() for file in files}
    for table in TABLES:
        for path in (lake / table.name / f"site={known.site}" / f"lane={known.lane}").rglob("*.parquet*"):
            if path not in listed:
                _quarantine(lake, str(path.relative_to(lake)))


def _quarantine(lake: Path, name: str) -> None:
    path = lake / name
    if not path.exists() or ".." in Path(name).parts:
        return
    (lake / QUARANTINE).mkdir(exist_ok=True)
    aim = lake / QUARANTINE / name.replace("/", "~")
    number = 0
    while aim.exists():
        number += 1
        aim = aim.with_name(f"{name.replace('/', '~')}.{number}")
    path.replace(aim)


@contextmanager
def _locked(lake: Path, site: str, lane: str) -> Iterator[None]:
    (lake / "lanes").mkdir(parents=True, exist_ok=True)
    with (lake / "lanes" / f"{site}.{lane}.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LakeFault(f"{lake}: {site}/{lane} is being brought up to date by another; try again") from None
        yield


def replace_file(path: Path, content: bytes) -> None:
    """Whole old content or whole new, also through a power cut."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync(path.parent)


def _sync_file_system(path: Path) -> None:
    """Everything written so far is on disk, names included (syncfs(2))."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if _LIBC.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{path}: {os.strerror(number)}; the record was not brought up to date")
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
