from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge.journal.journal import Journal
from edge.journal.verify import verify
from edge.records.lake import LakeFault, LakeNewer, contents, update
from hil.record import write

DAYS, EACH_DAY = 3, 30


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    write(tmp_path / "journal.db", "calais", "3", DAYS, EACH_DAY, seed=1)
    return tmp_path / "journal.db"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def rows(lake: Path, table: str) -> int:
    return sum(pq.read_metadata(path).num_rows for path in contents(lake).files[table])


def in_journal(journal: Path, kind: str = "%") -> int:
    with closing(sqlite3.connect(journal)) as db:
        return int(db.execute("SELECT count(*) FROM rows WHERE kind LIKE ?", (kind,)).fetchone()[0])


def total(lake: Path) -> int:
    return sum(rows(lake, table) for table in contents(lake).files)


def test_the_generated_journal_is_one_that_the_verifier_accepts(journal: Path) -> None:
    assert verify(journal, None).ok


def test_every_row_of_the_journal_is_in_one_table_once(journal: Path, lake: Path) -> None:
    update(lake, journal, "calais", "3")
    assert total(lake) == in_journal(journal)
    assert rows(lake, "verdicts") == in_journal(journal, "verdict")
    assert rows(lake, "refused_rows") == rows(lake, "other_rows") == 0
    assert all("site=calais/lane=3/day=2025-01-0" in str(path) for path in contents(lake).files["verdicts"])


def test_a_second_update_adds_only_what_came_later(journal: Path, lake: Path) -> None:
    update(lake, journal, "calais", "3")
    before = {path: path.read_bytes() for path in contents(lake).files["verdicts"]}
    assert update(lake, journal, "calais", "3").read == 0
    with Journal.open(journal, None, boot_id="b", now_utc_ns=lambda: 1_735_900_000_000_000_000) as open_journal:
        open_journal.append("coffee", None, {})
    assert update(lake, journal, "calais", "3").read == 1
    assert {path: path.read_bytes() for path in contents(lake).files["verdicts"]} == before
    assert (rows(lake, "other_rows"), total(lake)) == (1, in_journal(journal))


def test_updates_at_every_length_give_the_same_rows(journal: Path, tmp_path: Path, lake: Path) -> None:
    part = tmp_path / "part.db"
    with closing(sqlite3.connect(journal)) as db:
        count = int(db.execute("SELECT max(sequence) FROM rows").fetchone()[0])
        for through in (1, 2, 50, 51, count):
            part.unlink(missing_ok=True)
            with closing(sqlite3.connect(part)) as copy:
                db.backup(copy)
                copy.execute("DELETE FROM rows WHERE sequence > ?", (through,))
                copy.commit()
            assert update(lake, part, "calais", "3").through_sequence == through
            assert total(lake) == through
    names = [path for paths in contents(lake).files.values() for path in paths]
    assert len(names) == len({(path.parent) for path in names}), "a day's rows are in one file of its table"


def test_a_crash_before_the_list_is_replaced_counts_nothing_twice(
    journal: Path, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("edge.records.lake._write_list", cut)
        with pytest.raises(KeyboardInterrupt):
            update(lake, journal, "calais", "3")
    with pytest.raises(LakeFault, match="no record here"):
        contents(lake)
    update(lake, journal, "calais", "3")
    assert total(lake) == in_journal(journal)
    assert contents(lake).troubles == ()


def test_half_a_partition_that_is_on_no_list_is_named_and_not_counted(journal: Path, lake: Path) -> None:
    update(lake, journal, "calais", "3")
    half = contents(lake).files["verdicts"][0].with_name("1-2.parquet")
    half.write_bytes(b"PAR1 half")
    found = contents(lake)
    assert [trouble.cause for trouble in found.troubles] == ["on no lane's list: not written by an update that ended"]
    assert half not in found.files["verdicts"]


def test_an_edited_file_is_named_quarantined_and_made_anew_from_the_journal(journal: Path, lake: Path) -> None:
    update(lake, journal, "calais", "3")
    path = contents(lake).files["outcomes"][0]
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 1), path)
    trouble = contents(lake).troubles[0]
    assert trouble.cause == "its content is not what was written" and trouble.path in str(path)
    assert rows(lake, "outcomes") < in_journal(journal, "outcome")
    assert len(update(lake, journal, "calais", "3").mended) == 1
    assert (rows(lake, "outcomes"), contents(lake).troubles) == (in_journal(journal, "outcome"), ())
    assert len(list((lake / "quarantine").iterdir())) == 1


