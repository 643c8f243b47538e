"""Plates of many scripts: what joins by itself, what is offered, what never joins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.xray.plates import Same, join_key, same

WANTED = {True: Same.YES, False: Same.NO, "maybe": Same.MAYBE}


def test_every_pair_of_plates_joins_as_a_person_would_say(cases: Path) -> None:
    lines = (cases / "71-plates-scripts-and-look-alikes" / "plates.jsonl").read_text(encoding="utf-8").splitlines()
    for pair in map(json.loads, lines):
        assert same(pair["a"], pair["b"]) is WANTED[pair["same"]], pair
        assert same(pair["b"], pair["a"]) is WANTED[pair["same"]], pair


@pytest.mark.parametrize(("text", "key"), [("b-oo 288", "BOO288"), ("В00288", "B00288"), ("٣٤ ABC", "34ABC"),
                                           ("unknown", None), ("", None), (None, None), ("--", None)])  # fmt: skip
def test_the_key_is_letters_and_digits_of_one_alphabet(text: str | None, key: str | None) -> None:
    assert join_key(text) == key


def test_look_alikes_are_offered_and_never_joined() -> None:
    assert same("B00288", "B-OO 288") is Same.MAYBE
    assert same("AB18", "A8I8") is Same.MAYBE


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_text_is_judged_the_same_in_both_orders(first: str, second: str) -> None:
    assert same(first, second) is same(second, first)
    assert join_key(first) is None or same(first, first) is Same.YES
