"""What has had its time goes, to the last byte; the chain and every count stay; what a case holds stays too."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.reading import ClockQuality
from edge import keys
from edge.control import ControlFault
from edge.journal.journal import Journal
from edge.journal.read import reading
from edge.journal.verify import verify
from edge.records.lake import contents, update
from edge.referral.queue import DAY_NS
from edge.retention.control import Keeper, handlers
from edge.retention.due import due
from edge.retention.expire import expire, find
from edge.retention.rules import RetentionTable

from .conftest import LaneFolder
from .lanes import BEGAN_NS, outcome

RULES = RetentionTable()
MINUTE_NS = 60 * 10**9


@pytest.fixture
def plated(lane: LaneFolder, monkeypatch: pytest.MonkeyPatch) -> LaneFolder:
    """Plates for all three passages, entered when they passed."""
    with opened(lane, BEGAN_NS + 10 * MINUTE_NS) as journal:
        for number, passage in enumerate(lane.passages):
            plates = [{"text": f"SECRET-{number}-PLATE", "country": "F", "position": "tractor"}]
            journal.append("plates", passage, {"positions": ["tractor"], "no_trailer": True}, {"plates": plates})
    return lane


def opened(lane: LaneFolder, now_ns: int) -> Journal:
    return Journal.open(lane.places.journal, keys.load_signing(lane.places.signing), now_utc_ns=lambda: now_ns)


def run(
    lane: LaneFolder, now_ns: int, rules: RetentionTable = RULES, spools: tuple[Path, ...] = ()
) -> dict[str, object]:
    found = find(lane.places, rules, now_ns, spools)
    with opened(lane, now_ns) as journal:
        return expire(journal, lane.places, rules, found).said()


def state_bytes(lane: LaneFolder) -> bytes:
    return b"".join(path.read_bytes() for path in lane.places.state.rglob("*") if path.is_file())


def counts(lane: LaneFolder) -> dict[str, int]:
    """Rows of each table of the record, made anew from the journal; what retention itself writes is counted apart."""
    lake = lane.root / "lake"
    shutil.rmtree(lake, ignore_errors=True)
    update(lake, lane.places.journal, "calais", "3")
    import pyarrow.parquet as pq

    found = {
        name: sum(pq.read_metadata(path).num_rows for path in paths) for name, paths in contents(lake).files.items()
    }
    found.pop("other_rows", None)
    return found


def test_deleted_plates_leave_the_chain_whole_the_counts_unchanged_and_no_byte_behind(plated: LaneFolder) -> None:
    before, key = counts(plated), keys.load_signing_public(plated.public_key)
    rows_before = verify(plated.places.journal, key).rows
    assert b"SECRET-1-PLATE" in state_bytes(plated)
    done = run(plated, BEGAN_NS + 91 * DAY_NS)
    assert (done["private_words"], done["bundles"], done["purged"]) == (3, 3, True)
    assert b"SECRET-" not in state_bytes(plated)
    found = verify(plated.places.journal, key)
    assert found.ok and found.deleted == 3 and found.openings == 0, found.cause
    assert found.signed_to == found.rows == rows_before + 2  # one row says which words went, one which bundles
    assert counts(plated) == before
    assert list(plated.places.bundles.iterdir()) == []


def test_nothing_goes_a_day_too_early_and_a_second_run_finds_nothing(plated: LaneFolder) -> None:
    assert find(plated.places, RULES, BEGAN_NS + 89 * DAY_NS).nothing
    run(plated, BEGAN_NS + 91 * DAY_NS)
    assert find(plated.places, RULES, BEGAN_NS + 91 * DAY_NS).nothing


def test_a_hold_keeps_one_passage_whole_and_lets_the_others_go(plated: LaneFolder) -> None:
    first, second, third = plated.passages
    assert plated.run("referral", "hold", second, "--cause", "court asks") == 0
    done = run(plated, BEGAN_NS + 91 * DAY_NS)
    assert (done["private_words"], done["bundles"], done["held"]) == (2, 2, 1)
    assert [path.name for path in plated.places.bundles.iterdir()] == [second]
    assert b"SECRET-1-PLATE" in state_bytes(plated) and b"SECRET-0-PLATE" not in state_bytes(plated)
    assert plated.run("referral", "hold", second, "--release", "--cause", "court is done") == 0
    assert run(plated, BEGAN_NS + 91 * DAY_NS)["bundles"] == 1
    assert first != third


def test_an_open_case_is_held_and_goes_when_it_has_long_been_closed(lane: LaneFolder) -> None:
    passage = lane.passages[0]
    lane.complete(passage)
    assert lane.run("referral", "make", passage, "--purpose", "penalty team") == 0
    with reading(lane.places.journal) as reader:
        made_ns = reader.of_kind("referral.made")[0].written_utc_ns
        assert passage in due(reader, lane.places, RULES, made_ns + 400 * DAY_NS).held
    assert lane.run("referral", "stage", f"R-{passage}", "paid", "--amount-gbp", "6000") == 0
    with reading(lane.places.journal) as reader:
        soon = due(reader, lane.places, RULES, made_ns + 80 * DAY_NS)
        late = due(reader, lane.places, RULES, made_ns + 100 * DAY_NS)
    assert soon.held and not late.held
    assert passage in late.bundles and passage in late.photos
    assert {path.suffix for path in late.packs} == {".zip", ".sha256", ".sig"}
    run(lane, made_ns + 100 * DAY_NS)
    assert b"AB-123-CD" not in state_bytes(lane) and b"services near Lille" not in state_bytes(lane)
    assert not list(lane.places.packs.iterdir()) and not list(lane.places.cases.iterdir())


def test_while_the_clock_is_not_right_nothing_expires(plated: LaneFolder) -> None:
    with opened(plated, BEGAN_NS) as journal:
        keeper = Keeper(journal, plated.places, RULES, lambda: ClockQuality(False, None))
        with pytest.raises(ControlFault, match="not synchronised"):
            keeper.run()
        trusting = RetentionTable(wait_for_clock=False)
        assert Keeper(journal, plated.places, trusting, lambda: ClockQuality(False, None)).run(dry_run=True)


@pytest.mark.parametrize("wrong_ns", [10 * 10**9, 4_000_000_000 * 10**9])
def test_a_row_of_a_box_that_started_in_1970_or_2096_is_as_old_as_the_next_row(lane: LaneFolder, wrong_ns: int) -> None:
    """The box's clock was wrong for one row; the rows after it have the right time."""
    passage, months_later_ns = lane.passages[0], BEGAN_NS + 100 * DAY_NS
    with opened(lane, wrong_ns) as journal:
        journal.append("plates", passage, {}, {"plates": ["SECRET-PLATE"]})
    with reading(lane.places.journal) as reader:  # nothing after it: nobody knows when it was
        assert due(reader, lane.places, RULES, months_later_ns).openings == ()
    with opened(lane, months_later_ns) as journal:
        number = journal.append("passage.opened", "P9", {"began_utc": "2026-05-13T00:00:00Z"}) - 1
    with reading(lane.places.journal) as reader:
        assert due(reader, lane.places, RULES, months_later_ns + DAY_NS).openings == ()
        assert due(reader, lane.places, RULES, months_later_ns + 91 * DAY_NS).openings == ((number, passage),)


