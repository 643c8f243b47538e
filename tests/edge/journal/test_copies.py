"""A copy of a journal is made while it grows and judged before it counts; a damaged one gives back what is intact."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge import keys
from edge.cli.main import run
from edge.journal.backup import backup, restore
from edge.journal.journal import Journal, JournalFault
from edge.journal.salvage import salvage
from edge.journal.verify import verify
from edge.places import Places

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def filled(path: Path, rows: int) -> Path:
    with Journal.open(path, KEY) as journal:
        for number in range(rows):
            journal.append("verdict", f"P{number}", {"x": "y" * 200}, {"plates": [f"PLATE{number}"]})
    return path


def test_a_copy_is_made_while_the_lane_writes_and_is_whole(tmp_path: Path) -> None:
    stop = threading.Event()
    with Journal.open(tmp_path / "journal.db", KEY) as journal:
        journal.append("verdict", None, {})

        def write() -> None:
            while not stop.is_set():
                journal.append("verdict", None, {"x": "y" * 500})

        writer = threading.Thread(target=write)
        writer.start()
        try:
            copies = [backup(tmp_path / "journal.db", tmp_path / f"copy{n}.db", KEY.public_key()) for n in range(3)]
        finally:
            stop.set()
            writer.join()
    rows = [copy.found.rows for copy in copies]
    assert rows[0] >= 1 and rows == sorted(rows)
    assert verify(tmp_path / "copy2.db", KEY.public_key()).rows == rows[2]
    assert (tmp_path / "copy0.db").stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob("copy*-wal"))


def test_a_damaged_journal_is_not_copied_and_nothing_is_left(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db", 5)
    db = sqlite3.connect(path)
    db.executescript("DROP TRIGGER rows_stay; UPDATE rows SET body = '{}' WHERE sequence = 3")
    db.close()
    with pytest.raises(JournalFault, match="row 3 does not match"):
        backup(path, tmp_path / "copy.db", KEY.public_key())
    assert not [file for file in tmp_path.iterdir() if "copy" in file.name]


def test_a_copy_never_replaces_another(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db", 1)
    (tmp_path / "copy.db").write_bytes(b"mine")
    with pytest.raises(JournalFault, match="there already"):
        backup(path, tmp_path / "copy.db", None)
    assert (tmp_path / "copy.db").read_bytes() == b"mine"


def test_what_was_damaged_is_set_aside_and_the_copy_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "lane").mkdir()
    path = filled(tmp_path / "lane" / "journal.db", 5)
    backup(path, tmp_path / "copy.db", KEY.public_key())
    damaged = path.read_bytes()[: 3 * 4096]
    path.write_bytes(damaged)
    made, kept = restore(tmp_path / "copy.db", path, KEY.public_key(), "aside")
    assert made.found.rows == 5 and kept is not None
    assert (kept / "journal.db").read_bytes() == damaged
    with Journal.open(path, KEY) as journal:
        assert journal.append("verdict", None, {}) == 6
    assert verify(path, KEY.public_key()).ok


def test_a_journal_that_is_whole_and_ahead_is_never_put_back(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db", 3)
    backup(path, tmp_path / "copy.db", KEY.public_key())
    filled(path, 2)
    with pytest.raises(JournalFault, match="is whole, with 5 rows; the copy has 3"):
        restore(tmp_path / "copy.db", path, KEY.public_key(), "aside")
    assert verify(path, KEY.public_key()).rows == 5


def test_a_copy_of_another_lane_is_not_put_back(tmp_path: Path) -> None:
    filled(tmp_path / "copy.db", 3)
    other = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(JournalFault, match="not of this key"):
        restore(tmp_path / "copy.db", tmp_path / "lane.db", other, "aside")
    assert not (tmp_path / "lane.db").exists()


def test_nothing_is_put_back_under_a_running_lane(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db", 1)
    backup(path, tmp_path / "copy.db", None)
    with Journal.open(path, KEY), pytest.raises(JournalFault, match="a lane writes it"):
        restore(tmp_path / "copy.db", path, None, "aside")


def test_a_torn_page_costs_its_own_rows_only(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db", 300)
    clean = bytearray(path.read_bytes())
    at = clean.index(b'"P150"') if b'"P150"' in clean else clean.index(b"P150")
    page = at // 4096 * 4096
    clean[page : page + 4096] = bytes(4096)
    path.write_bytes(clean)
    assert not verify(path, None).ok
    rows = list(salvage(path))
    numbers = {row["sequence"] for row in rows}
    lost = set(range(1, 301)) - numbers
    assert 151 in lost and 0 < len(lost) < 30
    assert all(row["intact"] for row in rows)
    assert [row["sequence"] for row in rows if not row["follows"]][-1] == max(lost) + 1


def test_a_changed_row_is_given_and_marked(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db", 5)
    content = path.read_bytes()
    at = content.index(b"P3")
    path.write_bytes(content[:at] + b"Q" + content[at + 1 :])
    marks = {row["sequence"]: (row["intact"], row["follows"]) for row in salvage(path)}
    assert marks[4] == (False, True) and marks[5] == (True, True)


def test_the_commands_copy_salvage_and_put_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "lane"
    places = Places.under(root)
    places.make()
    key = keys.new_signing(places.signing)
    with Journal.open(places.journal, key) as journal:
        journal.append("verdict", None, {})
    at_root = ["--root", str(root)]
    assert run(["journal", "backup", str(tmp_path / "copy.db"), *at_root, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["signed_to"] == 1
    assert run(["journal", "restore", str(tmp_path / "copy.db"), *at_root]) == 2
    assert "not put back" in capfd.readouterr().err
    places.journal.write_bytes(b"gone")
    assert run(["journal", "salvage", str(tmp_path / "rows.jsonl"), *at_root]) == 2
    assert run(["journal", "restore", str(tmp_path / "copy.db"), *at_root]) == 0
    assert run(["journal", "verify", *at_root]) == 0
    assert run(["journal", "salvage", str(tmp_path / "more.jsonl"), *at_root]) == 0
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "more.jsonl").read_bytes().splitlines()]
    assert kinds == ["verdict", "restored"]
