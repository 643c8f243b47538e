"""What commands print: data to stdout, in UTF-8 and without colour or folding, whatever the terminal says it is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from unicodedata import east_asian_width

from edge import json_text

HOME_AND_CLEAR = "\x1b[H\x1b[2J"  # ECMA-48 CUP, ED


class ReaderGone(Exception):
    """Whoever read our output has what it wanted. No OSError: click would make a failure of it."""


def say(text: str) -> None:
    """A line of data. Control characters are shown, never obeyed: names come from devices and files."""
    _write(clean(text))


def say_json(document: Any) -> None:
    """One document on one line, the same bytes in every environment. Raises JsonRefused."""
    _write(json_text.write(document))


def say_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their longest cell: nothing is cut, and `cut` and `awk` can read it."""
    cells = [tuple(header), *(tuple("-" if cell is None else clean(str(cell)) for cell in row) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        _write("  ".join(padded).rstrip())


def say_screen(rows: Sequence[str]) -> None:
    """A whole terminal screen, anew. ``rows`` may hold colours; whoever makes them has cleaned the rest."""
    _write(HOME_AND_CLEAR + "\n".join(rows))


def tell(text: str) -> None:
    """A line of talk, to stderr."""
    sys.stdout.flush()
    sys.stderr.buffer.write(f"{clean(text)}\n".encode("utf-8", "backslashreplace"))
    sys.stderr.flush()


def _write(line: str) -> None:
    try:
        sys.stdout.buffer.write(f"{line}\n".encode("utf-8", "backslashreplace"))
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def clean(text: str) -> str:
    """``text`` with its control characters shown instead of obeyed."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
