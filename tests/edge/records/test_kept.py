"""Vehicles joined once are made anew when anything that they came from changes, and never believed when edited."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from edge.journal.journal import Journal
from edge.records import kept
from edge.records.lake import update
from edge.records.relations import Record, counted, totals
from hil.record import write


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    write(tmp_path / "journal.db", "calais", "3", 2, 40, seed=1)
    update(tmp_path / "lake", tmp_path / "journal.db", "calais", "3")
    return tmp_path / "lake"


def vehicles(lake: Path) -> int:
    with Record(lake) as record:
        return int(totals(counted(record.vehicles())).to_pyarrow()["vehicles"][0].as_py())


def files(lake: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (lake / kept.FOLDER).glob("*.parquet")}


def joined_again(*_: object) -> None:
    raise AssertionError("joined again")


def test_a_second_question_joins_nothing(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = vehicles(lake)
    monkeypatch.setattr(Record, "_joined", joined_again)
    assert vehicles(lake) == count > 50


def test_new_rows_and_another_question_make_it_anew(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, before = vehicles(lake), files(lake)
    with Journal.open(tmp_path / "journal.db", None, boot_id="b", now_utc_ns=lambda: 1_735_900_000_000_000_000) as book:
        book.append("passage.opened", "new", {"began_utc": "2025-01-03T10:00:00Z"})
    update(lake, tmp_path / "journal.db", "calais", "3")
    assert vehicles(lake) == count + 1
    assert len(files(lake)) == 2 and before.items() <= files(lake).items(), "who reads the old one may end"
    (tmp_path / "question.py").write_text("another")
    monkeypatch.setattr(kept, "QUESTION", tmp_path / "question.py")
    assert vehicles(lake) == count + 1
    assert not before.keys() & files(lake).keys()


def test_an_edited_one_is_made_anew(lake: Path) -> None:
    count = vehicles(lake)
    (path,) = (lake / kept.FOLDER).glob("*.parquet")
    before = path.read_bytes()
    pq.write_table(pq.read_table(path).slice(0, 5), path)
    assert vehicles(lake) == count
    assert path.read_bytes() == before, "the same record gives the same file"


def test_a_copy_is_believed_after_its_digest_was_computed(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = vehicles(lake)
    (path,) = (lake / kept.FOLDER).glob("*.parquet")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    monkeypatch.setattr(Record, "_joined", joined_again)
    assert vehicles(lake) == count


def test_a_lake_that_may_not_be_written_is_asked_all_the_same(lake: Path) -> None:
    count = vehicles(lake)
    for path in (lake / kept.FOLDER).iterdir():
        path.unlink()
    (lake / kept.FOLDER).rmdir()
    (lake / kept.FOLDER).write_text("in the way")
    assert vehicles(lake) == count