def test_one_flipped_byte_of_the_same_length_is_found(journal: Path, lake: Path) -> None:
    update(lake, journal, "calais", "3")
    path = contents(lake).files["verdicts"][1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert [trouble.path for trouble in contents(lake).troubles] == [str(path.relative_to(lake))]


def test_two_lanes_with_one_name_are_not_mixed(journal: Path, lake: Path, tmp_path: Path) -> None:
    update(lake, journal, "calais", "3")
    before = total(lake)
    write(tmp_path / "other.db", "calais", "3", 1, EACH_DAY, seed=2)
    with pytest.raises(LakeFault, match="two lanes with one name"):
        update(lake, tmp_path / "other.db", "calais", "3")
    assert total(lake) == before


def test_a_verdict_of_another_lane_is_refused_by_name(journal: Path, lake: Path) -> None:
    update(lake, journal, "calais", "4")
    refused = pa.concat_tables(map(pq.read_table, contents(lake).files["refused_rows"]))
    assert refused.num_rows == in_journal(journal, "verdict")
    assert set(refused["cause"].to_pylist()) == {"lane: the verdict is of calais/3, the journal of calais/4"}


def test_an_older_copy_of_the_journal_is_refused(journal: Path, lake: Path) -> None:
    update(lake, journal, "calais", "3")
    with closing(sqlite3.connect(journal)) as db:
        db.execute("DELETE FROM rows WHERE sequence > 20")
        db.commit()
    with pytest.raises(LakeFault, match="an older copy"):
        update(lake, journal, "calais", "3")


def test_nothing_from_a_changed_row_on_is_counted(journal: Path, lake: Path) -> None:
    with closing(sqlite3.connect(journal)) as db:
        db.execute("UPDATE rows SET body = replace(body, 'search', 'recheck') WHERE sequence = 40")
        db.execute("UPDATE rows SET body = body || ' ' WHERE sequence = 40")
        db.commit()
    with pytest.raises(LakeFault, match="row 40 is not what was written"):
        update(lake, journal, "calais", "3")


def test_rows_written_while_the_clock_was_not_set_have_no_day(tmp_path: Path, lake: Path) -> None:
    times = iter((10_000_000_000, 1_735_900_000_000_000_000, 1_735_800_000_000_000_000))
    with Journal.open(tmp_path / "boot.db", None, boot_id="b", now_utc_ns=lambda: next(times)) as boot:
        for _ in range(3):
            boot.append("coffee", None, {})
    update(lake, tmp_path / "boot.db", "calais", "3")
    found = contents(lake)
    assert [path.parent.name for path in found.files["other_rows"]] == [
        "day=2025-01-02",
        "day=2025-01-03",
        "day=undated",
    ]
    assert found.clock_back == 1


def test_a_file_of_an_older_version_is_read_with_what_it_lacks_unknown(journal: Path, lake: Path) -> None:
    update(lake, journal, "calais", "3")
    listed = lake / "lanes" / "calais.3.json"
    known = json.loads(listed.read_text())
    known["version"] = 0
    listed.write_text(json.dumps(known))
    assert contents(lake).troubles == ()
    known["version"] = 99
    listed.write_text(json.dumps(known))
    with pytest.raises(LakeNewer, match="version 99"):
        contents(lake)


@pytest.mark.parametrize("name", ["../3", "", "3.4", "3/4"])
def test_a_lane_whose_name_is_no_name_writes_nothing(journal: Path, lake: Path, name: str) -> None:
    with pytest.raises(LakeFault, match="not a lane's name"):
        update(lake, journal, "calais", name)
    assert not lake.exists()
