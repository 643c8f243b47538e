"""Comma-separated rows, read so that a number is never another number.

A spreadsheet that opens and saves a recording changes separators, decimal marks and encoding. A byte order mark is
harmless; everything else is refused with line and column. The last line may be half a row, after a power cut: it is
left out and said.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fusion.bundle.fault import FileFault
from fusion.bundle.times import parse_utc

MOST_ROWS = 200_000  # assumed: two probes a second for a day; bounds memory to some 100 MB
LONGEST_LINE_BYTES = 4096  # assumed: the widest row of ours is below 200
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # UTF-16, and the first half of UTF-32
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A reading, and how long the file was when it was in it: a replay cuts there."""

    end_byte: int
    reading: T


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """Readings in the order of the file, and what was left out."""

    rows: tuple[Kept[T], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """What a file has to hold. ``last_words``: words of the last column that cannot be the beginning of another."""

    file: str
    names: tuple[str, ...]
    required: tuple[str, ...]
    last_words: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of one line by column; every getter raises FileFault naming file, line and column."""

    file: str
    line: int
    cells: dict[str, str]

    def word(self, column: str) -> str:
        """The cell's text, empty where the file has no such column."""
        return self.cells.get(column, "")

    def time_utc_ns(self, column: str = "time_utc") -> int:
        """The cell as a moment."""
        try:
            return parse_utc(self.word(column))
        except ValueError as error:
            raise self.fault(column, str(error)) from None

    def number(self, column: str) -> float | None:
        """The cell as a number; None where it is empty."""
        text = self.word(column)
        if not text:
            return None
        if not _NUMBER.fullmatch(text) or len(text) > 40 or abs(float(text)) > 1e12:
            raise self.fault(column, f"{text[:40]!r} is not a number; write it with a point and no thousands marks")
        return float(text)

    def fault(self, column: str, found: str) -> FileFault:
        """What to raise about a cell."""
        return FileFault(f"{self.file}: line {self.line}, column {column}: {found}")


def read_table(text: bytes, columns: Columns, decode: Callable[[Row], T]) -> Table[T]:
    """Rows by way of ``decode``, which raises FileFault.

    Raises:
        FileFault: the first cell that is not what FORMATS says, by line and column.
    """
    _check_encoding(text, columns)
    body = text.removeprefix(_BOM)
    shift = len(text) - len(body)
    lines = body.split(b"\n")
    if len(lines) > MOST_ROWS:
        raise FileFault(f"{columns.file}: {len(lines)} lines; up to {MOST_ROWS} are read")
    header = _header(lines, columns)
    notes = [
        f"{columns.file}: column {name[:40]!r} is not known and is ignored" for name in header - set(columns.names)
    ]
    rows: list[Kept[T]] = []
    order = _cells(lines[0], columns.file, 1)
    end = shift + len(lines[0]) + 1
    for number, line in enumerate(lines[1:], 2):
        end = min(end + len(line) + 1, len(text))
        if not line.strip():
            continue
        if number == len(lines) and not _whole(line, order, columns):
            notes.append(f"{columns.file}: line {number} is half a row ({len(line)} bytes): left out")
            continue
        cells = _cells(line, columns.file, number)
        _check_count(cells, order, columns, number)
        rows.append(Kept(end, decode(Row(columns.file, number, dict(zip(order, cells, strict=True))))))
    return Table(tuple(rows), tuple(notes))


def _check_encoding(text: bytes, columns: Columns) -> None:
    first = columns.names[0]
    if not text.strip():
        raise FileFault(f"{columns.file}: the file is empty")
    if text[:2] in _WIDE or b"\x00" in text:
        raise FileFault(f"{columns.file}: line 2, column {first}: the text is UTF-16 or binary; save it as UTF-8")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        if error.end == len(text) and error.reason == "unexpected end of data":
            return  # the cut went through a letter: the last line is half a row
        raise FileFault(f"{columns.file}: line {line}: not UTF-8 (byte 0x{text[error.start]:02x})") from None


def _header(lines: Sequence[bytes], columns: Columns) -> set[str]:
    names = _cells(lines[0], columns.file, 1)
    found = set(names)
    missing = [name for name in columns.required if name not in found]
    if missing and len(names) == 1:
        raise _foreign_separator(lines, columns)
    if missing:
        raise FileFault(
            f"{columns.file}: line 1, column {missing[0]}: missing; the header is {','.join(columns.names)}"
        )
    if len(found) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FileFault(f"{columns.file}: line 1, column {twice[:40]}: named twice")
    return found


def _foreign_separator(lines: Sequence[bytes], columns: Columns) -> FileFault:
    """The message for a file that a spreadsheet of another country wrote, by its first cell that would be misread."""
    header = lines[0].decode("utf-8", "replace").strip()
    mark = next((mark for mark in ";\t|" if mark in header), None)
    if mark is None:
        return FileFault(f"{columns.file}: line 1: no header {','.join(columns.names)} in {header[:40]!r}")
    names = header.split(mark)
    cells = lines[1].decode("utf-8", "replace").strip().split(mark) if len(lines) > 1 else []
    odd = next(((n, c) for n, c in zip(names, cells, strict=False) if "," in c), (names[0], "".join(cells[:1])))
    return FileFault(
        f"{columns.file}: line 2, column {odd[0][:40]}: {odd[1][:40]!r} in a file separated by {mark!r}; "
        "save it with commas between cells and points in numbers"
    )


def _cells(line: bytes, file: str, number: int) -> list[str]:
    if len(line) > LONGEST_LINE_BYTES:
        raise FileFault(f"{file}: line {number}: {len(line)} bytes; up to {LONGEST_LINE_BYTES} are read")
    text = line.decode("utf-8", "replace").removesuffix("\r")
    if "\r" in text:
        raise FileFault(f"{file}: line {number}: a carriage return inside the line; end lines with a line feed")
    try:
        found = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise FileFault(f"{file}: line {number}: {error}") from None
    return [cell.strip(" ") for cell in found]


def _check_count(cells: Sequence[str], order: Sequence[str], columns: Columns, number: int) -> None:
    if len(cells) == len(order):
        return
    odd = order[min(len(cells), len(order) - 1)]
    if len(cells) > len(order):  # a decimal comma splits a number: name the first column that is not itself
        odd = next((n for n, c in zip(order, cells, strict=False) if n.endswith("ppm") and c), odd)
    raise FileFault(
        f"{columns.file}: line {number}, column {odd}: {len(cells)} cells where the header has {len(order)}; "
        "a comma inside a number?"
    )


def _whole(line: bytes, order: Sequence[str], columns: Columns) -> bool:
    """Whether a last line without a line feed can be trusted to the last letter."""
    try:
        cells = _cells(line, columns.file, 0)
    except FileFault:
        return False
    return len(cells) == len(order) and order[-1] == columns.names[-1] and cells[-1] in columns.last_words
