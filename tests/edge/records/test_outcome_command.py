from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.cli.main import run
from edge.control import serve
from edge.journal.journal import Journal
from edge.places import Places
from edge.records.outcome_book import OutcomeBook
from edge.records.outcome_control import handlers

PASSAGE = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"
NOW_NS = 1_772_360_100_000_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A lane's journal, with the daemon's side of the control socket on a thread of its own."""
    places = Places.under(tmp_path)
    places.make()
    ready, loop, done = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    with Journal.open(places.journal, None) as opened:
        opened.append("passage.opened", PASSAGE, {"began_utc": "2026-03-01T10:15:02Z"})
        book = OutcomeBook(opened, places.bundles, lambda: NOW_NS)

        async def main() -> None:
            async with serve(places.control_socket, handlers(book)):
                ready.set()
                await done.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
        thread.start()
        try:
            assert ready.wait(20)
            yield opened
        finally:
            loop.call_soon_threadsafe(done.set)
            thread.join()
            loop.close()


def test_what_a_search_found_is_in_the_record(
    journal: Journal, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = ["--searched", "dog", "--people", "2", "--where", "rear", "--secured", "locks=broken"]
    assert run(["outcome", PASSAGE, *found, "--root", str(tmp_path)]) == 0
    assert "revision 1" in capfd.readouterr().out
    (row,) = journal.of_passage(PASSAGE, "outcome")
    assert row.document()["outcome"]["secured"] == {"locks": "broken"}
    assert row.document()["via"].startswith("uid ")


def test_seals_are_recorded_with_their_numbers_as_they_stand_there(journal: Journal, tmp_path: Path) -> None:
    seals = ["--seal", "EU 4471 902=broken", "--seal", "A=7=intact"]
    assert run(["outcome", PASSAGE, "--searched", "physical", "--nobody", *seals, "--root", str(tmp_path)]) == 0
    (row,) = journal.of_passage(PASSAGE, "outcome")
    told = [{"number": "EU 4471 902", "state": "broken"}, {"number": "A=7", "state": "intact"}]
    assert row.document()["outcome"]["seals"] == told


def test_a_second_outcome_is_told_who_was_before_and_how_to_correct(
    journal: Journal, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = ["outcome", PASSAGE, "--searched", "physical", "--nobody", "--root", str(tmp_path), "--json"]
    assert run([*nobody, "--officer", "o17"]) == 0
    sequence = json.loads(capfd.readouterr().out)["record"]["sequence"]
    assert run(nobody[:-1]) == 1
    assert f"entered by o17; to correct it give --corrects {sequence}" in capfd.readouterr().err
    assert run(["outcome", PASSAGE, "--undo", "--corrects", str(sequence), "--root", str(tmp_path)]) == 0
    assert journal.of_passage(PASSAGE, "outcome")[-1].document()["outcome"] is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "either --searched TECHNIQUE or --not-searched"),
        (["--searched", "dog"], "either --nobody or --people"),
        (["--searched", "dog", "--nobody", "--where", "rear"], "leave people and where out"),
        (["--searched", "dog", "--nobody", "--secured", "locks"], "give CHECK=STATE"),
        (["--not-searched", "--seal", "4471"], "give NUMBER=STATE"),
        (["--not-searched", "--seal", " =broken"], "give NUMBER=STATE"),
        (["--not-searched", "--seal", "4471=lost"], "states: intact, broken, missing, changed"),
        (["--not-searched", "--seal", f"{'4' * 41}=broken"], "outcome.seals.0.number"),
        (["--not-searched", *(f"--seal={number}=intact" for number in range(13))], "outcome.seals"),
        (["--undo"], "nothing to take back"),
    ],
)
def test_wrong_use_is_named_before_the_lane_is_asked(
    options: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["outcome", PASSAGE, *options, "--root", str(tmp_path)]) == 2
    assert says in capfd.readouterr().err


def test_a_dry_run_records_nothing(journal: Journal, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["outcome", PASSAGE, "--not-searched", "--dry-run", "--root", str(tmp_path)]) == 0
    assert "would be recorded" in capfd.readouterr().out
    assert journal.of_passage(PASSAGE, "outcome") == []
