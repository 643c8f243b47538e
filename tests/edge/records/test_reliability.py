from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from edge.journal.journal import Journal
from edge.records.reliability import DAY_NS, Reliability

NOW_NS = 1_780_000_000_000_000_000


class Record:
    """A journal whose clock the test sets, and what is counted from it."""

    def __init__(self, path: Path) -> None:
        self.at_ns = NOW_NS
        self.journal = Journal.open(path / "journal.db", None, now_utc_ns=lambda: self.at_ns)
        self.counted = Reliability(self.journal, lambda: self.at_ns)

    def searched(self, passage_id: str, found: bool, level: str = "search", **shown: Any) -> None:
        outcome = {"searched": True, "found": found}
        body = {"outcome": outcome, "shown": {"level": level, "audited": False} | shown}
        self.journal.append("outcome", passage_id, body)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path)


def test_one_in_fourteen_is_told_with_the_interval_that_scipy_gives(record: Record) -> None:
    for number in range(280):
        record.searched(f"p{number}", found=number % 14 == 0)
    told = record.counted.told()["search"]
    exact = binomtest(20, 280).proportion_ci(0.95, "wilson")
    assert (told["cases"], told["of"], told["one_in"], told["days"]) == (20, 280, 14.0, 90)
    assert told["from"] == pytest.approx(1 / exact.high, rel=0.15)
    assert told["to"] == pytest.approx(1 / exact.low, rel=0.15)
    assert told["from"] < 14 < told["to"]


@pytest.mark.parametrize(("searched", "found"), [(19, 5), (200, 2)])
def test_too_few_cases_say_nothing(record: Record, searched: int, found: int) -> None:
    for number in range(searched):
        record.searched(f"p{number}", found=number < found)
    assert record.counted.told() == {}


def test_what_is_older_than_ninety_days_no_longer_counts(record: Record) -> None:
    for number in range(40):
        record.searched(f"p{number}", found=number < 10)
    assert record.counted.told()["search"]["of"] == 40
    record.at_ns += 91 * DAY_NS
    assert record.counted.told() == {}


def test_a_vehicle_that_the_audit_drew_does_not_count_against_the_prompts_whatever_was_told(record: Record) -> None:
    for number in range(30):
        record.searched(f"p{number}", found=number < 6)
    for number in range(30, 60):
        record.journal.append("audit", f"p{number}", {"stratum": "all", "probability": 0.1, "drawn": True})
        record.searched(f"p{number}", found=False)  # told as an ordinary search
    told = record.counted.told()
    assert told["search"]["of"] == 30
    assert "audit" not in told  # nobody was found in them: too little to say


def test_volunteers_are_neither_finds_nor_false_alarms(record: Record) -> None:
    for number in range(40):
        record.searched(f"p{number}", found=number < 10)
    for number in range(5):
        record.journal.append("covert.revealed", f"p{number}", {"people": 1})
    assert record.counted.told()["search"]["cases"] == 5


def test_a_correction_counts_once_and_an_undone_outcome_not_at_all(record: Record) -> None:
    for number in range(30):
        record.searched(f"p{number}", found=number < 10)
    record.searched("p0", found=False)
    record.journal.append("outcome", "p1", {"outcome": None, "shown": None})
    told = record.counted.told()["search"]
    assert (told["cases"], told["of"]) == (8, 29)
