from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge.toml_lines import scan

TEXT = '''\
# a comment with = and [brackets]
top = 1
[a.b]          # header
c.d = "x # = y"
e = """
[not.a.header]
f = 1 \\"""
"""
"quoted.key" = { g = 1, h = { i = 'no' } }
list = [
  1, # one
  { j = 2 },
]
[[many]]
k = 1
[many.inside]
l = 1
[[many]]
k = 2
'''


def paths(value: Any, here: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {here, *(path for key, below in inner for path in paths(below, (*here, key)))}


def test_every_key_of_the_reader_has_a_line() -> None:
    assert paths(tomllib.loads(TEXT)) - {()} == set(scan(TEXT).of)


def test_lines_are_those_of_the_text() -> None:
    of = scan(TEXT).of
    assert (of["top",], of["a", "b"], of["a", "b", "c", "d"], of["a", "b", "quoted.key", "h", "i"]) == (2, 3, 4, 9)
    assert (of["a", "b", "list", 1, "j"], of["many", 0, "inside", "l"], of["many", 1, "k"]) == (12, 17, 19)


def test_what_stands_twice_is_known_with_both_lines() -> None:
    assert scan("a = 1\n[t]\nb = 1\nb = 2\n[t]\n").twice == [(("t", "b"), 3, 4), (("t",), 2, 5)]


@given(st.text(alphabet="ab=.[]{}\"'#,\\ \n1", max_size=80))
def test_any_text_is_scanned_without_a_word(text: str) -> None:
    of = scan(text).of
    assert all(1 <= line <= text.count("\n") + 1 for line in of.values())


@given(st.text(alphabet="ab=.[]{}\"'#,\\ \n1", max_size=60))
def test_whatever_the_reader_takes_the_scanner_finds(text: str) -> None:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert paths(table) - {()} <= set(scan(text).of)
