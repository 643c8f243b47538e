"""JSON that browsers, databases and other languages can read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import json_text


@pytest.mark.parametrize(
    "text",
    [
        '{"a":NaN}',
        "[Infinity]",
        "-Infinity",
        '{"a":1,"a":2}',
        '"\\ud800"',
        "9007199254740993",
        "1e999",
        "[" * 99999,
        "",
    ],
)
def test_what_others_cannot_read_is_refused_on_reading(text: str) -> None:
    with pytest.raises(json_text.JsonRefused):
        json_text.read(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\udcff", 2**53 + 1, {1: 2}, b"x", {"a": {"\ud800": 1}}])
def test_what_others_cannot_read_is_refused_on_writing(value: Any) -> None:
    with pytest.raises(json_text.JsonRefused):
        json_text.write(value)


def test_a_bad_line_is_named_by_its_number() -> None:
    with pytest.raises(json_text.JsonRefused, match=r"^line 3: "):
        json_text.read_lines(b'{"a":1}\n\n{"a":NaN}\n')


def test_of_the_case_only_the_good_line_is_accepted(cases: Path) -> None:
    lines = (cases / "58-json-nan-in-messages" / "bad.jsonl").read_bytes().splitlines()
    assert lines
    accepted = []
    for line in lines:
        try:
            json_text.read(line)
        except json_text.JsonRefused:
            continue
        accepted.append(line)
    assert accepted == [b'{"ok": 1}']


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_what_was_written_reads_back_and_writes_the_same_again(value: Any) -> None:
    text = json_text.write(value)
    assert json_text.read(text) == value
    assert json_text.write(json_text.read(text)) == text
