"""JSON that every reader on earth agrees about, and one canonical form of it.

Refused on reading and on writing: NaN and infinities, a key twice, lone surrogates, integers beyond 2^53 (a browser
would round them: nanoseconds travel as strings), and anything deeper or longer than stated here.
The canonical form has sorted keys, no spaces, UTF-8 without escapes where none are needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

LARGEST_EXACT = 2**53  # IEEE 754 double: the integers a browser keeps
LONGEST_BYTES = 4 * 1024 * 1024  # assumed: far above any verdict, far below the box's memory
DEEPEST = 64  # assumed: no message of ours is nested deeper than ten


class JsonRefused(ValueError):
    """One line: where in the document, what was found."""


def write(document: Any) -> str:
    """Canonical JSON text of mappings, lists, tuples, str, int, float, bool and None.

    Raises:
        JsonRefused: see the module; nothing is written then.
    """
    _check(document, "$", 0)
    text = json.dumps(_plain(document), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    if len(text.encode()) > LONGEST_BYTES:
        raise JsonRefused(f"$: longer than {LONGEST_BYTES} bytes; send less")
    return text


def read(text: str | bytes) -> Any:
    """The document in ``text``.

    Raises:
        JsonRefused: not JSON, or one of the things the module refuses.
    """
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(raw) > LONGEST_BYTES:
        raise JsonRefused(f"$: {len(raw)} bytes, more than {LONGEST_BYTES}")
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except JsonRefused:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonRefused(f"$: not JSON: {error}") from None
    _check(document, "$", 0)
    return document


def read_lines(text: bytes) -> list[Any]:
    """Documents of a file with one JSON document a line; empty lines are skipped.

    Raises:
        JsonRefused: the message begins with the line number.
    """
    documents = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            documents.append(read(line))
        except JsonRefused as error:
            raise JsonRefused(f"line {number}: {error}") from None
    return documents


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise JsonRefused(f"$: key {key!r} twice")
        found[key] = value
    return found


def _no_constant(word: str) -> NoReturn:
    raise JsonRefused(f"$: {word} is not JSON")


def _check(value: Any, where: str, depth: int) -> None:
    """Raises JsonRefused naming the place of the first thing that does not belong."""
    if depth > DEEPEST:
        raise JsonRefused(f"{where[:80]}: nested deeper than {DEEPEST}")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, int | float):
        _check_number(value, where)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise JsonRefused(f"{where}: key {key!r} is not text")
            _check_text(key, where)
            _check(inner, f"{where}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check(inner, f"{where}[{index}]", depth + 1)
    else:
        raise JsonRefused(f"{where}: {type(value).__name__} has no JSON form")


def _check_text(text: str, where: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise JsonRefused(f"{where!a}: a lone surrogate in {text[:40]!a}")


def _check_number(number: int | float, where: str) -> None:
    if isinstance(number, float) and not isfinite(number):
        raise JsonRefused(f"{where}: {number} is not JSON; give null and say why")
    if abs(number) > LARGEST_EXACT:
        raise JsonRefused(f"{where}: number beyond 2^53; give it as a string")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
