"""The real daemon has the journal in hand: what is said of cases goes through it, and a pack is made meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.cli.main import run
from edge.journal.read import reading
from edge.records.outcome import CHECKS
from edge.referral.verify import verify
from hil.demo import start_daemon, stop_daemon

from .conftest import LaneFolder


def _found(passage: str, states: dict[str, str]) -> list[str]:
    secured = [word for check, state in states.items() for word in ("--secured", f"{check}={state}")]
    return ["outcome", passage, "--searched", "dog", "--people", "2", "--where", "rear", *secured]


def _standing(lane: LaneFolder, passage: str) -> int:
    with reading(lane.places.journal) as reader:
        return [row.sequence for row in reader.of_passage(passage) if row.kind == "outcome"][-1]


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