def test_a_deletion_that_was_cut_goes_on_with_the_next_run(plated: LaneFolder) -> None:
    """The row is written, the folder renamed, and the power goes."""
    passage = plated.passages[0]
    with opened(plated, BEGAN_NS + 91 * DAY_NS) as journal:
        journal.append("expired", None, {"what": "bundle", "passages": [passage], "cause": "kept for 90 days"})
    (plated.places.bundles / passage).rename(plated.places.bundles / f"{passage}.expired")
    run(plated, BEGAN_NS + 91 * DAY_NS)
    assert list(plated.places.bundles.iterdir()) == []


def test_what_cannot_be_recorded_is_not_deleted(plated: LaneFolder) -> None:
    found = find(plated.places, RULES, BEGAN_NS + 91 * DAY_NS)
    with opened(plated, BEGAN_NS + 91 * DAY_NS) as journal:
        pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        journal._db.execute(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON main.rows BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        from edge.journal.journal import JournalFault

        with pytest.raises(JournalFault):
            expire(journal, plated.places, RULES, found)
    assert len(list(plated.places.bundles.iterdir())) == 3
    assert b"SECRET-0-PLATE" in state_bytes(plated)


def test_a_row_that_was_tampered_with_is_not_touched(plated: LaneFolder) -> None:
    import sqlite3

    db = sqlite3.connect(plated.places.journal)
    db.executescript(
        "DROP TRIGGER rows_stay; UPDATE rows SET body = replace(body, 'tractor', 'trailer') WHERE sequence = 11"
    )
    db.close()
    found = find(plated.places, RULES, BEGAN_NS + 91 * DAY_NS)
    assert found.damaged == (11,) and 11 not in [sequence for sequence, _ in found.openings]
    assert plated.run("journal", "prune") == 1


def test_quarantine_and_kept_radiographs_go_too_and_nothing_else_that_lies_there(plated: LaneFolder) -> None:
    import os

    old_s = (BEGAN_NS - DAY_NS) / 1e9
    stray = plated.places.quarantine / "probe" / "00000001.bin"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    os.utime(stray, (old_s, old_s))
    spool = plated.root / "spool"
    spool.mkdir()
    names = [f"{BEGAN_NS + days * DAY_NS:020d}-{'a' * 32}-{'b' * 32}.dcs" for days in (0, 80)]
    for name in (*names, "notes.txt"):
        (spool / name).write_bytes(b"x")
        os.utime(spool / name, (old_s, old_s))
    done = run(plated, BEGAN_NS + 91 * DAY_NS, spools=(spool,))
    assert done["strays"] == 2
    assert sorted(path.name for path in spool.iterdir()) == sorted([names[1], "notes.txt"])


def test_bundles_may_not_be_kept_longer_than_plates() -> None:
    with pytest.raises(ValueError, match="bundles_days is more than plates_days"):
        RetentionTable(plates_days=30)


def test_the_command_prunes_through_a_running_lane_and_says_what_would_go(
    plated: LaneFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    """The daemon's side of the socket, with its keeper; the clock of this machine says that all is long expired."""
    with served(plated):
        assert plated.run("journal", "prune", "--dry-run", "--json") == 0
        would = json.loads(capfd.readouterr().out)
        assert (would["private_words"], would["bundles"]) == (3, 3)
        assert len(list(plated.places.bundles.iterdir())) == 3
        assert plated.run("journal", "prune") == 0
        assert list(plated.places.bundles.iterdir()) == []
    assert plated.run("journal", "verify") == 0


def served(lane: LaneFolder) -> Iterator[None]:
    import contextlib
    import threading

    from edge.control import serve

    @contextlib.contextmanager
    def serving() -> Iterator[None]:
        ready, loop, done = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
        with opened(lane, BEGAN_NS + 91 * DAY_NS) as journal:
            keeper = Keeper(journal, lane.places, RULES, lambda: ClockQuality(True, 1))

            async def main() -> None:
                async with serve(lane.places.control_socket, handlers(keeper)):
                    ready.set()
                    await done.wait()

            thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
            thread.start()
            try:
                assert ready.wait(20)
                yield
            finally:
                loop.call_soon_threadsafe(done.set)
                thread.join()
                loop.close()

    return serving()  # type: ignore[return-value]


def test_an_outcome_is_still_counted_when_its_bundle_has_gone(plated: LaneFolder) -> None:
    passage = plated.passages[0]
    outcome(plated.root, passage, found=False, people=None, where=None)
    before = counts(plated)
    run(plated, BEGAN_NS + 91 * DAY_NS)
    assert counts(plated)["outcomes"] == before["outcomes"] == 1
