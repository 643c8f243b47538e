"""A disk that is nearly full: the oldest raw passages that nobody needs go first, and each is in the journal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import keys
from edge.journal.journal import Journal
from edge.journal.verify import verify
from edge.retention import room
from edge.retention.room import free_bytes, make_room

from .conftest import LaneFolder
from .lanes import BEGAN_NS, outcome


def disk_for(lane: LaneFolder, most: int) -> Callable[[Path], int]:
    """Free space: one for each bundle that is fewer than ``most``."""
    return lambda folder: most - len(list(lane.places.bundles.iterdir()))


def run(lane: LaneFolder, least: int, free: Callable[[Path], int]) -> int:
    with Journal.open(lane.places.journal, keys.load_signing(lane.places.signing)) as journal:
        return make_room(journal, lane.places, least, BEGAN_NS, 90.0, free)


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AT_ONCE", 1)


def names(lane: LaneFolder) -> list[str]:
    return sorted(path.name for path in lane.places.bundles.iterdir())


def test_the_oldest_goes_first_and_no_more_than_needed(lane: LaneFolder) -> None:
    assert run(lane, 1, disk_for(lane, 3)) == 1
    assert names(lane) == lane.passages[1:]
    assert run(lane, 1, disk_for(lane, 3)) == 0
    with Journal.open(lane.places.journal, None) as journal:
        assert [row.document()["passages"] for row in journal.rows(kind="expired")] == [[lane.passages[0]]]
    assert verify(lane.places.journal, None).ok


def test_a_passage_with_an_outcome_or_a_hold_stays_however_full_it_is(lane: LaneFolder) -> None:
    outcome(lane.root, lane.passages[0])
    assert lane.run("referral", "hold", lane.passages[1], "--cause", "court asks") == 0
    assert run(lane, 99, disk_for(lane, 3)) == 1
    assert names(lane) == lane.passages[:2]


def test_where_not_even_a_row_fits_the_first_bundle_makes_room_for_it(lane: LaneFolder) -> None:
    with Journal.open(lane.places.journal, keys.load_signing(lane.places.signing)) as journal:
        full = "CREATE TEMP TRIGGER full BEFORE INSERT ON main.rows WHEN (SELECT count(*) FROM once) = 0"
        journal._db.execute("CREATE TEMP TABLE once (x)")
        journal._db.execute(f"{full} BEGIN SELECT RAISE(ABORT, 'full'); END")
        real = room.take

        def freeing(folder: Path) -> list[str]:
            journal._db.execute("INSERT INTO once VALUES (1)")
            journal._fault = None  # what a full disk leaves; this trigger is no full disk
            return real(folder)

        room.take, before = freeing, room.take
        try:
            assert make_room(journal, lane.places, 1, BEGAN_NS, 90.0, disk_for(lane, 3)) == 1
        finally:
            room.take = before
    assert names(lane) == lane.passages[1:]


def test_a_free_space_call_that_fails_counts_as_full(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "nowhere") == 0
    assert free_bytes(tmp_path) <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
