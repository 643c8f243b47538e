"""``lanepulse radiographs``: what is kept is shown with its cause, and a person's word for it reaches the lane."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.cli.main import run
from edge.control import serve
from edge.places import Places
from edge.records.radiograph_control import handlers

PASSAGE = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"
KEPT = {
    "device": "scanner",
    "object": "01770000000000000000-aa-bb.dcs",
    "arrived_utc": "2026-02-02T02:40:00Z",
    "acquired_utc": None,
    "dose_usv": None,
    "status": "ok",
    "cause": "its plate is that of no passage",
}


class Desk:
    """What the control socket asks of a lane's radiographs."""

    def __init__(self) -> None:
        self.kept: list[Mapping[str, Any]] = [KEPT]
        self.told: list[tuple[str, str, str]] = []

    def document(self) -> dict[str, Any]:
        return {"kept": self.kept}

    async def assign(self, name: str, passage_id: str, source: str) -> None:
        if name != KEPT["object"]:
            raise ValueError(f"{name}: no such radiograph is kept; see lanepulse radiographs")
        self.told.append((name, passage_id, source))
        self.kept = []


@contextmanager
def a_lane(root: Path, desk: Desk) -> Iterator[None]:
    """The daemon's side of the control socket, on a thread of its own."""
    places = Places.under(root)
    places.make()
    ready, loop, done = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def main() -> None:
        async with serve(places.control_socket, handlers(desk, desk.assign)):  # type: ignore[arg-type]
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


def test_what_is_kept_is_listed_with_its_cause(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    desk = Desk()
    with a_lane(tmp_path, desk):
        assert run(["radiographs", "list", "--root", str(tmp_path)]) == 0
        text = capfd.readouterr().out
        assert run(["radiographs", "list", "--json", "--root", str(tmp_path)]) == 0
        assert json.loads(capfd.readouterr().out) == {"kept": [KEPT]}
        desk.kept = []
        assert run(["radiographs", "list", "--root", str(tmp_path)]) == 0
        assert "every radiograph has its passage" in capfd.readouterr().out
    assert "its plate is that of no passage" in text
    assert KEPT["object"] in text


def test_a_persons_word_reaches_the_lane_and_a_wrong_one_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = Desk()
    with a_lane(tmp_path, desk):
        root = ("--root", str(tmp_path))
        assert run(["radiographs", "join", str(KEPT["object"]), PASSAGE, "--dry-run", *root]) == 0
        assert desk.told == []
        assert run(["radiographs", "join", "other.dcs", PASSAGE, *root]) == 1
        assert "no such radiograph is kept" in capfd.readouterr().err
        assert run(["radiographs", "join", str(KEPT["object"]), PASSAGE, *root]) == 0
    ((name, passage_id, source),) = desk.told
    assert (name, passage_id) == (KEPT["object"], PASSAGE)
    assert source.startswith("uid ")


def test_no_lane_is_exit_3(tmp_path: Path) -> None:
    assert run(["radiographs", "list", "--root", str(tmp_path)]) == 3
