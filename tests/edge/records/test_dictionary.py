from __future__ import annotations

from pathlib import Path

from edge.records import dictionary
from edge.records.schema import TABLES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data-dictionary.md"


def test_the_page_is_what_the_schema_says() -> None:
    assert PAGE.read_text() == dictionary.text(), "run: python -m edge.records.dictionary > docs/data-dictionary.md"


def test_every_column_says_what_it_means() -> None:
    assert all(column.meaning.endswith(".") for table in TABLES for column in table.columns)
