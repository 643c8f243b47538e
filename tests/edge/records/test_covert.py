from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.journal.journal import Journal
from edge.records.covert import CovertBook, CovertRefused, Secret, new_secret

WORDS = {"people": 2, "place": "rear, under pallets", "aboard_s": 1800.0, "load": "pallets"}
VOLUNTEERS, OTHERS = "01JQ0F7Y3W8V5R2M9K4T6B1N0D", "01JQ0F7Y3W8V5R2M9K4T6B1N0E"


class Lane:
    def __init__(self, path: Path) -> None:
        self.journal = Journal.open(path / "journal.db", None)
        self.book = CovertBook(self.journal, lambda: 1_780_000_000_000_000_000)

    def comes(self, passage_id: str, level: str = "search") -> None:
        self.journal.append("passage.opened", passage_id, {"began_utc": "2026-05-28T20:26:40Z"})
        self.journal.append("verdict", passage_id, {"level": level, "final": True})

    def reveal(self, secret: Secret, passage_id: object) -> dict[str, Any]:
        return self.book.reveal(secret.model_dump(mode="json", by_alias=True), passage_id, "uid 0")


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    return Lane(tmp_path)


def test_a_test_is_sealed_before_and_told_after(lane: Lane) -> None:
    secret = new_secret(WORDS)
    lane.book.enter(secret.seal, "uid 0")
    assert "rear" not in lane.journal.rows()[0].body
    lane.comes(VOLUNTEERS, "no_search")
    lane.reveal(secret, VOLUNTEERS)
    row = lane.journal.last("covert.revealed")
    assert row is not None
    assert row.passage_id == VOLUNTEERS
    assert {name: row.document()[name] for name in WORDS} == WORDS
    (told,) = lane.book.tests()
    assert (told["passage_id"], told["level"], told["people"]) == (VOLUNTEERS, "no_search", 2)


def test_two_tests_of_the_same_words_have_seals_that_do_not_tell_it() -> None:
    assert new_secret(WORDS).seal != new_secret(WORDS).seal


def test_a_lorry_that_came_before_cannot_have_been_the_test(lane: Lane) -> None:
    secret = new_secret(WORDS)
    lane.comes(VOLUNTEERS)
    lane.book.enter(secret.seal, "uid 0")
    with pytest.raises(CovertRefused, match="came before the test was entered"):
        lane.reveal(secret, VOLUNTEERS)


def test_other_words_than_were_sealed_are_refused(lane: Lane) -> None:
    secret = new_secret(WORDS)
    lane.book.enter(secret.seal, "uid 0")
    lane.comes(VOLUNTEERS)
    with pytest.raises(CovertRefused, match="never sealed"):
        lane.reveal(secret.model_copy(update={"test": secret.test.model_copy(update={"people": 1})}), VOLUNTEERS)


def test_a_test_is_one_passage_and_a_passage_one_test(lane: Lane) -> None:
    first, second = new_secret(WORDS), new_secret(WORDS)
    for secret in (first, second):
        lane.book.enter(secret.seal, "uid 0")
    lane.comes(VOLUNTEERS)
    lane.comes(OTHERS)
    lane.reveal(first, VOLUNTEERS)
    for secret, passage_id in ((first, OTHERS), (second, VOLUNTEERS)):
        with pytest.raises(CovertRefused, match="revealed already"):
            lane.reveal(secret, passage_id)
    assert [test["passage_id"] for test in lane.book.tests()] == [VOLUNTEERS, None]


@pytest.mark.parametrize("seal", [None, 7, "", "00", "g" * 64, "0" * 65, ["0" * 64]])
def test_what_is_no_seal_is_refused(lane: Lane, seal: object) -> None:
    with pytest.raises(CovertRefused, match="64 hexadecimal"):
        lane.book.enter(seal, "uid 0")


@pytest.mark.parametrize("document", [None, [], {}, {"test": {"people": 0}, "salt": "0" * 64}, {"test": WORDS}])
def test_what_is_no_secret_is_refused(lane: Lane, document: object) -> None:
    with pytest.raises(CovertRefused):
        lane.book.reveal(document, VOLUNTEERS, "uid 0")
    with pytest.raises(CovertRefused, match="give the passage's id"):
        lane.reveal(new_secret(WORDS), {"$ne": ""})
