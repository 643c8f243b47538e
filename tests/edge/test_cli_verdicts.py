from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edge import keys
from edge.cli.main import run
from edge.journal.journal import Journal, Row
from edge.places import Places
from edge.publish.publisher import Publisher
from edge.publish.replay import Replay
from fusion.verdict import Verdict

PASSAGE = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"


def verdict(revision: int, level: str = "search") -> dict[str, Any]:
    silent = {"state": "absent", "log10_lr": 0.0, "quality": None, "cause": "not there", "where": None, "features": {}}
    heard = {"state": "measured", "log10_lr": 1.5, "quality": 0.9, "cause": None, "where": "rear", "features": {}}
    modalities = (("vibration", heard), ("co2", silent), ("mmwave", silent), ("xray", silent))
    document = {
        "schema": "lanepulse.verdict/1",
        "passage_id": PASSAGE,
        "revision": revision,
        "final": False,
        "site": "calais",
        "lane": "3",
        "issued_utc": "2026-03-01T10:15:31.482113000Z",
        "level": level,
        "score": 0.02,
        "log10_odds": -1.6,
        "prior_log10_odds": -3.1,
        "evidence": [{"modality": name} | part for name, part in modalities],
        "reasons": [{"code": "vibration.rhythm", "text": "Heartbeat-like rhythm, strongest at the rear axle"}],
        "trained_on": "simulated",
        "produced_by": {
            "version": "0.1.0",
            "model": "m",
            "model_sha256": "0",
            "config_sha256": "0",
            "calibrations": {},
        },
    }
    Verdict.model_validate_json(json.dumps(document))
    return document


def recorded(root: Path, count: int = 3) -> list[Row]:
    """A lane with keys and a journal of so many verdicts, and other rows between them."""
    assert run(["keys", "new", "--root", str(root)]) == 0
    places = Places.under(root)
    places.make()
    with Journal.open(places.journal, None, boot_id="b") as journal:
        for revision in range(1, count + 1):
            journal.append("note", None, {"secret": "audit"})
            journal.append("verdict", PASSAGE, verdict(revision))
        return journal.rows(kind="verdict")


@contextmanager
def announced(root: Path, rows: list[Row]) -> Iterator[list[str]]:
    """A real publisher and its replay on a thread of their own; the answer is how a command finds them."""
    places, ready = Places.under(root), threading.Event()
    found: list[str] = []
    loop, done = asyncio.new_event_loop(), asyncio.Event()

    async def main() -> None:
        with Journal.open(places.journal, None, boot_id="b") as journal:
            own, state = keys.load_curve(places.curve), {"passage": {"passage_id": PASSAGE}}
            publisher = Publisher("calais", "3", own, places.allowed, boot_id="b", status=lambda: state, last=rows[-1])
            replay = Replay(publisher, journal)
            found.extend(["--endpoint", publisher.bind("tcp://127.0.0.1:0")])
            found.extend(["--replay-endpoint", replay.bind("tcp://127.0.0.1:0")])
            running = asyncio.gather(publisher.run(), replay.run(), return_exceptions=True)
            ready.set()
            await done.wait()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            replay.close()
            publisher.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield found
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


def lane(root: Path) -> list[str]:
    (root / "lane.toml").write_text('[lane]\nsite = "calais"\nname = "3"\n')
    return ["--root", str(root)]


def test_the_newest_verdicts_of_the_record_come_oldest_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = recorded(tmp_path)
    capfd.readouterr()
    assert run(["verdicts", "--last", "2", "--json", "--root", str(tmp_path)]) == 0
    assert capfd.readouterr().out.splitlines() == [row.body for row in rows[-2:]]


def test_a_table_of_verdicts_says_why_in_full(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path, 1)
    capfd.readouterr()
    assert run(["verdicts", "--root", str(tmp_path)]) == 0
    assert "Heartbeat-like rhythm, strongest at the rear axle" in capfd.readouterr().out


def test_no_record_is_exit_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verdicts", "--root", str(tmp_path)]) == 2
    assert "give the lane's --root" in capfd.readouterr().err


def test_follow_prints_what_is_announced_as_it_was_published(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = recorded(tmp_path)
    capfd.readouterr()
    with announced(tmp_path, rows) as at:
        code = run(["verdicts", "--follow", "--count", "1", "--json", *at, *lane(tmp_path)])
    assert code == 0
    assert capfd.readouterr().out.splitlines() == [rows[-1].body]


def test_whoever_was_away_gets_all_since_then_each_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = recorded(tmp_path)
    capfd.readouterr()
    with announced(tmp_path, rows) as at:
        options = ["--since", str(rows[0].sequence), "--count", "2", "--json", *at, *lane(tmp_path)]
        assert run(["verdicts", "--follow", *options]) == 0
    assert capfd.readouterr().out.splitlines() == [row.body for row in rows[1:]]


def test_the_prompt_of_the_vehicle_that_is_there_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = recorded(tmp_path)
    capfd.readouterr()
    with announced(tmp_path, rows) as at:
        assert run(["prompt", "--once", *at, *lane(tmp_path)]) == 0
    assert capfd.readouterr().out.splitlines()[-1].startswith("▲  Search this vehicle: rear | Heartbeat-like")


def test_a_listener_without_keys_is_told_how_to_make_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["prompt", "--once", *lane(tmp_path)]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_a_key_that_is_not_allowed_is_exit_3(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = recorded(tmp_path)
    keys.new_curve(tmp_path / "stranger.key")
    with announced(tmp_path, rows) as at:
        options = [*at, "--key", str(tmp_path / "stranger.key"), *lane(tmp_path)]
        assert run(["verdicts", "--follow", *options]) == 3
    assert "refuses our key" in capfd.readouterr().err
