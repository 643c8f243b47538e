from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.journal.journal import Row
from edge.records import rows
from edge.records.schema import BY_NAME, COMMON, CONTEXT_WORDS, TABLES, UNDATED

NOON_NS = 1_772_366_400_000_000_000  # 2026-03-01T12:00:00Z
EVIDENCE = [
    {"modality": name, "state": "absent", "log10_lr": 0.0, "cause": "none"}
    for name in ("vibration", "co2", "mmwave", "xray")
]
VERDICT = {
    "site": "calais",
    "lane": "3",
    "revision": 1,
    "final": True,
    "issued_utc": "2026-03-01T12:00:00Z",
    "level": "recheck",
    "score": 0.5,
    "log10_odds": -3,
    "prior_log10_odds": -3.1,
    "evidence": EVIDENCE,
    "reasons": [{"code": "clock.not_set"}, {"code": "policy.timeout"}],
    "trained_on": "simulated",
    "produced_by": {"version": "0.1.0", "model": "concealment-2", "model_sha256": "a", "config_sha256": "b"},
}


def row(kind: str, body: Any, written_utc_ns: int = NOON_NS) -> Row:
    text = body if isinstance(body, str) else json.dumps(body)
    return Row(7, "boot", kind, "01JQ0F7Y3W8V5R2M9K4T6B1N0D", written_utc_ns, text, "0", "1")


def test_every_table_has_a_reader_and_every_value_a_column() -> None:
    assert rows._READERS.keys() == {table.name for table in TABLES if table.row_kinds}
    assert set(CONTEXT_WORDS) <= {column.name for column in BY_NAME["bundles"].own}
    assert all(column.name not in {own.name for own in table.own} for table in TABLES for column in COMMON)


def test_a_verdict_keeps_what_each_modality_added_and_whether_the_clock_was_set() -> None:
    table, values = rows.table_row(row("verdict", VERDICT), "calais", "3")
    assert table == "verdicts"
    assert set(values) == {column.name for column in BY_NAME["verdicts"].columns}
    assert (values["co2_state"], values["co2_log10_lr"], values["clock_set"]) == ("absent", 0.0, False)
    assert (values["day"], values["lane"]) == ("2026-03-01", "3")


def test_an_outcome_that_was_taken_back_says_nothing() -> None:
    told = {"searched": True, "found": True, "people": 2, "secured": {"locks": "ok", "curtain": "cut"}}
    _, values = rows.table_row(row("outcome", {"revision": 1, "outcome": told}), "calais", "3")
    assert (values["found"], values["people"], values["load_secured"], values["undone"]) == (True, 2, False, False)
    _, taken_back = rows.table_row(row("outcome", {"revision": 2, "outcome": None}), "calais", "3")
    assert (taken_back["undone"], taken_back["found"]) == (True, None)


@pytest.mark.parametrize(
    ("kind", "body", "names"),
    [
        ("verdict", VERDICT | {"level": "maybe"}, "level"),
        ("verdict", VERDICT | {"evidence": EVIDENCE[:3]}, "evidence"),
        ("outcome", {"outcome": {"searched": False, "found": True}}, "found"),
        ("passage.opened", {"began_utc": "yesterday"}, "yesterday"),
        ("audit", {"stratum": "all", "probability": 2, "drawn": True}, "probability"),
        ("bundle", "[]", "object"),
        ("context", "{", "Expecting"),
    ],
)
def test_a_row_that_cannot_be_read_is_kept_apart_and_says_why(kind: str, body: Any, names: str) -> None:
    table, values = rows.table_row(row(kind, body), "calais", "3")
    assert table == "refused_rows"
    assert names in values["cause"] and values["sequence"] == 7


def test_a_kind_that_nobody_knows_is_counted_as_such() -> None:
    table, values = rows.table_row(row("coffee", {}), "calais", "3")
    assert (table, values["row_kind"]) == ("other_rows", "coffee")


def test_rows_of_a_clock_at_its_epoch_have_no_day() -> None:
    assert rows.day_of(10_000_000_000) == UNDATED
    assert rows.day_of(-(2**62)) == UNDATED
    assert rows.day_of(NOON_NS) == "2026-03-01"


def test_a_load_is_secured_when_what_was_checked_is_in_order() -> None:
    assert rows.load_secured({"locks": "ok", "roof": "not_checked"}) is True
    assert rows.load_secured({"locks": "ok", "roof": "cut"}) is False
    assert rows.load_secured({"roof": "not_checked"}) is None
    assert rows.load_secured({}) is None


@given(st.sampled_from([*rows.OF_ROW_KIND, "x"]), st.text() | st.dictionaries(st.text(), st.integers() | st.text()))
def test_any_body_gives_a_row_of_some_table(kind: str, body: Any) -> None:
    table, values = rows.table_row(row(kind, body), "calais", "3")
    assert set(values) == {column.name for column in BY_NAME[table].columns}
