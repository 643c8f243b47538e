"""The real daemon has the journal in hand: what is said of cases goes through it, and a pack is made meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge import keys
from edge.cli.main import run
from edge.control import ask
from edge.journal.journal import Journal
from edge.journal.read import reading
from edge.publish.status_body import StatusBody
from edge.records.outcome import CHECKS, press_of
from edge.records.outcome_book import OutcomeBook
from edge.referral.verify import verify
from hil.demo import start_daemon, stop_daemon

from .conftest import LaneFolder
from .lanes import BEGAN_NS


def _found(passage: str, states: dict[str, str]) -> list[str]:
    secured = [word for check, state in states.items() for word in ("--secured", f"{check}={state}")]
    return ["outcome", passage, "--searched", "dog", "--people", "2", "--where", "rear", *secured]


def _standing(lane: LaneFolder, passage: str) -> int:
    with reading(lane.places.journal) as reader:
        return [row.sequence for row in reader.of_passage(passage) if row.kind == "outcome"][-1]


async def _looked(lane: LaneFolder) -> dict[str, Any]:
    """The status once the lane has looked at its cases: a moment after it is open."""
    found: dict[str, Any] = {"cases": None}
    async with asyncio.timeout(60):
        while found["cases"] is None:
            found = await asyncio.to_thread(ask, lane.places.control_socket, {"do": "status"})
            await asyncio.sleep(0.05)  # the status is a question, not an event
    return found


@contextlib.asynccontextmanager
async def running(lane: LaneFolder) -> AsyncIterator[None]:
    path = lane.root / "lane.toml"
    path.write_text(path.read_text() + '[publish]\nbind = "tcp://127.0.0.1:0"\nreplay = "tcp://127.0.0.1:0"\n')
    assert lane.run("keys", "new") == 0
    daemon = await start_daemon(lane.root)
    try:
        yield
    finally:
        await stop_daemon(daemon)


def test_a_case_is_made_copied_and_looked_up_while_the_lane_runs(
    lane: LaneFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    passage = lane.passages[1]
    photo = tmp_path / "curtain.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0 x")
    states = dict.fromkeys(CHECKS, "ok") | {"curtain": "cut"}
    said = [
        [*_found(passage, states), "--officer", "o17"],
        ["plates", "set", passage, "--tractor", "F:AB-123-CD", "--trailer", "none"],
        ["referral", "note", passage, "--entry-point", "curtain", "--checklist", "not_shown", "--account", "declined"],
        ["referral", "note", passage, "--photo", f"curtain={photo}"],
        ["plates", "find", "AB123CD", "--purpose", "driver asks"],
    ]

    async def main() -> None:
        async with running(lane):
            for arguments in said:
                assert await asyncio.to_thread(lane.run, *arguments) == 0, arguments
            make = ["referral", "make", passage, "--purpose", "penalty team", "--out", str(tmp_path / "case.zip")]
            refused = await asyncio.to_thread(lane.run, *make)
            assert refused == 1  # the seals were said to be in order, and no number was entered
            again = _found(passage, states | {"seals": "missing"})
            sequence = str(_standing(lane, passage))
            assert await asyncio.to_thread(lane.run, *again, "--corrects", sequence) == 0
            seals = ["referral", "note", passage, "--photo", f"seals={photo}"]
            assert await asyncio.to_thread(lane.run, *seals) == 0
            assert await asyncio.to_thread(lane.run, *make) == 0
            assert await asyncio.to_thread(lane.run, "referral", "stage", f"R-{passage}", "notified") == 0
            assert await asyncio.to_thread(lane.run, "journal", "backup", str(tmp_path / "copy.db")) == 0
            pruned = await asyncio.to_thread(lane.run, "journal", "prune", "--dry-run")
            assert pruned in (0, 1)  # 1 where this machine's clock is not synchronised: then nothing may go

    asyncio.run(main())
    assert verify(tmp_path / "case.zip", lane.public_key.read_bytes()).ok
    assert lane.run("journal", "verify", "--json") == 0
    found = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert found["ok"] and found["openings"] == 1
    assert run(["journal", "verify", str(tmp_path / "copy.db"), "--public-key", str(lane.public_key)]) == 0


def test_a_find_that_nobody_referred_in_time_stands_in_the_status(
    lane: LaneFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = {"searched": True, "technique": "dog", "found": True, "people": 2}
    press = press_of({"passage_id": lane.passages[0], "key": "key-0001", "outcome": outcome})
    key = keys.load_signing(lane.places.signing)
    with Journal.open(lane.places.journal, key, now_utc_ns=lambda: BEGAN_NS) as journal:
        OutcomeBook(journal, lane.places.bundles, lambda: BEGAN_NS).enter(press, "uid 0")

    async def main() -> None:
        async with running(lane):
            found = await _looked(lane)
            assert (found["cases"]["alarms"], found["cases"]["by_stage"]) == (1, {"not_referred": 1})
            assert found["cases"]["longest_days"] > 14
            assert StatusBody.model_validate(found).cases is not None
            capfd.readouterr()
            assert await asyncio.to_thread(lane.run, "status") == 0
            assert "cases    1 WAIT TOO LONG: 1 not referred" in capfd.readouterr().out

    asyncio.run(main())
