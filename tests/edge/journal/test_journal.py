"""The record is on disk before anyone is told, and whatever is done to it afterwards is found."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.journal.journal import Journal, JournalFault
from edge.journal.verify import Verification, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def filled(path: Path, count: int = 6) -> Path:
    with Journal.open(path, KEY, boot_id="boot", now_utc_ns=lambda: 7) as journal:
        for number in range(count):
            journal.append("verdict", f"P{number}", {"number": number})
    return path


def tampered(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    db.executescript(statement)
    db.commit()
    db.close()


def test_rows_come_back_in_order_and_by_kind(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", None) as journal:
        assert [journal.append(kind, None, {"é": kind}) for kind in ("a", "b", "a")] == [1, 2, 3]
        assert [row.sequence for row in journal.rows(kind="a")] == [1, 3]
        newest = journal.last("a")
        assert newest is not None and newest.document() == {"é": "a"}
        assert journal.last("c") is None


def test_a_whole_journal_is_found_whole_and_signed_to_its_end(tmp_path: Path) -> None:
    found = verify(filled(tmp_path / "journal.db"), KEY.public_key())
    assert (found.ok, found.rows, found.signed_to) == (True, 6, 6)


def test_numbering_goes_on_after_opening_again(tmp_path: Path) -> None:
    filled(tmp_path / "journal.db")
    with Journal.open(tmp_path / "journal.db", KEY) as journal:
        assert journal.append("verdict", None, {}) == 7
    assert verify(tmp_path / "journal.db", KEY.public_key()).rows == 7


@pytest.mark.parametrize("statement", ["UPDATE rows SET kind = 'x'", "DELETE FROM rows", "DELETE FROM heads"])
def test_the_database_itself_refuses_to_change_a_row(tmp_path: Path, statement: str) -> None:
    db = sqlite3.connect(filled(tmp_path / "journal.db"))
    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE rows SET body = '{\"number\":9}' WHERE sequence = 3", 3),
        ("UPDATE rows SET passage_id = NULL WHERE sequence = 4", 4),
        ("DELETE FROM rows WHERE sequence = 2", 2),
        ("DELETE FROM rows WHERE sequence = 1", 1),
        (
            "UPDATE rows SET sequence = -1 WHERE sequence = 2; UPDATE rows SET sequence = 2 WHERE sequence = 3;"
            "UPDATE rows SET sequence = 3 WHERE sequence = -1",
            2,
        ),
        ("DELETE FROM rows WHERE sequence > 4", 5),
        ("DELETE FROM rows WHERE sequence > 4; DELETE FROM heads", 5),
        ("UPDATE heads SET signature = zeroblob(64)", 6),
    ],
)
def test_the_first_bad_row_is_named(tmp_path: Path, statement: str, first_bad: int) -> None:
    path = filled(tmp_path / "journal.db")
    tampered(path, statement)
    found = verify(path, KEY.public_key())
    assert (found.ok, found.first_bad) == (False, first_bad), found.cause


def test_every_flipped_bit_in_a_body_is_found(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db")
    clean = path.read_bytes()
    at = clean.index(b'{"number":2}')
    for bit in range(12 * 8):
        damaged = bytearray(clean)
        damaged[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert verify(path, None).first_bad == 3


def test_another_key_is_not_believed(tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate().public_key()
    assert not verify(filled(tmp_path / "journal.db"), other).ok


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", None), pytest.raises(JournalFault, match="another process"):
        Journal.open(tmp_path / "journal.db", None)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_verifies_the_signed_head(tmp_path: Path) -> None:
    filled(tmp_path / "journal.db")
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(pem)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public.pem", "-rawin", "-in", "head.json"]
    done = subprocess.run([*command, "-sigfile", "head.sig"], cwd=tmp_path, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr


CHILD = """
import sys
from pathlib import Path
from edge.journal.journal import Journal
journal = Journal.open(Path(sys.argv[1]), None)
while True:
    print(journal.append("verdict", None, {"x": 1}), flush=True)
"""


def test_twenty_kills_lose_no_acknowledged_row(tmp_path: Path) -> None:
    path, last = tmp_path / "journal.db", 0
    for run in range(20):
        with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(1 + run % 7):
                last = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            for line in child.stdout.read().split(b"\n")[:-1]:  # said before it died
                last = int(line)
        found = verify(path, None)
        assert found.ok and found.rows >= last, found.cause


def test_a_full_disk_is_said_and_once_there_is_room_the_record_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path, KEY) as journal:
        pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalFault, match="make room"):
            journal.append("verdict", None, {"x": "y" * 100_000})
        journal._db.execute("PRAGMA max_page_count = 100000")
        assert journal.append("verdict", None, {"x": "y" * 100_000}) == 1
    assert verify(path, KEY.public_key()).ok


def test_each_commit_waits_for_the_disk(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", None) as journal:
        assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_threads_share_one_chain(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", KEY) as journal, ThreadPoolExecutor(8) as pool:
        numbers = sorted(pool.map(lambda number: journal.append("state", None, {"number": number}), range(300)))
    assert numbers == list(range(1, 301))
    found = verify(tmp_path / "journal.db", KEY.public_key())
    assert (found.ok, found.rows, found.signed_to) == (True, 300, 300)


def test_a_running_journal_can_be_verified_beside_its_writer(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", KEY) as journal:
        journal.append("verdict", None, {})
        assert verify(tmp_path / "journal.db", KEY.public_key()).rows == 1


def test_a_head_that_was_kept_elsewhere_finds_a_journal_made_anew(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db")
    head, signature = (tmp_path / "head.json").read_bytes(), (tmp_path / "head.sig").read_bytes()
    path.unlink()
    filled(path, count=3)
    (tmp_path / "head.json").write_bytes(head)
    (tmp_path / "head.sig").write_bytes(signature)
    assert verify(path, KEY.public_key()).first_bad == 4


def test_damage_anywhere_gives_an_answer_and_no_crash(tmp_path: Path) -> None:
    path = filled(tmp_path / "journal.db", count=30)
    clean = path.read_bytes()
    before = verify(path, None)
    for at in range(0, len(clean), 97):
        path.write_bytes(clean[:at] + bytes([clean[at] ^ 0xFF]) + clean[at + 1 :])
        assert isinstance(verify(path, None), Verification)
    for length in (0, 100, 4096, len(clean) // 2, len(clean) - 4096):
        path.write_bytes(clean[:length])
        assert not verify(path, None).ok, length
    path.write_bytes(clean)
    assert verify(path, None) == before
