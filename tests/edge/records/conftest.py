"""A generated season of one lane, read once: its truth is known. `make records` does the same with whole years."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.records.lake import update
from edge.records.relations import Record
from hil.record import Truth, write

DAYS, EACH_DAY = 130, 60  # a day is seven files: more days cost more time than more lorries


@dataclass(frozen=True)
class Year:
    """Where a generated record lies, and what really happened."""

    journal: Path
    lake: Path
    truth: Truth


@pytest.fixture(scope="session")
def year(tmp_path_factory: pytest.TempPathFactory) -> Year:
    """One lane, 130 days, some sixty lorries a day. Do not write to it."""
    folder = tmp_path_factory.mktemp("year")
    truth = write(folder / "journal.db", "calais", "3", DAYS, EACH_DAY, seed=1)
    update(folder / "lake", folder / "journal.db", "calais", "3")
    return Year(folder / "journal.db", folder / "lake", truth)


@pytest.fixture(scope="session")
def record(year: Year) -> Iterator[Record]:
    """The year behind the embedded engine."""
    with Record(year.lake) as record:
        yield record
