"""What must be forgotten can be, to the last byte, and the chain stands: nothing else changes."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.journal.chain import commitment
from edge.journal.journal import Journal, JournalFault
from edge.journal.read import reading
from edge.journal.verify import verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.db", KEY) as journal:
        yield journal


def plate(number: int) -> str:
    return f"SECRET{number:06d}PLATE"


def test_a_private_value_is_read_back_and_the_body_only_commits_to_it(journal: Journal) -> None:
    number = journal.append("plates", "P1", {"x": 1}, {"plates": [plate(1)]})
    assert journal.openings(number) == {"plates": [plate(1)]}
    (row,) = journal.rows(number)
    assert plate(1) not in row.body
    with reading(journal.path) as reader:
        texts = reader.opening_texts(number)
    assert row.document()["private"] == {"plates": commitment(texts["plates"])}


def test_equal_plates_have_commitments_that_are_not_equal(journal: Journal) -> None:
    numbers = [journal.append("plates", "P1", {}, {"plates": [plate(1)]}) for _ in range(2)]
    first, second = (journal.rows(number, 1)[0].document()["private"]["plates"] for number in numbers)
    assert first != second


def test_deleted_plates_leave_the_journal_whole_and_every_count_as_it_was(journal: Journal) -> None:
    numbers = [journal.append("plates", f"P{n}", {}, {"plates": [plate(n)]}) for n in range(20)]
    before = [(row.sequence, row.kind, row.body, row.hash) for row in journal.rows(1, 20)]
    journal.redact(numbers[:15], "plates are kept for 90 days")
    journal.sign_head()
    found = verify(journal.path, KEY.public_key())
    assert (found.ok, found.openings, found.deleted, found.signed_to) == (True, 5, 15, 21), found.cause
    assert [(row.sequence, row.kind, row.body, row.hash) for row in journal.rows(1, 20)] == before
    assert journal.openings(numbers[0]) == {} and journal.openings(numbers[15]) == {"plates": [plate(15)]}


def test_no_byte_of_a_deleted_plate_is_left_in_any_file(tmp_path: Path) -> None:
    """A thousand plates among other rows, deleted in a random order in many goes: what SQLite leaves behind counts."""
    chance = random.Random(4)
    with Journal.open(tmp_path / "journal.db", KEY) as journal:
        journal._db.execute("PRAGMA synchronous=OFF")  # for speed: what is tested is what the files hold at the end
        numbers = []
        for n in range(1000):
            numbers.append(journal.append("plates", f"P{n}", {}, {"plates": [plate(n), "x" * chance.randrange(2000)]}))
            journal.append("verdict", f"P{n}", {"x": "y" * chance.randrange(1500)})
        kept = set(numbers[::10])
        gone = [number for number in numbers if number not in kept]
        chance.shuffle(gone)
        for at in range(0, len(gone), 50):
            journal.redact(gone[at : at + 50], "retention")
        assert journal.purge()
        content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    left = [n for n, number in enumerate(numbers) if plate(n).encode() in content]
    assert left == list(range(0, 1000, 10))
    assert verify(tmp_path / "journal.db", KEY.public_key()).deleted == 900


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("DELETE FROM private WHERE sequence = 2", "is gone, and no row says why"),
        (
            "DROP TRIGGER private_stays; UPDATE private SET opening = replace(opening, 'SECRET', 'OTHER!')",
            "is not what",
        ),
        ("INSERT INTO private VALUES (1, 'more', '{}')", "never committed"),
        ("INSERT INTO private SELECT 3, name, opening FROM private WHERE sequence = 2", "though it was deleted"),
    ],
)
def test_a_private_value_that_was_taken_or_changed_is_found(tmp_path: Path, statement: str, cause: str) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path, KEY) as journal:
        journal.append("verdict", "P1", {})
        for n in range(2):
            journal.append("plates", "P1", {}, {"plates": [plate(n)]})
        journal.redact([3], "retention")
    db = sqlite3.connect(path)
    db.executescript(statement)
    db.close()
    found = verify(path, KEY.public_key())
    assert not found.ok and cause in found.cause


def test_the_database_itself_refuses_to_change_a_private_value(journal: Journal) -> None:
    journal.append("plates", "P1", {}, {"plates": [plate(1)]})
    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        journal._db.execute("UPDATE private SET opening = ''")


def test_a_deletion_that_does_not_reach_the_disk_deletes_nothing(journal: Journal) -> None:
    number = journal.append("plates", "P1", {}, {"plates": [plate(1)]})
    journal._db.execute("CREATE TRIGGER stuck BEFORE DELETE ON private BEGIN SELECT RAISE(ABORT, 'disk'); END")
    with pytest.raises(JournalFault):
        journal.redact([number], "retention")
    journal._db.execute("DROP TRIGGER stuck")
    assert journal.openings(number) and journal.last("redaction") is None


@pytest.mark.parametrize("numbers", [[], [0], [2], list(range(1, 10_002))])
def test_only_rows_that_are_there_are_redacted(journal: Journal, numbers: list[int]) -> None:
    journal.append("verdict", None, {})
    with pytest.raises(ValueError, match="redact"):
        journal.redact(numbers, "retention")


def test_the_journals_own_words_are_not_a_callers(journal: Journal) -> None:
    for kind, body in (("redaction", {"rows": [1]}), ("verdict", {"private": {}})):
        with pytest.raises(ValueError, match="own words"):
            journal.append(kind, None, body)


def test_a_journal_of_a_newer_form_is_refused_by_name_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Journal.open(path, KEY).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 3")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalFault, match="form 3, and this program knows up to 2"):
        Journal.open(path, KEY)
    assert "form 3" in verify(path, None).cause
    assert path.read_bytes() == before
